"""The way down to a folder, through no link. Standard library only: it also runs at a place alone.

Each folder is opened inside the one before, so nobody can exchange one for a link meanwhile.
"""

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSED = "closed"
INCOMING = "incoming"
SUBMISSIONS = "submissions"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def naming(path: str) -> "Iterator[None]":
    """Put a path into what goes wrong with it: descriptors have no names."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


class Walk:
    """The way from the root to a folder: what the next folder shares with it stays open.

    Mutable.
    """

    def __init__(self, root: str, modes: "tuple[int, int] | None") -> None:
        """Begin at ``root``; ``modes`` are those of new folders and files, if not the umask's."""
        self._modes = modes
        self._root = root
        self._names = []  # type: list[str]
        self._open = []  # type: list[int]
        self._incoming = -1

    def __enter__(self) -> "Walk":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._leave(0)
        for descriptor in (*self._open, self._incoming):
            if descriptor >= 0:
                os.close(descriptor)

    def incoming(self) -> int:
        """Return the folder where files wait for their names."""
        if self._incoming < 0:
            self._incoming = self._step(self._start(make=True), INCOMING, [INCOMING], make=True)
        return self._incoming

    def enter(self, folders: "list[str]", *, make: bool = True) -> int:
        """Return a descriptor of the folder, which is made if need be."""
        here = self._start(make=make)
        common = 0
        for ours, theirs in zip(self._names, folders):
            if ours != theirs:
                break
            common += 1
        self._leave(common)
        for name in folders[common:]:
            here = self._step(self._open[-1], name, [*self._names, name], make=make)
            self._names.append(name)
            self._open.append(here)
        return self._open[-1]

    def _start(self, *, make: bool) -> int:
        if not self._open:
            if make and not os.path.isdir(self._root):
                _make_folders(self._root, self._modes)
            self._open.append(os.open(self._root, _FOLDER))
        return self._open[0]

    def _leave(self, kept: int) -> None:
        for descriptor in self._open[kept + 1 :]:
            os.close(descriptor)
        del self._open[kept + 1 :], self._names[kept:]

    def _step(self, here: int, name: str, way: "list[str]", *, make: bool) -> int:
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        try:
            return os.open(name, _STEP, dir_fd=here)
        except FileNotFoundError:
            if not make:
                raise
        except OSError:
            if link_at(name, here) is None:
                raise
            return _through(name, here, way)
        try:
            os.mkdir(name, self._modes[0] if self._modes else 0o777, dir_fd=here)
        except FileExistsError:  # somebody else was faster
            return os.open(name, _STEP, dir_fd=here)
        if self._modes:
            os.chmod(name, self._modes[0], dir_fd=here)
        return os.open(name, _STEP, dir_fd=here)


def _through(name: str, here: int, way: "list[str]") -> int:
    """Follow one kind of link: what registers a submission folder kept elsewhere, made by us."""
    ours = os.lstat(name, dir_fd=here).st_uid == os.geteuid()
    if way == [SUBMISSIONS, name] and ours:
        return os.open(name, _FOLDER, dir_fd=here)
    where = "/".join(way)
    raise OSError(errno.ELOOP, f"{where} is a link, and nothing is written through links")


def _make_folders(path: str, modes: "tuple[int, int] | None") -> None:
    """Make the root, and what it stands in; only the root is shared."""
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    if modes:
        os.chmod(path, modes[0])


def remove_tree(name: str, folder: int) -> None:
    """Remove a folder in an open one, with all that it holds; what cannot be removed stays.

    No link is followed, also none that is put in a folder's place meanwhile. Raises OSError where
    a folder was moved away meanwhile.
    """
    here, above = os.dup(folder), []  # type: int, list[os.stat_result]
    rest = [[name]]  # of each folder on the way down, the folders that are still to be removed
    try:
        while rest[0]:
            if rest[-1]:
                below = _open_to_empty(rest[-1][-1], here)
                if below is None:
                    rest[-1].pop()
                    continue
                above.append(os.fstat(here))
                os.close(here)
                here = below
                rest.append(_unlink_all(here))
                continue
            rest.pop()
            up = os.open("..", _FOLDER, dir_fd=here)
            os.close(here)
            here = up
            if not os.path.samestat(os.fstat(here), above.pop()):
                raise OSError(errno.EBUSY, "a folder was moved while it was removed", name)
            with suppress(OSError):
                os.rmdir(rest[-1].pop(), dir_fd=here)
    finally:
        os.close(here)


def _open_to_empty(name: str, folder: int) -> "int | None":
    """Open a folder of which all is to go, also one that its owner may not write."""
    try:
        descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return None
    with suppress(OSError):
        if ~os.fstat(descriptor).st_mode & stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
    return descriptor


def _unlink_all(folder: int) -> "list[str]":
    """Remove what is no folder from an open one; return the folders in it."""
    folders = []
    for name in os.listdir(folder):
        with suppress(OSError):
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                folders.append(name)
            else:
                os.unlink(name, dir_fd=folder)
    return folders


def link_at(name: str, folder: int) -> "str | None":
    """Return where the link of this name in an open folder leads; None for what is no link."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None
