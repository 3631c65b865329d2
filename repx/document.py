"""Files people write (YAML, TOML): their data, the place of each value, and all their mistakes."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from repx import assets
from repx.errors import InputError, Problem, ProblemsError

if TYPE_CHECKING:
    from pathlib import Path

    from repx.schema import Pointer
    from repx.yaml_tree import Node

_LARGEST: Final = 64 << 20  # bytes; what is larger, or never ends, is something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The data of one file, as JSON knows it; ``file`` is its name as messages show it."""

    data: Any
    file: str
    text: str
    root: Node | None = None

    def place(self, pointer: Pointer) -> tuple[int, int]:
        """Return the 1-based line and column of a key or list item, or of its nearest parent.

        (0, 0) when the format keeps no places (TOML).
        """
        if self.root is None:
            return (0, 0)
        place, node = self.root.place, self.root
        for step in pointer:
            if step not in node.children:
                break
            place, node = node.children[step]
        return place

    def line(self, pointer: Pointer, number: int) -> tuple[int, int]:
        """Return the line and column of one line (1-based) of a text that may have many."""
        node = self.root
        for step in pointer:
            node = node.children[step][1] if node is not None else None
        if node is None:
            return self.place(pointer)
        row, column = node.place
        block = self.text.split("\n")[row - 1][column - 1 : column] in ("|", ">")
        return (row + number, 0) if block else (row, column)

    def problem(self, pointer: Pointer, message: str) -> Problem:
        """Return a mistake at ``pointer``; a message without a line says in which table it is."""
        if self.root is None and len(pointer) > 1:
            from repx.schema import dotted

            message = f"in {dotted(pointer[:-1])}: {message}"
        return Problem(self.file, *self.place(pointer), message)


def load(path: Path, *, shown: str | None = None) -> Document:
    """Read a YAML file, or TOML when its name ends in ``.toml``.

    ``shown`` is its name in messages, if not the path. Raises InputError when it cannot be
    read, ProblemsError when it is not what it should be.
    """
    file = shown or str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST + 1)
    except FileNotFoundError as error:
        message = f"no such file: {file}"
        raise InputError(message) from error
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise InputError(message) from error
    if len(raw) > _LARGEST:
        message = f"{file} is larger than {_LARGEST >> 20} MiB, which no definition is"
        raise InputError(message)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = (before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        message = f"not UTF-8: byte 0x{raw[error.start]:02x}; save the file as UTF-8"
        raise ProblemsError([Problem(file, *place, message)]) from error
    return loads(text, file)


def loads(text: str, file: str) -> Document:
    """Read text as the file of that name; raises ProblemsError."""
    if file.endswith(".toml"):
        return Document(data=_toml(text, file), file=file, text=text)
    from repx import yaml_tree  # 20 ms that `repx --version` must not pay

    root = yaml_tree.parse(text, file)
    return Document(data=root.data, file=file, text=text, root=root)


def problems(doc: Document, schema_name: str) -> list[Problem]:
    """Return every mistake the schema ``schemas/<schema_name>`` finds, in order of place."""
    from repx import schema  # 0.1 s that most commands need not pay

    found = schema.mistakes(doc.data, schema_name)
    return sorted(doc.problem(pointer, message) for pointer, message in found)


def check(doc: Document, schema_name: str, *, cache: Path | None = None) -> None:
    """Raise ProblemsError with every mistake the schema finds.

    ``cache`` is a folder whose ``valid/`` remembers files without mistakes by content, which
    saves the import of the validator (0.1 s) when nothing changed.
    """
    verdict = None
    if cache is not None:
        text = doc.text + "\0" + assets.path(f"schemas/{schema_name}").read_text(encoding="utf-8")
        verdict = cache / "valid" / hashlib.sha256(text.encode()).hexdigest()
        if verdict.exists():
            return
    found = problems(doc, schema_name)
    if found:
        raise ProblemsError(found)
    if verdict is not None:
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            verdict.parent.mkdir(parents=True, exist_ok=True)
            verdict.touch()


def _toml(text: str, file: str) -> object:
    import tomllib  # only RepX 0.5's files are TOML

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProblemsError([Problem(file, 0, 0, f"not TOML: {error}")]) from error
