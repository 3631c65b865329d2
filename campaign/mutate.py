"""Files made wrong in the ways that files go wrong: torn, flipped, hostile, or no files at all."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_GIGANTIC: Final = 4 << 30  # bytes, none of which is on the disk

_TOKENS: Final = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n\n", b"'", b'"', b"\\", b"{{", b"$out/../..", b"*"),
    *(b"9" * 5000, b"0x" + b"f" * 5000, b"[" * 3000, b'{"a":' * 3000, b"-1", b"1e999", b"NaN"),
    *(b"null", b"true", b"[]", b"{}", b'"\\ud800"', b"../../../etc/passwd", b"&a [*a]", b"!!x"),
    *(
        b"0b" + b"1" * 5000,
        b"0o" + b"7" * 5000,
        b"1_" * 3000 + b"1",
        b"-" + b"9" * 5000,
        b"1:" * 3000,
    ),
    *(
        b"Infinity",
        b"-Infinity",
        b"\r\n",
        b"\r",
        b"\t",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"\xc3",
        b"%s",
    ),
    *(
        b"{" * 3000,
        b"- " * 3000,
        b"a: {" * 3000,
        b"((((" * 3000,
        b"?",
        b"<<: ",
        b"!!python/object:x",
    ),
)
# Contents that have nothing to do with what was there.
_OTHERS: Final = (
    *(b"", b"\n", b" ", b"\0" * 4096, b"\xff" * 4096, b"\xef\xbb\xbf", Random(0).randbytes(3000)),
    *(b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"9" * 100_000, b"-\n" * 50_000),
    *(b"a: " * 20_000, b'{"a": 1, "a": 2}', b"a: 1\na: 2\n", b"NaN", b"[Infinity]", b"null"),
    *(b"x" * 10**6, b"a: &a\n  b: *a\n", b"--- a\n--- b\n", b"%YAML 9.9\n---\n"),
    *("null".encode("utf-16"), "{}".encode("utf-32"), "\u00e4: 1".encode("latin-1")),
    b"!!python/object/apply:os.system [id]\n",
    b"a0: &a0 [x]\n"
    + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 12)
    ),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 10**400, 1e308, "", "\0", "a\nb", "../..", "/etc/passwd", "$out/../../x"),
    *([], {}, [[]], {"": ""}, "x" * 10_000, "\ud800", [None] * 50, {"a": {"b": {"c": None}}}),
)


def file(path: Path, content: bytes, chance: Random) -> str:
    """Make one thing wrong with a file of that content; return what was done."""
    if chance.random() < 0.15:  # noqa: PLR2004  # now and then it is no file at all
        name = chance.choice(tuple(_THINGS))
        path.unlink()
        _THINGS[name](path)
        return name
    changed = text(content, chance)
    path.write_bytes(changed)
    return repr(changed[:60])


def _mapping_twice(content: bytes, chance: Random) -> bytes:
    """Give a key of a JSON document twice, with another value."""
    value = json.dumps(chance.choice(_VALUES)).encode()
    return content.replace(
        b"{", b'{"%s": %s, ' % (chance.choice((b"files", b"jobs", b"a")), value), 1
    )


def _lines(content: bytes, _chance: Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _other(_content: bytes, chance: Random) -> bytes:
    return chance.choice(_OTHERS)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{here}/{path.name}")  # a longer path does not fit
        finally:
            os.close(here)


def _gigantic(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(_GIGANTIC)


def _full_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


def _unreadable(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


_THINGS: Final[dict[str, Callable[[Path], object]]] = {
    "nothing": lambda _: None,
    "a folder": lambda path: path.mkdir(),
    "a folder with a file": _full_folder,
    "a FIFO": lambda path: os.mkfifo(path, 0o666),
    "a socket": _socket,
    "a link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a folder": lambda path: path.symlink_to("/etc"),
    "a link to an endless file": lambda path: path.symlink_to("/dev/zero"),
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "an unreadable file": _unreadable,
    "4 GiB of zeros": _gigantic,
}


def text(content: bytes, chance: Random) -> bytes:
    """Return the content with one thing wrong, as text or as the JSON that it is."""
    if chance.random() < 0.5:  # noqa: PLR2004  # half and half
        try:
            return document(content, chance)
        except ValueError:
            pass
    return chance.choice(_WAYS)(content, chance)


def document(content: bytes, chance: Random) -> bytes:
    """Return a JSON document (or lines of them) with one value replaced, removed or nested."""
    try:
        root = [json.loads(content)]
        ending = b""
    except ValueError:
        root = [json.loads(line) for line in content.splitlines()]
        ending = b"\n"
    places = list(_places(root))
    if not places:
        raise ValueError
    holder, key = chance.choice(places)
    way = chance.random()
    if way < 0.6:  # noqa: PLR2004  # mostly another value
        holder[key] = chance.choice(_VALUES)
    elif way < 0.85:  # noqa: PLR2004  # sometimes none
        del holder[key]
    else:
        deep: Any = holder[key]
        for _ in range(500):
            deep = [deep]
        holder[key] = deep
    return b"\n".join(json.dumps(each).encode() for each in root) + ending


def _places(node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  # any JSON
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _cut(content: bytes, chance: Random) -> bytes:
    return content[: chance.randint(0, len(content))]


def _flip(content: bytes, chance: Random) -> bytes:
    if not content:
        return b"\x01"
    place = chance.randrange(len(content))
    flipped = content[place] ^ (1 << chance.randrange(8))
    return content[:place] + bytes([flipped]) + content[place + 1 :]


def _remove(content: bytes, chance: Random) -> bytes:
    start, end = sorted(chance.randint(0, len(content)) for _ in range(2))
    return content[:start] + content[end:]


def _repeat(content: bytes, chance: Random) -> bytes:
    start, end = sorted(chance.randint(0, len(content)) for _ in range(2))
    return content[:end] + content[start:end] * chance.randint(1, 3) + content[end:]


def _insert(content: bytes, chance: Random) -> bytes:
    place = chance.randint(0, len(content))
    return content[:place] + chance.choice(_TOKENS) + content[place:]


def _zeros(content: bytes, chance: Random) -> bytes:
    """As a file looks whose blocks had not been written when the power went."""
    start = chance.randint(0, len(content))
    return content[:start] + b"\0" * (len(content) - start)


_WAYS: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _cut,
    _flip,
    _remove,
    _repeat,
    _insert,
    _insert,
    _zeros,
    _other,
    _other,
    _lines,
    _mapping_twice,
)
