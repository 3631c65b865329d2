"""A Lab inside an uncompressed tar: an index of its headers; contents stay in the archive."""

from __future__ import annotations

import io
import os
import re
import weakref
from typing import TYPE_CHECKING, Final

from repx.errors import LabError
from repx.lab.files import (
    MAX_DEPTH,
    MAX_LINKS,
    MAX_PATH_LENGTH,
    Kind,
    fault,
    follow,
    parts,
    printable,
    shortened,
    walk,
)
from repx.lab.headers import FOLDER, Member, TarError, Type, members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MANIFEST: Final = re.compile(r"(?:(?P<prefix>.*)/)?lab/[^/]*lab-metadata\.json", re.DOTALL)
_KINDS: Final = {Type.FILE: Kind.FILE, Type.LINK: Kind.LINK, Type.FOLDER: Kind.DIR}
_BUFFER: Final = 1 << 18


class TarFiles:
    """A Lab that is a tar, with or without leading folders (docs/lab-format.md, The folder)."""

    def __init__(self, path: Path) -> None:
        """Index the archive at ``path``, a real path. Raises LabError if it holds no Lab."""
        self._path = os.fspath(path)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(f"{path}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._fd)
        self._stat = os.fstat(self._fd)
        self._members = self._inside(*self._index())
        self._names: dict[str, list[str]] | None = None

    def describe(self, path: str) -> str:
        """Return the archive's path, a colon, and the path inside the Lab."""
        return printable(f"{self._path}:{path}")

    def kind(self, path: str) -> Kind | None:
        """Return the kind of a file, None if it is missing."""
        folder, _, name = path.rstrip("/").rpartition("/")
        member = self._members.get("/".join(parts(f"{self.resolve(folder)}/{name}")))
        return _KINDS[member.type] if member else None

    def resolve(self, path: str) -> str:
        """Return the path without links, whether or not the file exists."""
        return follow(path, self._link, self.describe)

    def size(self, path: str) -> int:
        """Return the size of a regular file in bytes."""
        return self._regular(path).size

    def open(self, path: str) -> io.BufferedReader:
        """Open a regular file for reading; the caller closes it."""
        member = self._regular(path)
        return io.BufferedReader(_Slice(self._fd, member.offset, member.size))

    def read(self, path: str) -> bytes:
        """Return the content of a regular file."""
        with self.open(path) as file:
            return file.read()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        if self._names is None:
            self._names = {}
            for each in filter(None, self._members):
                folder, _, name = each.rpartition("/")
                self._names.setdefault(folder, []).append(name)
        here = self.resolve(path)
        if self._members.get(here) is not FOLDER:
            raise LabError(f"{self.describe(path)}: No such directory")
        return sorted(self._names.get(here, ()))

    def walk(self, path: str) -> Iterator[str]:
        """Yield every file and link below a directory; skip linked directories."""
        return walk(self, path)

    def is_executable(self, path: str) -> bool:
        """Tell whether a regular file has any execute bit."""
        return bool(self._regular(path).mode & 0o111)

    def fingerprint(self, path: str) -> tuple[int, ...]:
        """Return size, times (ns) and inode of the archive, which stand for each of its files."""
        self._regular(path)
        info = self._stat
        return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def _link(self, path: str) -> str | None:
        member = self._members.get(path)
        return member.target if member and member.type is Type.LINK else None

    def _regular(self, path: str) -> Member:
        member = self._members.get(path)
        if member is None or member.type is not Type.FILE:
            member = self._members.get(self.resolve(path))
        if member is None:
            raise LabError(f"{self.describe(path)}: No such file")
        if member.type is not Type.FILE:
            raise LabError(f"{self.describe(path)}: not a regular file")
        return member

    def _index(self) -> tuple[dict[str, Member], dict[str, str]]:
        """Return the members by their name in the archive, and the target of each hard link."""
        found: dict[str, Member] = {}
        hard_links: dict[str, str] = {}
        for written, member in self._read():
            name = self._tidy(written)
            if member is FOLDER and (not name or found.get(name) is FOLDER):
                continue
            if name in found or name in hard_links:
                raise LabError(f"{self.describe(name)}: twice in the archive")
            if member.type is Type.HARD_LINK:
                hard_links[name] = self._tidy(member.target)
            elif member.type in _KINDS:
                found[name] = member
            else:
                raise LabError(f"{self.describe(name)}: a device or FIFO has no place in a Lab")
        return found, hard_links

    def _read(self) -> Iterator[tuple[str, Member]]:
        try:
            with open(self._fd, "rb", closefd=False, buffering=_BUFFER) as file:
                yield from members(file, self._stat.st_size)
        except TarError as error:
            raise LabError(
                f"{self._path}: not a readable tar archive: {error}",
                hint="a Lab is a folder or an uncompressed tar of one",
            ) from error
        except OSError as error:
            raise LabError(f"{self._path}: {error.strerror}") from error

    def _tidy(self, name: str) -> str:
        """Return a member's name without ``./`` and the like. Raises LabError if it is unsafe."""
        suspicious = "/." in name or "//" in name or "\0" in name
        too_big = len(name) > MAX_PATH_LENGTH or name.count("/") > MAX_DEPTH
        if name and name[0] not in "/." and not suspicious and not too_big:
            return name
        problem = fault(name)
        if problem is not None and parts(name):
            raise LabError(f"{self._path}: the member name {shortened(repr(name))} {problem}")
        return "/".join(parts(name))

    def _inside(self, found: dict[str, Member], hard_links: Mapping[str, str]) -> dict[str, Member]:
        """Return the members that belong to the Lab, by their path in the Lab."""
        start = self._start((*found, *hard_links))
        for name in hard_links:
            if name.startswith(start):
                found[name] = self._original(name, found, hard_links, start)
        inside: dict[str, Member] = {}
        while found:  # emptied to save memory: half a million names take 100 MB
            name, member = found.popitem()
            if name.startswith(start):
                name = name[len(start) :]
                self._check_target(name, member)
                inside[name] = member
        for name in tuple(inside):
            folder = name.rpartition("/")[0]
            while folder and folder not in inside:
                inside[folder] = FOLDER
                folder = folder.rpartition("/")[0]
        inside[""] = FOLDER
        return inside

    def _start(self, names: tuple[str, ...]) -> str:
        """Return the common prefix of the Lab's names: ``""``, or folders and a slash."""
        found = {
            match["prefix"] or ""
            for name in names
            if name.endswith("lab-metadata.json") and (match := _MANIFEST.fullmatch(name))
        }
        if not found:
            raise LabError(f"{self._path}: not a Lab, no lab/*lab-metadata.json inside")
        depth = min(len(parts(prefix)) for prefix in found)
        nearest = sorted(prefix for prefix in found if len(parts(prefix)) == depth)
        if len(nearest) > 1:
            raise LabError(f"{self._path}: several Labs inside: {printable(', '.join(nearest))}")
        return f"{nearest[0]}/" if nearest[0] else ""

    def _original(
        self, name: str, found: Mapping[str, Member], hard_links: Mapping[str, str], start: str
    ) -> Member:
        target = name
        for _ in range(MAX_LINKS):
            if target not in hard_links:
                break
            target = hard_links[target]
        member = found.get(target)
        if member is None or member is FOLDER or not target.startswith(start):
            raise LabError(f"{self.describe(name)}: a hard link to no file of the Lab")
        return member

    def _check_target(self, name: str, member: Member) -> None:
        """Refuse a link whose own target leaves the Lab; ``follow`` checks chains of links."""
        if member.type is not Type.LINK:
            return
        depth = lowest = name.count("/")
        for part in parts(member.target):
            depth += -1 if part == ".." else 1
            lowest = min(lowest, depth)
        if lowest < 0 or member.target.startswith("/"):
            raise LabError(
                f"{self.describe(name)}: leads out of the Lab, to {printable(member.target)}"
            )


class _Slice(io.RawIOBase):
    """Part of an open file, read without moving the file's position."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._start = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        wanted = min(len(buffer), max(0, self._size - self._at))
        data = os.pread(self._fd, wanted, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
