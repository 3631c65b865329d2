"""How the two ends of a connection speak: values as JSON with bytes beside it, files in chunks.

Standard library only: it also runs at the far end, with Python 3.6.
"""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

READY = b"\0repx ready\0\n"
_MARK = "\0bytes"
_END, _BROKEN_OFF = 0, -1


def send(stream: "IO[bytes]", value: object) -> None:
    """Write one value. Tuples arrive as lists, and keys of mappings as text."""
    blobs = []  # type: list[bytes]
    text = json.dumps(_packed(value, blobs)).encode()
    sizes = " ".join(str(len(part)) for part in (text, *blobs))
    stream.write(sizes.encode() + b"\n" + text)
    for blob in blobs:
        stream.write(blob)


def receive(stream: "IO[bytes]") -> "Any":  # noqa: ANN401  # whatever was sent
    """Read one value. Raises EOFError at the end of the stream."""
    sizes = [int(word) for word in _line(stream).split()]
    text, *blobs = [_exactly(stream, size) for size in sizes]
    return _unpacked(json.loads(text.decode()), blobs)


def send_chunk(stream: "IO[bytes]", content: bytes) -> None:
    """Write a piece of a file; an empty one is its end."""
    stream.write(b"%d\n" % len(content) + content)


def break_off(stream: "IO[bytes]") -> None:
    """Say that the rest of a file does not come."""
    stream.write(b"%d\n" % _BROKEN_OFF)


def chunks(stream: "IO[bytes]") -> "Iterator[bytes]":
    """Yield the pieces of a file. Raises ConnectionAbortedError where it is broken off."""
    while True:
        size = int(_line(stream))
        if size == _END:
            return
        if size == _BROKEN_OFF:
            raise ConnectionAbortedError("the sender broke off")
        yield _exactly(stream, size)


def _line(stream: "IO[bytes]") -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the connection has ended")
    return line


def _exactly(stream: "IO[bytes]", size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise EOFError("the connection has ended")
    return content


def _packed(value: object, blobs: "list[bytes]") -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        blobs.append(bytes(value))
        return {_MARK: len(blobs) - 1}
    if isinstance(value, dict):
        return {str(key): _packed(each, blobs) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(each, blobs) for each in value]
    return value


def _unpacked(value: object, blobs: "list[bytes]") -> object:
    if isinstance(value, dict):
        if _MARK in value:
            return blobs[value[_MARK]]
        return {key: _unpacked(each, blobs) for key, each in value.items()}
    if isinstance(value, list):
        return [_unpacked(each, blobs) for each in value]
    return value
