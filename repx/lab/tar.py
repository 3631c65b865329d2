"""A Lab inside an uncompressed tar: an index of its headers, the contents left where they are."""

from __future__ import annotations

import io
import os
import re
import tarfile
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx.errors import LabError
from repx.lab.files import MAX_LINKS, MAX_PATH_LENGTH, Kind, follow, parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MANIFEST: Final = re.compile(r"(?:(?P<prefix>.*)/)?lab/[^/]*lab-metadata\.json", re.DOTALL)
_HOSTILE: Final = (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One member: where its bytes are, or for a link what it names."""

    kind: Kind
    offset: int = 0
    size: int = 0
    mode: int = 0
    target: str = ""


_FOLDER: Final = _Entry(Kind.DIR)


class TarFiles:
    """A Lab that is a tar; below any leading folders, or none (format section 1.5)."""

    def __init__(self, path: Path) -> None:
        """Index the archive at ``path``, a real path. Raises LabError if it holds no Lab."""
        self._path = os.fspath(path)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(f"{path}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._fd)
        self._stat = os.fstat(self._fd)
        self._entries, self._hard_links = self._index()
        self._enter(self._prefix())
        self._names: dict[str, list[str]] | None = None

    def describe(self, path: str) -> str:
        """Return the archive's path, a colon, and the path inside the Lab."""
        return f"{self._path}:{path}"

    def kind(self, path: str) -> Kind | None:
        """Return what is there, None for nothing."""
        folder, _, name = path.rstrip("/").rpartition("/")
        entry = self._entries.get("/".join(parts(f"{self.resolve(folder)}/{name}")))
        return entry.kind if entry else None

    def resolve(self, path: str) -> str:
        """Return the path all links lead to, whether or not something is there."""
        return follow(path, self._link, self.describe)

    def size(self, path: str) -> int:
        """Return the size of a regular file in bytes."""
        return self._regular(path).size

    def open(self, path: str) -> io.BufferedReader:
        """Open a regular file for reading; the caller closes it."""
        entry = self._regular(path)
        return io.BufferedReader(_Slice(self._fd, entry.offset, entry.size))

    def read(self, path: str) -> bytes:
        """Return the content of a regular file."""
        with self.open(path) as file:
            return file.read()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        if self._names is None:
            self._names = {}
            for entry in self._entries:
                folder, _, name = entry.rpartition("/")
                self._names.setdefault(folder, []).append(name)
        here = self.resolve(path)
        if here and self._entries.get(here) != _FOLDER:
            raise LabError(f"{self.describe(path)}: No such directory")
        return sorted(self._names.get(here, ()))

    def walk(self, path: str) -> Iterator[str]:
        """Yield every file and link below a directory, sorted; linked directories stay shut."""
        todo = [path]
        while todo:
            here = todo.pop()
            kind = self.kind(here)
            if kind is Kind.DIR:
                todo.extend(f"{here}/{name}" for name in reversed(self.names(here)))
            elif kind is not None:
                yield here

    def is_executable(self, path: str) -> bool:
        """Tell whether a regular file has any execute bit."""
        return bool(self._regular(path).mode & 0o111)

    def fingerprint(self, path: str) -> tuple[int, ...]:
        """Return size, times (ns) and inode of the archive: it changes as one."""
        self._regular(path)
        info = self._stat
        return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def _link(self, path: str) -> str | None:
        entry = self._entries.get(path)
        return entry.target if entry and entry.kind is Kind.LINK else None

    def _regular(self, path: str) -> _Entry:
        entry = self._entries.get(path)
        if entry is None or entry.kind is not Kind.FILE:
            entry = self._entries.get(self.resolve(path))
        if entry is None:
            raise LabError(f"{self.describe(path)}: No such file")
        if entry.kind is not Kind.FILE:
            raise LabError(f"{self.describe(path)}: not a regular file")
        return entry

    def _index(self) -> tuple[dict[str, _Entry], dict[str, str]]:
        entries: dict[str, _Entry] = {}
        hard_links: dict[str, str] = {}
        for member in self._members():
            name = self._name(member.name)
            if not name and member.isdir():
                continue
            if (name in entries and not member.isdir()) or name in hard_links:
                raise LabError(f"{self.describe(name)}: twice in the archive")
            if member.islnk():
                hard_links[name] = self._name(member.linkname)
            elif not member.isdir() or name not in entries:
                entries[name] = self._entry(name, member)
        return entries, hard_links

    def _members(self) -> Iterator[tarfile.TarInfo]:
        try:
            with (
                open(self._fd, "rb", closefd=False) as file,
                tarfile.TarFile(fileobj=file) as archive,
            ):
                while (member := archive.next()) is not None:
                    # A TarInfo is ten times an _Entry, and tarfile would keep them all.
                    archive.members.clear()  # type: ignore[attr-defined]  # absent from typeshed
                    yield member
        except _HOSTILE as error:
            raise LabError(
                f"{self._path}: not a readable tar archive ({error})",
                hint="a Lab is a folder or an uncompressed tar of one",
            ) from error

    def _name(self, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise LabError(f"{self._path}: unsafe member name {name!r}")
        if len(name) > MAX_PATH_LENGTH:
            raise LabError(f"{self._path}: member name of {len(name)} characters")
        return "/".join(parts(name))

    def _entry(self, name: str, member: tarfile.TarInfo) -> _Entry:
        if member.isdir():
            return _FOLDER
        if member.issym():
            if member.linkname.startswith("/"):
                place = self.describe(name)
                raise LabError(f"{place}: leads out of the Lab, to {member.linkname}")
            return _Entry(Kind.LINK, target=member.linkname)
        if not member.isreg() or member.issparse():
            kind = "a sparse file" if member.issparse() else "a device, a FIFO or unknown"
            raise LabError(f"{self.describe(name)}: {kind} has no place in a Lab")
        if member.size < 0 or member.offset_data + member.size > self._stat.st_size:
            raise LabError(f"{self.describe(name)}: the archive ends before this member does")
        return _Entry(Kind.FILE, member.offset_data, member.size, member.mode)

    def _prefix(self) -> str:
        found = {
            match["prefix"] or ""
            for name in (*self._entries, *self._hard_links)
            if name.endswith("lab-metadata.json") and (match := _MANIFEST.fullmatch(name))
        }
        if not found:
            raise LabError(f"{self._path}: not a Lab, no lab/*lab-metadata.json inside")
        depth = min(len(parts(prefix)) for prefix in found)
        nearest = sorted(prefix for prefix in found if len(parts(prefix)) == depth)
        if len(nearest) > 1:
            raise LabError(f"{self._path}: several Labs inside: {', '.join(nearest)}")
        return nearest[0]

    def _enter(self, prefix: str) -> None:
        """Keep what is below the prefix, under its name in the Lab; check every link."""
        start = f"{prefix}/" if prefix else ""
        for name in self._hard_links:
            if name.startswith(start):
                self._entries[name] = self._hard_link(name, start)
        kept = {
            name.removeprefix(start): entry
            for name, entry in self._entries.items()
            if name.startswith(start)
        }
        for name in tuple(kept):
            folder = name.rpartition("/")[0]
            while folder and folder not in kept:
                kept[folder] = _FOLDER
                folder = folder.rpartition("/")[0]
        self._entries = kept
        self._hard_links = {}
        for name, entry in kept.items():
            if entry.kind is Kind.LINK:
                self.resolve(name)

    def _hard_link(self, name: str, start: str) -> _Entry:
        target = name
        for _ in range(MAX_LINKS):
            if target not in self._hard_links:
                break
            target = self._hard_links[target]
        entry = self._entries.get(target)
        if entry is None or entry == _FOLDER or not target.startswith(start):
            raise LabError(f"{self._path}: hard link {name} names no file of the Lab ({target})")
        return entry


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
