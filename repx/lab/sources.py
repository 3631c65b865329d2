"""The user's files in a Lab: programs with the files they need, and scanned data."""

from __future__ import annotations

import codecs
import glob
import hashlib
import itertools
import os
import shlex
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx import assets
from repx.lab.expand import LAB_PATH, store_name
from repx.lab.expand.store import LONGEST_LABEL, plain_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.lab.blueprint import File, Source
    from repx.lab.record import Listing
    from repx.lab.seen import Looks

_LABS: Final = ".repx"
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "a byte order mark",
    codecs.BOM_UTF16_LE: "the byte order mark of UTF-16",
    codecs.BOM_UTF16_BE: "the byte order mark of UTF-16",
}
_LEFT_OUT: Final = {"__pycache__", ".git", _LABS}
# ext4 keeps a link's target of up to 59 bytes in the inode itself; ../../../store/, 32 digits
# and a dash leave 11.
LONGEST_SCRIPT_LABEL: Final = 11


class SourceError(Exception):
    """A file that the user named does not exist or cannot be part of a Lab."""


def reason(error: SourceError | OSError) -> str:
    """Return in words what is wrong with a user's file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read {error.filename}: {error.strerror}"
    return str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The store entries of one Lab by name, and the files read for them.

    ``listings`` are the names that patterns and folders gave. ``scanned`` maps a value that is
    a stored path to the file's names below the pattern's folder and below that of lab.yaml.
    """

    looks: Looks
    listings: dict[Listing, tuple[str, ...]] = field(default_factory=dict)
    entries: dict[str, Source] = field(default_factory=dict)
    scanned: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def own_names(self) -> dict[str, str]:
        """Return the own names of stored paths; files that share a name get their whole path."""
        seen = Counter(own_name for own_name, _ in self.scanned.values())
        return {
            value: own_name if seen[own_name] == 1 else place
            for value, (own_name, place) in self.scanned.items()
        }

    @property
    def folder(self) -> Path:
        """Return the folder of lab.yaml."""
        return self.looks.folder

    def add(self, source: Source) -> str:
        """Add an entry and return its name in the store."""
        name = store_name(source)
        self.entries[name] = {**source, "name": name}
        return name

    def bundle(self, label: str, paths: Sequence[str], program: str | None) -> str:
        """Add a folder with the paths, laid out as below lab.yaml's folder; return its name."""
        tree: dict[str, File] = {}
        for path in paths:
            inside = self._inside(path)
            names = self._below(os.path.normpath(path)) if inside.is_dir() else ("",)
            for name in names:
                tree[os.path.normpath(f"{path}/{name}")] = self._file(inside / name)
        if program is not None:
            tree[os.path.normpath(program)] = {
                **self._file(self._inside(program)),
                "executable": True,
            }
        return self.add({"label": label[:LONGEST_SCRIPT_LABEL], "tree": tree})

    def repx_py(self) -> str:
        """Add the part of ``repx_py`` that stages use; return its name."""
        import repx_py.stage_script

        tree: dict[str, File] = {
            "repx_py/__init__.py": {"path": str(assets.path("templates/stage_repx_py.py"))},
            "repx_py/stage_script.py": {"path": str(Path(repx_py.stage_script.__file__))},
        }
        return self.add({"label": "repx_py", "tree": tree})

    def scan(self, pattern: str, *, folders: bool) -> list[str]:
        """Add every file (or folder) that matches; return the values that stand for them."""
        names = matches(self.folder, pattern, folders=folders)
        self.listings["dirs" if folders else "files", pattern] = names
        top = _fixed_part(pattern)
        values = []
        for name in names:
            path = self.folder / name
            own_name = os.path.relpath(name, top)
            if not _is_utf8(own_name):
                raise SourceError(f"the name of {str(path)!a} is not UTF-8: rename it")
            label = stored_label(own_name)
            if folders:
                tree = {each: self._file(path / each) for each in self._below(name)}
                entry = self.add({"label": label, "tree": tree})
            else:
                file = self._file(path)
                source: Source = {"label": label, "path": file["path"]}
                source["executable"], source["sha256"] = file["executable"], file["sha256"]
                entry = self.add(source)
            values.append(f"{LAB_PATH}store/{entry}")
            self.scanned[values[-1]] = (own_name, os.path.normpath(name))
        if not values:
            what = "folder" if folders else "file"
            raise SourceError(f"no {what} matches '{pattern}' in {self.folder}")
        return values

    def interpreter(self, program: str) -> str:
        """Return the first line of a program after ``#!``. Raises SourceError if there is none."""
        path = self._inside(program)
        if path.is_dir():
            raise SourceError(f"'{program}' is a folder, not a program")
        with path.open("rb") as stream:
            line = stream.readline(256)
        for mark, name in _BYTE_ORDER_MARKS.items():
            if line.startswith(mark):
                raise SourceError(
                    f"'{program}' begins with {name}, with which its first line names no program: "
                    "save it as UTF-8 without a byte order mark (BOM)"
                )
        if not line.startswith(b"#!"):
            raise SourceError(
                f"'{program}' does not say its language: begin it with a line like "
                f"`{_suggestion(path.suffix)}`"
            )
        if line.endswith(b"\r\n"):
            raise SourceError(
                f"'{program}' has Windows line ends, with which its first line names no program: "
                f"run `sed -i 's/\\r$//' {shlex.quote(program)}`"
            )
        return line[2:].decode(errors="replace").strip()

    def _inside(self, name: str) -> Path:
        """Return a path below lab.yaml's folder that exists."""
        inside = Path(os.path.normpath(name))
        if inside.is_absolute() or inside.parts[:1] == ("..",):
            raise SourceError(
                f"'{name}' lies outside {self.folder}: copy it beside lab.yaml, or link it there"
            )
        path = self.folder / inside
        if not path.exists():
            if path.is_symlink():
                where = (
                    f"a link to {path.readlink()}, where nothing is; `cp -rL` copies links as files"
                )
                raise SourceError(f"'{name}' is {where}")
            raise SourceError(f"'{name}' does not exist in {self.folder}")
        if not path.is_file() and not path.is_dir():
            raise SourceError(f"'{name}' is neither a file nor a folder")
        return path

    def _below(self, folder: str) -> tuple[str, ...]:
        names = below(self.folder / folder)
        self.listings["below", folder] = names
        return names

    def _file(self, path: Path) -> File:
        seen = self.looks.at(path)
        return {"path": str(path), "executable": seen.executable, "sha256": seen.sha256}


def matches(folder: Path, pattern: str, *, folders: bool) -> tuple[str, ...]:
    """Return the files (or folders) that match, relative to ``folder``, sorted."""
    # Path.glob refuses absolute patterns.
    found = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
    names = []
    for name in found:
        path = folder / name
        if path.is_dir() != folders or not path.exists():
            continue
        if not folders and not path.is_file():
            raise SourceError(
                f"'{name}' is neither a file nor a folder: move it, or match other names than "
                f"'{pattern}' does"
            )
        names.append(name)
    return tuple(names)


def below(top: Path) -> tuple[str, ...]:
    """Return every file below a folder that belongs in a Lab, relative to the folder."""
    found: list[str] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(each for each in folders if each not in _LEFT_OUT)
        for name in sorted(names):
            file = Path(folder, name)
            if not file.is_file():
                raise SourceError(f"{file} is neither a file nor a folder")
            if not _is_utf8(name):
                raise SourceError(f"the name of {str(file)!a} is not UTF-8: rename it")
            found.append(os.path.relpath(file, top))
        for name in folders:
            if Path(folder, name).is_symlink() and not _leads_to_a_lab(Path(folder, name)):
                raise SourceError(f"{Path(folder, name)} is a link to a folder: copy it")
    return tuple(found)


def stored_label(own_name: str) -> str:
    """Return a plain label that is unique to files of this name."""
    last = own_name.rpartition("/")[2]
    plain = plain_label(last)
    if plain == own_name:
        return plain
    return f"{hashlib.sha256(own_name.encode()).hexdigest()[:8]}-{plain[-LONGEST_LABEL + 9 :]}"


def _fixed_part(pattern: str) -> str:
    """Return the folder of a pattern before its first wildcard."""
    parts = pattern.split("/")[:-1]
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), parts)
    return "/".join(fixed) or ("/" if pattern.startswith("/") else ".")


def _leads_to_a_lab(link: Path) -> bool:
    """Tell whether `repx build` made a link: such links are not part of a definition."""
    return _LABS in link.readlink().parts


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suggestion(suffix: str) -> str:
    languages = {".py": "python3", ".R": "Rscript", ".r": "Rscript", ".jl": "julia", ".pl": "perl"}
    return f"#!/usr/bin/env {languages.get(suffix, 'bash')}"
