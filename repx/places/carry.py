"""Results on their way from one store to another. Standard library only: a place runs it alone.

The sender lists and fetches; the receiver says what it has already (``begun``), of which only the
rest is sent, and writes job by job under the job's lock: markers go first, the new one comes last.
A file that was broken off stays in ``incoming`` under a name made of its key, and is continued.
"""

import errno
import hashlib
import io
import os
import platform
import posixpath
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from repx.places import regular
from repx.places.walk import INCOMING, Walk, naming, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from repx.places.tree import Tree

MARKERS = ("SUCCESS", "FAIL")
# How jobs are received: those without a success, over an older success, or only some files.
NEW, REPLACE, SOME = "new", "replace", "some"

_LOCK = "lock"
_CHUNK = 1 << 20
_AT_ONCE = 200  # jobs that wait for the disk together, each with an open lock
_WORTH_KEEPING = 1 << 20
_PRIVATE = 0o600
_PART = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_IN_THE_WAY = (errno.ELOOP, errno.ENOTDIR)


class Rest:
    """What is left of a file, from ``start`` on. Mutable: it can be read once."""

    def __init__(self, file: "BinaryIO", start: int = 0) -> None:
        """Read on where the file stands."""
        self.start = start
        self.read = file.read


# --- at the sender -------------------------------------------------------------------------


def listing(tree: "Tree", folders: "Iterable[str]") -> "dict[str, tuple[int, int]]":
    """Return mode and size of each file, link and empty folder below the folders.

    The mode of a link and of a folder holds what it is. A link that leads out of its job counts
    as the file it leads to, or not at all.
    """
    found = {}  # type: dict[str, tuple[int, int]]
    for folder in folders:
        _list(tree, folder, found)
    return found


def _list(tree: "Tree", folder: str, found: "dict[str, tuple[int, int]]") -> None:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(tree.path(folder)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            key = f"{folder}/{entry.name}"
            there = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(there.st_mode):
                count = len(found)
                _list(tree, key, found)
                if len(found) == count:
                    found[key] = (there.st_mode, 0)
                continue
            if stat.S_ISLNK(there.st_mode):
                if leads_inside(key, os.readlink(tree.path(key))):
                    found[key] = (there.st_mode, there.st_size)
                    continue
                with suppress(OSError):
                    there = entry.stat()
            if stat.S_ISREG(there.st_mode):
                found[key] = (there.st_mode & 0o777, there.st_size)


def leads_inside(key: str, to: str) -> bool:
    """Return whether a link stays in the folder of its job."""
    home = "/".join(key.split("/")[:2])
    leads = posixpath.normpath(posixpath.join(posixpath.dirname(key), to))
    return leads.startswith(f"{home}/")


def fetch(
    tree: "Tree", keys: "Sequence[str]", begun: "Mapping[str, tuple[int, str]]"
) -> "Iterator[tuple[str, int, Rest]]":
    """Yield each that exists: its key, its mode, and what of it the receiver lacks.

    ``begun`` says what the receiver has: how many bytes, with which sum.
    """
    for key in keys:
        path = tree.path(key)
        try:
            mode = os.lstat(path).st_mode
            to = os.readlink(path) if stat.S_ISLNK(mode) else ""
            if stat.S_ISDIR(mode) or (to and leads_inside(key, to)):
                yield key, mode, Rest(io.BytesIO(os.fsencode(to)))
                continue
            descriptor = regular.opened(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with open(descriptor, "rb") as file:
            size, sha256 = begun.get(key, (0, ""))
            there = os.fstat(descriptor)
            if not size or there.st_size < size or sum_of(file, size) != sha256:
                size = 0
            file.seek(size)
            yield key, there.st_mode & 0o777, Rest(file, size)


# --- at the receiver -----------------------------------------------------------------------


def begun(tree: "Tree", sizes: "Mapping[str, int]") -> "dict[str, tuple[int, str]]":
    """Return what is there of files that will have these sizes: how many bytes, their sum.

    Nothing of markers, for they are gone before anything is written.
    """
    found = {}
    parts = set(tree.names(INCOMING))
    is_there = {}  # type: dict[str, bool]
    for key, size in sizes.items():
        *home, _ = key.split("/", 2)
        folder = "/".join(home)
        if folder not in is_there:
            is_there[folder] = os.path.lexists(tree.path(folder))
        if key.split("/")[2:] == ["repx", MARKERS[0]] or not (parts or is_there[folder]):
            continue
        part = [f"{INCOMING}/{_part(key)}"] if parts else []
        for path in map(tree.path, [*part, key]):
            with suppress(OSError):
                there = os.lstat(path)
                if not stat.S_ISREG(there.st_mode) or there.st_size > size:
                    continue
                with open(regular.opened(path), "rb") as file:
                    found[key] = (there.st_size, sum_of(file, there.st_size))
                break
    return found


def receive(
    tree: "Tree", how: str, files: "Iterable[tuple[str, int, Any, str]]"
) -> "tuple[int, list[str]]":
    """Write the files of jobs, each job's marker last; return the bytes, and who was passed over.

    A job is passed over while a process holds its lock, and one that has succeeded unless results
    are to be replaced. What else is in the folder of a job that becomes complete is removed.
    """
    passed = []  # type: list[str]
    mask = os.umask(0o077)
    os.umask(mask)
    with Walk(tree.root, tree.modes) as walk:
        jobs = _Jobs(tree, lambda home: _Job(tree, walk, home, how, mask))
        try:
            for key, mode, content, _ in files:
                job = jobs.of("/".join(key.split("/")[:2]), passed)
                jobs.total += job.write(key, mode, content)
        finally:  # what is whole counts also when the rest does not come
            jobs.finish()
    return jobs.total, passed


class _Jobs:
    """The jobs that are being received, one after the other. Mutable.

    Those that are whole get their markers together, when all of them is on the disk.
    """

    def __init__(self, tree: "Tree", make: "Callable[[str], _Job]") -> None:
        self.total = 0
        self._tree = tree
        self._make = make
        self._now = None  # type: _Job | None
        self._whole = []  # type: list[_Job]

    def of(self, home: str, passed: "list[str]") -> "_Job":
        """Return the job with this folder, begun if it is another one than before."""
        if self._now is None or self._now.home != home:
            self._leave()
            if len(self._whole) >= _AT_ONCE:
                self.finish()
            self._now = self._make(home)
            if not self._now.open():
                passed.append(home.split("/")[1])
        return self._now

    def finish(self) -> None:
        """Mark the jobs that are whole, and give all locks back."""
        self._leave()
        whole, self._whole = self._whole, []
        if whole:
            os.sync()
        try:
            self._tree.write_many([job.finished() for job in whole])
        finally:
            for job in whole:
                job.close()

    def _leave(self) -> None:
        if self._now is not None and self._now.is_whole:
            self._whole.append(self._now)
        elif self._now is not None:
            self._now.close()
        self._now = None


class _Job:
    """The folder of one job that is being received. Mutable."""

    def __init__(self, tree: "Tree", walk: Walk, home: str, how: str, mask: int) -> None:
        self.home = home
        self._mask = mask
        self._tree = tree
        self._walk = walk
        self._how = how
        self._lock = None  # type: int | None
        self._is_ours = False
        self._is_fresh = not os.path.lexists(tree.path(home))
        self._received = set()  # type: set[str]
        self._marker = None  # type: tuple[int, bytes] | None

    def open(self) -> bool:
        """Take the lock and drop the markers; return whether that was possible."""
        meta = f"{self.home}/repx"
        if self._how == SOME and not os.path.lexists(self._tree.path(f"{meta}/{_LOCK}")):
            self._is_ours = True  # nothing runs here, and nothing will look complete
            return True
        with naming(self._tree.path(f"{meta}/{_LOCK}")):
            folder = self._walk.enter(meta.split("/"))
            mode = self._tree.mode(0o644)
            self._lock = regular.lock(_LOCK, folder, mode)
            if self._lock is None:
                return False
            if self._how == NEW and os.access(self._tree.path(f"{meta}/{MARKERS[0]}"), os.F_OK):
                return False
            if self._is_fresh:
                self._tree.settle(self._lock, mode)
                os.write(self._lock, f"{platform.node()} {os.getpid()}\n".encode())
            for name in MARKERS:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        self._is_ours = True
        return True

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, key: str, mode: int, content: "BinaryIO | Rest | bytes") -> int:
        """Write one file, link or empty folder; return its bytes."""
        if not self._is_ours:
            return 0
        self._received.add(key)
        if key == f"{self.home}/repx/{MARKERS[0]}":
            self._marker = (mode, _all(content))
            return len(self._marker[1])
        *folders, name = key.split("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._tree.path(key))
        with naming(self._tree.path(key)):
            if stat.S_ISDIR(mode):
                self._enter([*folders, name])
                return 0
            into = self._enter(folders)
            if stat.S_ISLNK(mode):
                self._link(key, _all(content), name, into)
                return 0
            return self._file(key, mode & 0o777, content, into)

    @property
    def is_whole(self) -> bool:
        """Tell whether the marker has come."""
        return self._marker is not None

    def finished(self) -> "tuple[str, int, bytes, str]":
        """Remove what the job does not have; return its marker, to be written."""
        mode, content = self._marker or (0, b"")
        if not self._is_fresh:
            self._remove_others()
        folder = f"{self.home}/repx"
        if not content:  # RepX 0.5's: beside a lock it would look torn (repx.runner.marks)
            with suppress(FileNotFoundError):
                os.unlink(_LOCK, dir_fd=self._walk.enter(folder.split("/")))
        return f"{folder}/{MARKERS[0]}", mode & 0o777, content, ""

    def _enter(self, folders: "list[str]") -> int:
        """Go to a folder of the job; what stands in the way there is of an earlier attempt."""
        try:
            return self._walk.enter(folders)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        for depth in range(2, len(folders)):
            above, name = self._walk.enter(folders[:depth]), folders[depth]
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode):
                    os.unlink(name, dir_fd=above)
        return self._walk.enter(folders)

    def _link(self, key: str, to: bytes, name: str, into: int) -> None:
        if not leads_inside(key, os.fsdecode(to)):
            raise OSError(errno.EINVAL, f"a link that leads out of its job: {os.fsdecode(to)}")
        temporary = f".{os.urandom(12).hex()}.part"
        os.symlink(to, temporary, dir_fd=into)
        self._rename(temporary, name, (into, into))

    def _file(self, key: str, mode: int, content: "BinaryIO | Rest | bytes", into: int) -> int:
        beside = self._walk.incoming()
        if os.fstat(beside).st_dev != os.fstat(into).st_dev:
            beside = into
        name = key.rpartition("/")[2]
        descriptor, temporary = _open_part(key, beside)
        try:
            size = self._fill(descriptor, key, content)
            os.fchmod(descriptor, self._tree.mode(mode) if self._tree.modes else mode & ~self._mask)
            self._rename(temporary, name, (beside, into))
        except BaseException:  # Ctrl-C too
            if os.fstat(descriptor).st_size < _WORTH_KEEPING:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=beside)
            raise
        finally:
            os.close(descriptor)
        return size

    def _fill(self, descriptor: int, key: str, content: "BinaryIO | Rest | bytes") -> int:
        """Write the rest of a file behind what is there of it; return how much came."""
        start = getattr(content, "start", 0)
        if os.fstat(descriptor).st_size != start:  # what is there of it is the file itself
            os.ftruncate(descriptor, 0)
            self._begin_with(descriptor, key, start)
        os.lseek(descriptor, start, os.SEEK_SET)
        if isinstance(content, bytes):
            content = io.BytesIO(content)
        return _copy(content, descriptor, -1)

    def _begin_with(self, descriptor: int, key: str, size: int) -> None:
        if size:
            with open(regular.opened(self._tree.path(key)), "rb") as before:
                size -= _copy(before, descriptor, size)
        if size:
            raise OSError(errno.EBUSY, "another process writes this file, too")

    def _rename(self, old: str, new: str, folders: "tuple[int, int]") -> None:
        beside, into = folders
        try:
            os.rename(old, new, src_dir_fd=beside, dst_dir_fd=into)
        except IsADirectoryError:
            remove_tree(new, into)
            os.rename(old, new, src_dir_fd=beside, dst_dir_fd=into)

    def _remove_others(self) -> None:
        """Remove what an attempt before has left and the results do not have."""
        above, _, name = self.home.rpartition("/")
        into = self._walk.enter(above.split("/"))
        for parent, folders, names, here in os.fwalk(name, topdown=False, dir_fd=into):
            for each in (*names, *folders):
                key = f"{above}/{parent}/{each}"
                if key in self._received or (each == _LOCK and "/out/" not in key):
                    continue
                with suppress(OSError):
                    is_folder = stat.S_ISDIR(os.lstat(each, dir_fd=here).st_mode)
                    (os.rmdir if is_folder else os.unlink)(each, dir_fd=here)


def _part(key: str) -> str:
    """Return the name under which a file is continued."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return f".{digest[:24]}.part"


def _open_part(key: str, folder: int) -> "tuple[int, str]":
    """Open the file to continue; a new one where that is somebody else's, or in use."""
    name = _part(key)
    with suppress(OSError):
        descriptor = regular.lock(name, folder, _PRIVATE)
        if descriptor is not None:
            there = os.fstat(descriptor)
            same = os.path.samestat(there, os.lstat(name, dir_fd=folder))
            if (
                same
                and stat.S_ISREG(there.st_mode)
                and there.st_uid == os.geteuid()
                and there.st_nlink == 1
            ):
                return descriptor, name
            os.close(descriptor)
    name = f".{os.urandom(12).hex()}.part"
    return os.open(name, _PART | os.O_EXCL, _PRIVATE, dir_fd=folder), name


def sum_of(file: "BinaryIO", size: int) -> str:
    """Return the sum of the first ``size`` bytes of a file."""
    digest = hashlib.sha256()
    while size > 0:
        chunk = file.read(min(size, _CHUNK))
        if not chunk:
            break
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def _copy(source: "BinaryIO | Rest", descriptor: int, size: int) -> int:
    """Write at most ``size`` bytes (below 0: all) of a file to an open one; return how many."""
    done = 0
    while size < 0 or done < size:
        chunk = source.read(_CHUNK if size < 0 else min(_CHUNK, size - done))
        if not chunk:
            break
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
        done += len(chunk)
    return done


def _all(content: "BinaryIO | Rest | bytes") -> bytes:
    if isinstance(content, bytes):
        return content
    return b"".join(iter(lambda: content.read(_CHUNK), b""))
