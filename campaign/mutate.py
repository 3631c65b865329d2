"""Bytes and JSON made wrong in the ways that files go wrong: torn, flipped, hostile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from random import Random

_TOKENS: Final = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n\n", b"'", b'"', b"\\", b"{{", b"$out/../..", b"*"),
    *(b"9" * 5000, b"0x" + b"f" * 5000, b"[" * 3000, b'{"a":' * 3000, b"-1", b"1e999", b"NaN"),
    *(b"null", b"true", b"[]", b"{}", b'"\\ud800"', b"../../../etc/passwd", b"&a [*a]", b"!!x"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 10**400, 1e308, "", "\0", "a\nb", "../..", "/etc/passwd", "$out/../../x"),
    *([], {}, [[]], {"": ""}, "x" * 10_000, "\ud800", [None] * 50, {"a": {"b": {"c": None}}}),
)


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
)
