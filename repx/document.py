"""Files written by users (YAML, TOML): their data, the place of each value, and all mistakes."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from repx import assets, whole
from repx.errors import InputError, Problem, ProblemsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from repx.schema import Pointer
    from repx.yaml_tree import Node

_NOWHERE: Final = (0, 0)
_MOST_KEPT: Final = 10_000  # values; with aliases, a few lines can expand beyond the memory
_PIECE: Final = 1 << 20
LARGEST: Final = 64 << 20  # bytes; a larger or endless file is no configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The data of one file, as JSON data; ``file`` is its name in messages.

    The place of each value is in ``root``, or for a cached file in ``places``, by pointer as JSON
    text.
    """

    data: Any
    file: str
    text: str
    root: Node | None = None
    places: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def place(self, pointer: Pointer) -> tuple[int, int]:
        """Return the 1-based line and column of a key or list item, or of its nearest parent.

        (0, 0) when the format keeps no places (TOML).
        """
        if self.root is None:
            parents = (pointer[:length] for length in range(len(pointer), -1, -1))
            known = (self.places[key] for each in parents if (key := _key(each)) in self.places)
            line, column = next(known, _NOWHERE)
            return line, column
        place, node = self.root.place, self.root
        for step in pointer:
            if step not in node.children:
                break
            place, node = node.children[step]
        return place

    def line(self, pointer: Pointer, number: int) -> tuple[int, int]:
        """Return the line and column of one line (1-based) of a text that may have several."""
        node = self.root
        for step in pointer:
            node = node.children[step][1] if node is not None else None
        if node is None:
            return self.place(pointer)
        row, column = node.place
        block = self.text.split("\n")[row - 1][column - 1 : column] in ("|", ">")
        return (row + number, 0) if block else (row, column)

    def problem(self, pointer: Pointer, message: str) -> Problem:
        """Return a mistake at ``pointer``; without a known line, the message names the table."""
        place = self.place(pointer)
        if place == _NOWHERE and len(pointer) > 1:
            from repx.schema import dotted

            message = f"in {dotted(pointer[:-1])}: {message}"
        return Problem(self.file, *place, message)


def load(
    path: Path, *, shown: str | None = None, problems: list[Problem] | None = None
) -> Document:
    """Read a YAML file, or TOML when its name ends in ``.toml``.

    ``shown`` is the file's name in messages, by default the path. Raises InputError when the file
    cannot be read, ProblemsError when it cannot be parsed. Mistakes that leave the rest readable
    are added to ``problems``, if given.
    """
    file = shown or str(path)
    return loads(_text(path, file), file, problems)


def load_valid(
    path: Path, schema_name: str, *, shown: str | None = None, cache: Path | None = None
) -> Document:
    """Read a file as ``load`` does, and raise ProblemsError with every mistake the schema finds.

    ``cache`` is a folder that keeps the data of valid files, by content: reading YAML again takes
    20 ms, and importing the validator 0.1 s.
    """
    file = shown or str(path)
    text = _text(path, file)
    kept = None if cache is None else _kept(text, schema_name, cache)
    remembered = None if kept is None else _remembered(kept)
    if remembered is not None:
        return Document(file=file, text=text, **remembered)
    doc = loads(text, file)
    check(doc, schema_name)
    if kept is not None:
        with suppress(OSError):  # without a cache, the next read only takes longer
            _remember(doc, kept)
    return doc


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a FIFO without a writer reads as empty, instead of blocking."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _text(path: Path, file: str) -> str:
    try:
        raw = bytearray()
        with open(path, "rb", opener=_open_at_once) as stream:
            while len(raw) <= LARGEST and (piece := stream.read(_PIECE)):
                raw += piece
    except FileNotFoundError as error:
        message = f"no such file: {file}"
        raise InputError(message) from error
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise InputError(message) from error
    if len(raw) > LARGEST:
        message = f"{file} is larger than {LARGEST >> 20} MiB, which no definition is"
        raise InputError(message)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = (before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        message = f"not UTF-8: byte 0x{raw[error.start]:02x}; save the file as UTF-8"
        raise ProblemsError([Problem(file, *place, message)]) from error


def loads(text: str, file: str, problems: list[Problem] | None = None) -> Document:
    """Parse the text of a file. Raises ProblemsError; ``problems`` is the same as for ``load``."""
    if file.endswith(".toml"):
        return Document(data=_toml(text, file), file=file, text=text)
    from repx import yaml_tree  # takes 20 ms, which most commands do not need

    root = yaml_tree.parse(text, file, problems)
    return Document(data=root.data, file=file, text=text, root=root)


def problems(doc: Document, schema_name: str) -> list[Problem]:
    """Return every mistake the schema ``schemas/<schema_name>`` finds, in order of place."""
    from repx import schema  # takes 0.1 s, which most commands do not need

    found = schema.mistakes(doc.data, schema_name)
    return sorted(doc.problem(pointer, message) for pointer, message in found)


def check(doc: Document, schema_name: str) -> None:
    """Raise ProblemsError with every mistake the schema finds."""
    found = problems(doc, schema_name)
    if found:
        raise ProblemsError(found)


def _kept(text: str, schema_name: str, cache: Path) -> Path:
    """Return the cache file, as JSON, for the data and places of a valid text."""
    schema = assets.path(f"schemas/{schema_name}").read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{text}\0{schema}".encode()).hexdigest()
    return cache / "valid" / f"{digest}.json"


def _remember(doc: Document, kept: Path) -> None:
    """Write a valid file's data to the cache, unless JSON would change the data."""
    if doc.root is not None and doc.root.size > _MOST_KEPT:
        return
    places = {} if doc.root is None else dict(_places(doc.root, ()))
    text = json.dumps({"data": doc.data, "places": places})
    if json.loads(text)["data"] == doc.data:
        kept.parent.mkdir(parents=True, exist_ok=True)
        whole.write(kept, f"{_sum(text)}\n{text}")


def _places(node: Node, pointer: Pointer) -> Iterator[tuple[str, tuple[int, int]]]:
    if not pointer:
        yield _key(pointer), node.place
    for step, (place, child) in node.children.items():
        yield _key((*pointer, step)), place
        yield from _places(child, (*pointer, step))


def _key(pointer: Pointer) -> str:
    return json.dumps(pointer)


def _remembered(kept: Path) -> dict[str, Any] | None:
    """Return the cached data and places of a valid file, None if there are none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        noted, _, text = whole.read(kept).decode().partition("\n")
        if noted == _sum(text):  # else a crash has torn it
            found = json.loads(text)
            return {"data": found["data"], "places": found["places"]}
    return None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _toml(text: str, file: str) -> object:
    import tomllib  # only RepX 0.5's files are TOML

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProblemsError([Problem(file, 0, 0, f"not TOML: {error}")]) from error
