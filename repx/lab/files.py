"""The files of a Lab, a folder or a tar, behind one interface that never leaves the Lab."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from repx.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

MAX_PATH_LENGTH: Final = 4096
MAX_DEPTH: Final = 100  # folders; making and deleting them recurses once per level
MAX_LINKS: Final = 100
_CACHED_LINKS: Final = 4096
_SHOWN: Final = 200


class Kind(StrEnum):
    """The kind of file at a path; a link is not followed."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"


class LabFiles(Protocol):
    """Read access to a Lab. Every path is POSIX and relative to the Lab's root.

    All methods but ``kind`` follow links that stay inside the Lab. Each method raises LabError for
    other links and for files that are missing or cannot be read.
    """

    def describe(self, path: str) -> str:
        """Return the path for messages, as the user would find the file."""

    def kind(self, path: str) -> Kind | None:
        """Return the kind of a file, None if it is missing. Raises LabError for other kinds."""

    def resolve(self, path: str) -> str:
        """Return the path without links, whether or not the file exists."""

    def size(self, path: str) -> int:
        """Return the size of a regular file in bytes."""

    def open(self, path: str) -> BufferedReader:
        """Open a regular file for reading; the caller closes it."""

    def read(self, path: str) -> bytes:
        """Return the content of a regular file."""

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""

    def walk(self, path: str) -> Iterator[str]:
        """Yield every file and link below a directory; linked directories are not entered.

        Sorted by folder; empty for a path that does not exist.
        """

    def is_executable(self, path: str) -> bool:
        """Tell whether a regular file has any execute bit."""

    def fingerprint(self, path: str) -> tuple[int, ...]:
        """Return numbers that change with the file. Does not check that the file is in the Lab."""


def parts(path: str) -> list[str]:
    """Return the components of a path, without empty ones and ``.``."""
    return [part for part in path.split("/") if part not in {"", "."}]


def printable(path: str) -> str:
    """Return a path for a message, escaped if it could send control codes to the terminal."""
    return path if path.isprintable() else path.encode("unicode_escape", "replace").decode()


def shortened(text: str) -> str:
    """Return text for a message: of a long text, only the beginning."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def fault(path: str) -> str | None:
    """Return why a path from a Lab's metadata must not be used, or None if it is safe."""
    if path.startswith("/"):
        return "is absolute"
    if not path.strip("./") and not parts(path):
        return "is empty"
    if ".." in path and ".." in path.split("/"):
        return "contains '..'"
    if "\0" in path:
        return "contains a NUL character"
    if len(path) > MAX_PATH_LENGTH:
        return f"is {len(path):,} characters long, more than {MAX_PATH_LENGTH:,}"
    depth = path.count("/")
    return f"is {depth:,} folders deep, more than {MAX_DEPTH}" if depth > MAX_DEPTH else None


def follow(path: str, link: Callable[[str], str | None], describe: Callable[[str], str]) -> str:
    """Return ``path`` with every link in it followed.

    ``link`` returns a link's target, relative to the link's directory or, beginning with
    ``/``, to the Lab's root; None if the path is no link. Raises LabError for a path that
    leaves the Lab or has a cycle of links.
    """
    todo = parts(path)[::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if not done:
                raise LabError(f"{describe(path)}: leads out of the Lab")
            done.pop()
            continue
        done.append(part)
        target = link("/".join(done))
        if target is None:
            continue
        done.pop()
        links += 1
        if links > MAX_LINKS:
            raise LabError(f"{describe(path)}: more than {MAX_LINKS} links to follow")
        if target.startswith("/"):
            done.clear()
        todo.extend(reversed(parts(target)))
    return "/".join(done)


def walk(files: LabFiles, path: str) -> Iterator[str]:
    """Yield every file and link below a path of a Lab, without following links."""
    todo = [path.rstrip("/")]
    while todo:
        here = todo.pop()
        kind = files.kind(here)
        if kind is Kind.DIR:
            if here.count("/") > MAX_DEPTH:
                place = shortened(files.describe(here))
                raise LabError(f"{place}: more than {MAX_DEPTH} folders deep")
            names = reversed(files.names(here))
            todo.extend(f"{here}/{name}" if here else name for name in names)
        elif kind is not None:
            yield here


class FolderFiles:
    """A Lab that is a directory."""

    def __init__(self, root: Path) -> None:
        """Read below ``root``, a real path."""
        self._root = os.fspath(root)
        self._link = lru_cache(_CACHED_LINKS)(self._read_link)

    def describe(self, path: str) -> str:
        """Return the path on this machine."""
        return printable(self._place(path))

    def kind(self, path: str) -> Kind | None:
        """Return the kind of a file, None if it is missing. Raises LabError for other kinds."""
        folder, _, name = path.rstrip("/").rpartition("/")
        here = f"{self.resolve(folder)}/{name}"
        try:
            mode = os.lstat(self._place(here)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error
        kind = _KINDS.get(stat.S_IFMT(mode))
        if kind is None:
            raise LabError(f"{self.describe(path)}: neither a file, a directory nor a link")
        return kind

    def resolve(self, path: str) -> str:
        """Return the path without links, whether or not the file exists."""
        return follow(path, self._link, self.describe)

    def size(self, path: str) -> int:
        """Return the size of a regular file in bytes."""
        return self._regular(path)[1].st_size

    def open(self, path: str) -> BufferedReader:
        """Open a regular file for reading; the caller closes it."""
        here, _ = self._regular(path)
        try:
            return open(here, "rb")  # noqa: PTH123  # closed by the caller
        except OSError as error:
            raise self._unreadable(path, error) from error

    def read(self, path: str) -> bytes:
        """Return the content of a regular file."""
        with self.open(path) as file:
            return file.read()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        try:
            return sorted(os.listdir(self._place(self.resolve(path))))  # noqa: PTH208  # 100,000
        except OSError as error:
            raise self._unreadable(path, error) from error

    def walk(self, path: str) -> Iterator[str]:
        """Yield every file and link below a directory, sorted; skip linked directories."""
        return walk(self, path)

    def is_executable(self, path: str) -> bool:
        """Tell whether a regular file has any execute bit."""
        return bool(self._regular(path)[1].st_mode & 0o111)

    def fingerprint(self, path: str) -> tuple[int, ...]:
        """Return size, modification and change time (ns) and inode of the file."""
        try:
            info = os.stat(self._place(path))  # noqa: PTH116  # 300,000 of them
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error
        return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def _place(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _regular(self, path: str) -> tuple[str, os.stat_result]:
        here = self._place(self.resolve(path))
        try:
            info = os.lstat(here)
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error
        if not stat.S_ISREG(info.st_mode):
            raise LabError(f"{self.describe(path)}: not a regular file")
        return here, info

    def _read_link(self, path: str) -> str | None:
        here = self._place(path)
        try:
            if not stat.S_ISLNK(os.lstat(here).st_mode):
                return None
            target = os.readlink(here)  # noqa: PTH115  # a Path per job costs more than the call
        except (OSError, ValueError):
            return None
        if not target.startswith("/"):
            return target
        real = os.path.realpath(target)
        if real != self._root and not real.startswith(f"{self._root}/"):
            raise LabError(f"{self.describe(path)}: leads out of the Lab, to {printable(target)}")
        return real[len(self._root) :] or "/"

    def _unreadable(self, path: str, error: OSError | ValueError) -> LabError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        incomplete = "the Lab is incomplete; build or copy it again"
        hint = incomplete if isinstance(error, FileNotFoundError) else None
        return LabError(f"{self.describe(path)}: {reason}", hint=hint)


_KINDS: Final = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIR, stat.S_IFLNK: Kind.LINK}
