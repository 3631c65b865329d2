"""The files below one folder, many at a time. Standard library only: it also runs at a place alone.

Keys are POSIX paths relative to the folder. Nothing is written through a link: folders are opened
one by one, each inside the one before. A file is written under a name that nobody can guess, in
``incoming``, and renamed. Annotations suit Python 3.6, which login nodes still have.
"""

import contextlib
import errno
import glob
import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING

from repx.places import carry, closed, growth, look, names, parts
from repx.places.regular import READ, is_locked, only_regular, opened
from repx.places.walk import INCOMING, SUBMISSIONS, Walk, naming, remove_tree
from repx.runner import marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

FAIL = "FAIL"
SUCCESS = marks.SUCCESS
PART = ".part"
ARTIFACTS = "artifacts"

# What ``share:`` of a profile means: the mode of folders, the mode of files.
MODES = {"group": (0o2775, 0o664), "read": (0o755, 0o644), "private": (0o700, 0o600)}
# Of an archive: everybody of the group may add, nobody may change what another one added.
ARCHIVE = "archive"
MODES[ARCHIVE] = (0o3775, 0o444)
DAY_S = 24 * 3600

_CHUNK = 1 << 20
_COMPARED_BYTES = 64 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (FileNotFoundError, NotADirectoryError)


class Tree:
    """One folder. ``share`` is a key of ``MODES``; without it the umask decides."""

    def __init__(self, root: str, share: str = "") -> None:
        """Take the folder; it need not exist yet."""
        self.root = root
        self.modes = MODES.get(share)
        self.rest: Callable[[float], object] = time.sleep
        self.ask: Callable[[Any], list[tuple[int, str, str]]] | None = None

    def path(self, key: str) -> str:
        """Return the absolute path of a key."""
        return f"{self.root}/{key}"

    # --- looking ---------------------------------------------------------------------------

    def names(self, key: str) -> "list[str]":
        """Return the sorted names in a folder; nothing when there is no such folder."""
        try:
            return sorted(os.listdir(self.path(key)))
        except _ABSENT:
            return []

    def kinds(self, keys: "Sequence[str]") -> "dict[str, tuple[str, int]]":
        """Return for each key that names anything what it is, and its size in bytes.

        A link is what it leads to, and a link only where it leads nowhere.
        """
        found = {}
        for key in keys:
            for ask in (os.lstat, os.stat):  # the second, where it leads anywhere, decides
                with contextlib.suppress(OSError):
                    there = ask(self.path(key))
                    found[key] = (_kind(there.st_mode), there.st_size)
        return found

    def glob(self, patterns: "Sequence[str]") -> "list[str]":
        """Return the keys that match any of the patterns, sorted."""
        start = len(self.root) + 1
        root = glob.escape(self.root)
        return sorted(
            {path[start:] for pattern in patterns for path in glob.iglob(f"{root}/{pattern}")}
        )

    def sizes(self, keys: "Sequence[str]") -> "dict[str, int]":
        """Return the size of each file and link below the folders; links are not followed."""
        found = {}
        for key in keys:
            for parent, folders, here in os.walk(self.path(key)):
                folders.sort()
                here += [each for each in folders if os.path.islink(f"{parent}/{each}")]
                for name in sorted(here):
                    path = f"{parent}/{name}"
                    found[path[len(self.root) + 1 :]] = os.lstat(path).st_size
        return found

    def markers(self, jobs: "Iterable[str]") -> "tuple[dict[str, str], dict[str, str]]":
        """Return SUCCESS or FAIL for each job that has a marker; SUCCESS wins over FAIL.

        And why those of others cannot be read.
        """
        found, problems = {}, {}
        for job in jobs:
            folder = f"{self.root}/outputs/{job}/repx"
            try:
                if marks.success(folder) is not None:
                    found[job] = SUCCESS
                    continue
                # A network file system may remember that it was absent; a listing is fresh.
                names = os.listdir(folder)
            except _ABSENT:
                continue
            except OSError as error:
                problems[job] = error.strerror or str(error)
                continue
            found.update((job, name) for name in (FAIL, SUCCESS) if name in names)
        return found, problems

    def locked(self, keys: "Sequence[str]") -> "list[str]":
        """Return the keys of lock files that a process holds; none where there are no locks."""
        return [key for key in keys if is_locked(self.path(key))]

    def look(
        self, jobs: "Iterable[str]", asked: "Sequence[tuple[Sequence[str], float]]"
    ) -> "tuple[tuple[object, ...], list[tuple[int, str, str]]]":
        """Return what one look sees of these jobs and of all live submissions.

        Where the batch system may have jobs and the place has a way to ask, also its answers.
        """
        return look.look(self, jobs, asked)

    # --- reading ---------------------------------------------------------------------------

    def read_many(self, keys: "Sequence[str]") -> "tuple[dict[str, bytes], dict[str, str]]":
        """Return the contents of the files that exist, and why others cannot be read."""
        contents, problems = {}, {}
        for key in keys:
            try:
                contents[key] = _content(self.path(key))
            except _ABSENT:
                continue
            except OSError as error:
                problems[key] = error.strerror or str(error)
        return contents, problems

    def listing(self, folders: "Iterable[str]") -> "dict[str, tuple[int, int]]":
        """Return mode and size of what is in folders of jobs (``repx.places.carry``)."""
        return carry.listing(self, folders)

    def fetch(
        self, keys: "Sequence[str]", begun: "Mapping[str, tuple[int, str]]"
    ) -> "Iterator[tuple[str, int, carry.Rest]]":
        """Yield each file that exists: its key, its mode, and the rest of it."""
        return carry.fetch(self, keys, begun)

    def begun(self, sizes: "Mapping[str, int]") -> "dict[str, tuple[int, str]]":
        """Return what is there of files that will have these sizes: how many bytes, their sum."""
        return carry.begun(self, sizes)

    def chunks(self, key: str) -> "Iterator[bytes]":
        """Yield a file's content piece by piece."""
        with open(opened(self.path(key)), "rb") as file:
            yield from _chunks(file)

    def part(self, key: str, offset: int, size: int) -> bytes:
        """Return so many bytes of a file, fewer at its end."""
        with open(opened(self.path(key)), "rb") as file:
            file.seek(offset)
            return file.read(size)

    def tail(self, key: str, inode: int, offset: int) -> "tuple[int, int, bytes]":
        """Return the file's inode, where the rest of it begins, and the rest (``growth.tail``)."""
        return growth.tail(self.path(key), inode, offset)

    def ending(self, key: str, lines: int) -> "tuple[int, int, bytes]":
        """Return the file's inode, its size and its last lines (``growth.ending``)."""
        return growth.ending(self.path(key), lines)

    def grown(
        self, key: str, at: "tuple[int, int]", lock: str, pid: int = 0, limit_s: float = 0
    ) -> "tuple[bool, int, int, bytes]":
        """Return what has come to a file, and whether its writer has ended (``growth.grown``)."""
        wait = growth.Wait(limit_s, self.rest)
        return growth.grown(self.path(key), at, growth.Writer(self.path(lock), pid), wait)

    def holds(self, wanted: "Mapping[str, tuple[int, int, str]]") -> "list[str]":
        """Return the keys whose file has this mode, size and sha256 (looked at up to 64 MiB).

        A file of which no sum is known has to be sent.
        """
        return [key for key, facts in wanted.items() if self._has(key, *facts)]

    def _has(self, key: str, mode: int, size: int, sha256: str) -> bool:
        try:
            descriptor = os.open(self.path(key), READ | os.O_NOFOLLOW)
        except OSError:
            return False
        with open(descriptor, "rb") as file:
            there = os.fstat(descriptor)
            if not stat.S_ISREG(there.st_mode) or there.st_mode & 0o111 != mode & 0o111:
                return False
            if there.st_size != size:
                return False
            return size > _COMPARED_BYTES or _sum(file) == sha256

    def kept(self, wanted: "Mapping[str, tuple[int, int, str]]") -> "dict[str, int]":
        """Return how many bytes are there of files whose sending broke off, by key."""
        return parts.sizes(self, wanted)

    # --- writing ---------------------------------------------------------------------------

    def write_many(self, files: "Iterable[tuple[str, int, Any, str]]") -> int:
        """Write each ``(key, mode, content, sha256)`` whole or not at all; return the bytes.

        An empty ``sha256`` stands for any content. What does not have its sum raises OSError
        (EBADMSG) and stays away.
        """
        total = 0
        with Walk(self.root, self.modes) as walk:
            for key, mode, content, sha256 in files:
                total += self._write(walk, key, self.mode(mode), content, sha256)
        return total

    def receive(self, how: str, files: "Iterable[Any]") -> "tuple[int, list[str]]":
        """Write the files of jobs, each job's marker last (``repx.places.carry``)."""
        return carry.receive(self, how, files)

    def append(self, key: str, content: bytes) -> None:
        """Add to the end of a file, which is made if need be."""
        *folders, name = key.split("/")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with Walk(self.root, self.modes) as walk, naming(self.path(key)):
            mode = self.mode(0o644)
            descriptor = os.open(name, flags | os.O_NONBLOCK, mode, dir_fd=walk.enter(folders))
            try:
                only_regular(descriptor)
                _write_all(descriptor, content)
            finally:
                os.close(descriptor)

    def link_many(self, links: "Mapping[str, str]") -> int:
        """Make symbolic links by key, those that are not there yet; return how many."""
        return names.link_many(self, links)

    def name_many(self, known: "Mapping[str, str]") -> None:
        """Give files further names by key; where there are no hard links, copy them."""
        names.name_many(self, known)

    def write_new(self, folder: str, files: "Iterable[tuple[str, int, bytes]]") -> None:
        """Make a folder of ``(name below it, mode, content)``, all of it or nothing.

        It appears complete; one that is there, and empty, is filled there. A submission tidies up.
        """
        if folder.startswith(f"{SUBMISSIONS}/"):
            self.tidy(limit_s=2)
        above, _, name = folder.rpartition("/")
        prefix = f"{above}/" if above else ""
        there = bool(self.kinds([folder]))
        part = folder if there else f"{prefix}.{_token()}{PART}"
        try:
            with Walk(self.root, self.modes) as walk:
                with naming(self.path(part)):
                    walk.enter(part.split("/"))
                for key, mode, content in files:
                    self._put(walk, f"{part}/{key}", self.mode(mode), content)
                if not there:
                    into = walk.enter(above.split("/") if above else [])
                    with naming(self.path(folder)):
                        os.rename(part.rpartition("/")[2], name, src_dir_fd=into, dst_dir_fd=into)
        except BaseException:  # Ctrl-C too
            self.remove([part])
            raise

    def remove(self, keys: "Sequence[str]") -> None:
        """Remove files and folders with all they hold; what is not there is no error."""
        for key in keys:
            *folders, name = key.split("/")
            with Walk(self.root, None) as walk:
                try:
                    into = walk.enter(folders, make=False)
                    there = os.lstat(name, dir_fd=into)
                except _ABSENT:
                    continue
                if not stat.S_ISDIR(there.st_mode):
                    os.unlink(name, dir_fd=into)
                else:
                    remove_tree(name, into)

    def close_submissions(self, submissions: "Sequence[str]", record: bytes) -> "list[str]":
        """Close submissions that have ended (``repx.places.closed``); return which."""
        return closed.close(self, submissions, record)

    def tables(self, submission: str) -> "dict[str, bytes]":
        """Return what is still asked of a closed submission, by its path there."""
        return closed.tables(self, submission)

    def tidy(self, limit_s: float) -> int:
        """Remove orphans and pack closed submissions, as long as the time allows."""
        return self.clear_orphans() + closed.pack(self, limit_s)

    def clear_orphans(self, age_s: int = DAY_S) -> int:
        """Remove what was being written more than ``age_s`` seconds ago; return how many."""
        old = [
            f"{folder}/{name}"
            for folder in (INCOMING, SUBMISSIONS)
            for name in self.names(folder)
            if name.endswith(PART) and self._is_older(f"{folder}/{name}", age_s)
        ]
        self.remove(old)
        return len(old)

    def _is_older(self, key: str, age_s: int) -> bool:
        try:
            return os.lstat(self.path(key)).st_mtime < time.time() - age_s
        except OSError:
            return False

    def mode(self, mode: int) -> int:
        """Return the mode of a file, with leave to execute for whoever may read."""
        if self.modes is None or not mode & 0o077:  # what is private stays so
            return mode
        shared = self.modes[1]
        return shared | (shared & 0o444) >> 2 if mode & 0o100 else shared

    def _write(
        self, walk: Walk, key: str, mode: int, content: "BinaryIO | bytes", sha256: str
    ) -> int:
        *folders, name = key.split("/")
        with naming(self.path(key)):
            into = walk.enter(folders)
            beside = walk.incoming()
            # Another file system may be mounted there, or a link of ours leads to one.
            if os.fstat(beside).st_dev != os.fstat(into).st_dev:
                beside = into
            temporary, start = f".{_token()}{PART}", getattr(content, "start", 0)
            descriptor = parts.opened(beside, temporary, mode, sha256, start)
            try:
                size = _fill(descriptor, content, sha256)
                self.settle(descriptor, mode)
                if folders[:1] == [ARTIFACTS]:  # believed by their names, where nobody knows sums
                    os.fsync(descriptor)
                os.rename(temporary, name, src_dir_fd=beside, dst_dir_fd=into)
            except BaseException as error:  # Ctrl-C too
                kept = parts.name(mode, sha256) if sha256 and beside != into else ""
                parts.leave(beside, temporary, kept, error)
                raise
            finally:
                os.close(descriptor)
        return size

    def _put(self, walk: Walk, key: str, mode: int, content: bytes) -> None:
        """Write a file of a folder that nobody reads yet."""
        *folders, name = key.split("/")
        with naming(self.path(key)):
            descriptor = os.open(name, _NEW, mode, dir_fd=walk.enter(folders))
            try:
                _write_all(descriptor, content)
                self.settle(descriptor, mode)
            finally:
                os.close(descriptor)

    def settle(self, descriptor: int, mode: int) -> None:
        """Give an open file its mode, whatever the umask took."""
        if self.modes is not None:
            os.fchmod(descriptor, mode)


def _content(path: str) -> bytes:
    with open(opened(path), "rb") as file:
        if "/out/" not in path and os.fstat(file.fileno()).st_size > _LARGEST:
            raise OSError(errno.EFBIG, "too large for a file of repx")
        return file.read()


_LARGEST = 1 << 30  # bytes: no file of repx's own comes near


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    return "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _token() -> str:
    return os.urandom(12).hex()


def _fill(descriptor: int, content: "BinaryIO | bytes", sha256: str) -> int:
    """Write a file's content, looking at its sum on the way; return its size."""
    digest = hashlib.sha256()
    parts.prefix(descriptor, digest, getattr(content, "start", 0))
    size = 0
    for chunk in _chunks(content):
        if sha256:
            digest.update(chunk)
        _write_all(descriptor, chunk)
        size += len(chunk)
    if sha256 and digest.hexdigest() != sha256:
        raise OSError(errno.EBADMSG, f"sha256 is {digest.hexdigest()}, not {sha256}")
    return size


def _chunks(content: "BinaryIO | bytes") -> "Iterator[bytes]":
    if isinstance(content, bytes):
        yield content
        return
    while True:
        chunk = content.read(_CHUNK)
        if not chunk:
            return
        yield chunk


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _sum(file: "BinaryIO") -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()
