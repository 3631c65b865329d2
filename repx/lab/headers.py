"""The members of an uncompressed tar, read header by header.

Python's ``tarfile`` reads more formats but needs ten times the time and memory: a Lab of
100,000 jobs has half a million members. Formats: POSIX ustar and pax, GNU, V7.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
_END: Final = bytes(_BLOCK)
_MAX_EXTENSION: Final = 1 << 20  # bytes of a long name or a pax header
_BASE_256: Final = 0x80
_LONGEST_SIZE: Final = 20
_PAX_LENGTH: Final = re.compile(rb"(\d{1,8}) ")


class TarError(ValueError):
    """The bytes are no tar, or a tar that this reader does not support."""


class Type(Enum):
    """The type of a member, by its type flag."""

    FILE = b"0"
    HARD_LINK = b"1"
    LINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    FOLDER = b"5"
    FIFO = b"6"


class Member(NamedTuple):
    """One member without its name; ``offset`` is the start of its bytes in the archive."""

    type: Type
    offset: int = 0
    size: int = 0
    mode: int = 0
    target: str = ""


FOLDER: Final = Member(Type.FOLDER)
_TYPES: Final = {each.value: each for each in Type} | {b"\0": Type.FILE, b"7": Type.FILE}
_EXTENSIONS: Final = {b"x": "pax", b"g": "global", b"L": "path", b"K": "linkpath"}


def members(file: IO[bytes], archive_size: int) -> Iterator[tuple[str, Member]]:
    """Yield each member of an archive of ``archive_size`` bytes. Raises TarError."""
    at = 0
    extended: dict[str, str] = {}
    while header := _header(file, at):
        flag = header[156:157]
        at += _BLOCK
        if flag in _EXTENSIONS:
            size = _number(header[124:136])
            if size > _MAX_EXTENSION:
                raise TarError(f"a header of {size} bytes")
            _extend(extended, _EXTENSIONS[flag], file.read(size))
            at += _padded(size)
            continue
        name, member = _member(header, at, extended)
        if member.offset + member.size > archive_size:
            raise TarError(f"it ends before {name!r} does")
        yield name, member
        at += _padded(member.size)
        extended = {}


def _header(file: IO[bytes], at: int) -> bytes:
    """Return the header at an offset, empty at the archive's end."""
    file.seek(at)
    header = file.read(_BLOCK)
    if header == _END or (not header and at):
        return b""
    if len(header) < _BLOCK:
        raise TarError("it is cut off" if at else "it is too short")
    # Headers since 1988 have the magic; the checksum is only needed for the first and older ones.
    if (header[257:262] != b"ustar" or not at) and not _has_checksum(header):
        raise TarError(f"no header where one should be, at byte {at}")
    return header


def _has_checksum(header: bytes) -> bool:
    blanked = header[:148] + b" " * 8 + header[156:]
    return header[148:156].strip(b" \0").lstrip(b"0") == b"%o" % sum(blanked)


def _member(header: bytes, offset: int, extended: dict[str, str]) -> tuple[str, Member]:
    name = extended.get("path")
    if name is None:
        name = _text(header[:100])
        if header[257:263] == b"ustar\0" and header[345]:  # GNU stores other fields there
            name = f"{_text(header[345:500])}/{name}"
    flag = header[156:157]
    kind = _TYPES.get(flag)
    if kind is None:
        raise TarError(f"{name!r} is of type {flag!r}, which has no place in a Lab")
    if kind is Type.FOLDER or (flag == b"\0" and name.endswith("/")):
        return name.rstrip("/") or name, FOLDER
    if kind is Type.FILE:
        size = _size(extended["size"]) if "size" in extended else _number(header[124:136])
        return name, Member(kind, offset, size, _number(header[100:108]))
    return name, Member(kind, target=extended.get("linkpath") or _text(header[157:257]))


def _extend(extended: dict[str, str], kind: str, content: bytes) -> None:
    """Keep the fields of an extension header for the member after it."""
    if kind == "pax":
        extended.update(_pax(content))
        if any(key.startswith("GNU.sparse") for key in extended):
            raise TarError("it holds sparse files; make it without --sparse")
    elif kind != "global":
        extended.setdefault(kind, _text(content))


def _pax(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a pax header, each ``<length> <key>=<value>`` and a newline."""
    at = 0
    while at < len(content):
        length = _PAX_LENGTH.match(content, at)
        end = at + int(length[1]) if length else at
        if length is None or end <= length.end() or end > len(content):
            raise TarError("a broken pax header")
        key, _, value = content[length.end() : end - 1].partition(b"=")
        yield key.decode(errors="surrogateescape"), value.decode(errors="surrogateescape")
        at = end


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Return a number in octal or, if its first bit is set, in base 256 as GNU writes it."""
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise TarError(f"a header with {field!r} for a number") from None


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_SIZE:
        raise TarError(f"a pax header with the size {text!r}")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
