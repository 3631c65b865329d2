"""The store of a target: markers, logs, submissions and artifacts, over any fsspec file system."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from repx import progress
from repx.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fsspec import AbstractFileSystem

    from repx.model import JobId
    from repx.target import Target

_COMPARED_BYTES = 64 << 20
SUCCESS = "SUCCESS"
FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Store:
    """One ``base_path``. Keys are POSIX paths relative to it.

    ``fs`` None means this machine's own file system, which bulk look-ups then ask directly:
    100,000 markers through fsspec take ten times as long.
    """

    root: str
    fs: AbstractFileSystem | None = None

    def path(self, key: str) -> str:
        """Return the absolute path of a key on the target."""
        return f"{self.root}/{key}"

    def outputs(self, job: JobId) -> str:
        """Return the absolute path of a job's folder, which holds ``out`` and ``repx``."""
        return f"{self.root}/outputs/{job}"

    def markers(self, jobs: Collection[JobId]) -> dict[JobId, str]:
        """Return SUCCESS or FAIL for each job that has a marker; SUCCESS wins over FAIL."""
        if self.fs is None:
            return self._local_markers(jobs)
        wanted = set(jobs)
        found: dict[JobId, str] = {}
        for name in (FAIL, SUCCESS):
            self.fs.invalidate_cache()
            for path in self.fs.glob(f"{self.root}/outputs/*/repx/{name}"):
                job = PurePosixPath(path).parts[-3]
                if job in wanted:
                    found[job] = name
        return found

    def _local_markers(self, jobs: Collection[JobId]) -> dict[JobId, str]:
        started = self.started()
        found: dict[JobId, str] = {}
        for job in progress.through(jobs, "looking at jobs:"):
            if job not in started:
                continue
            folder = f"{self.root}/outputs/{job}/repx"
            if os.access(f"{folder}/{SUCCESS}", os.F_OK):
                found[job] = SUCCESS
                continue
            # A network file system may remember that a marker was absent; a listing is fresh.
            names = _listing(folder)
            if SUCCESS in names:
                found[job] = SUCCESS
            elif FAIL in names:
                found[job] = FAIL
        return found

    def started(self) -> set[JobId]:
        """Return the ids that have a folder under ``outputs``, from one listing."""
        return set(self.names("outputs"))

    def names(self, key: str) -> list[str]:
        """Return the names in a folder, sorted; nothing when there is no such folder."""
        if self.fs is None:
            return _listing(self.path(key))
        self.fs.invalidate_cache()
        try:
            return sorted(
                PurePosixPath(path).name for path in self.fs.ls(self.path(key), detail=False)
            )
        except FileNotFoundError:
            return []

    def marker(self, job: JobId, name: str) -> Mapping[str, Any]:
        """Return what a job's marker says; empty when it is absent, empty or not ours.

        ``job`` may lead on to a phase of it: ``<job>/scatter``.
        """
        text = self.read_text(f"outputs/{job}/repx/{name}")
        try:
            content = json.loads(text or "{}")
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def read_text(self, key: str) -> str | None:
        """Return a file's text, undecodable bytes replaced, or None when there is none."""
        content = self.read(key)
        return None if content is None else content.decode("utf-8", errors="replace")

    def read(self, key: str) -> bytes | None:
        """Return a file's content, or None when there is no such file."""
        path = self.path(key)
        try:
            if self.fs is None:
                return Path(path).read_bytes()
            return bytes(self.fs.cat_file(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _storage_error("read", path, error) from error

    def exists(self, key: str) -> bool:
        """Return whether the key names anything."""
        path = self.path(key)
        return os.path.lexists(path) if self.fs is None else bool(self.fs.exists(path))

    def holds(self, key: str, source: BinaryIO, size: int, mode: int) -> bool:
        """Return whether a file is there with this content (looked at up to 64 MiB) and mode.

        Elsewhere than on this machine's file system only the size counts.
        """
        path = self.path(key)
        try:
            if self.fs is not None:
                return bool(self.fs.size(path) == size)
            with open(path, "rb") as there:  # noqa: PTH123  # 100,000 times
                found = os.fstat(there.fileno())
                if (found.st_size, found.st_mode & 0o111) != (size, mode & 0o111):
                    return False
                return size > _COMPARED_BYTES or there.read() == source.read()
        except OSError:
            return False

    def write(self, key: str, content: bytes | BinaryIO, mode: int = 0o644) -> int:
        """Write a file whole: beside its place, then renamed; return its size in bytes.

        Makes the folders it needs. An open file is copied without being held in memory.
        """
        path = self.path(key)
        part = f"{path}.{os.getpid()}.part"
        source = BytesIO(content) if isinstance(content, bytes) else content
        write = _write_local if self.fs is None else self._write_over
        try:
            return write(path, part, source, mode)
        except OSError as error:
            raise _storage_error("write", path, error) from error

    def _write_over(self, path: str, part: str, source: BinaryIO, mode: int) -> int:
        del mode  # no file system but the local one has it
        assert self.fs is not None  # noqa: S101  # the caller looked
        self.fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        with self.fs.open(part, "wb") as target:
            shutil.copyfileobj(source, target)
            size = int(target.tell())
        self.fs.mv(part, path)
        return size

    def link(self, key: str, to: str) -> None:
        """Make a symbolic link unless it is there; only on this machine's file system."""
        path = self.path(key)
        part = f"{path}.{os.getpid()}.part"
        try:
            if os.path.islink(path) and os.readlink(path) == to:  # noqa: PTH114, PTH115  # many
                return
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(part).symlink_to(to)
            Path(part).rename(path)
        except OSError as error:
            raise _storage_error("write", path, error) from error

    def write_new(self, folder: str, files: Iterable[tuple[str, bytes, int]]) -> None:
        """Make a folder: ``(name below it, content, mode)`` each. One that is there is empty.

        Nobody reads it before it is complete, so no file is renamed into place. What cannot be
        completed, whatever the reason, is removed.
        """
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.path(folder), ignore_errors=True)
            try:
                self._fill(folder, files)
            except OSError as error:
                raise _storage_error("write", self.path(folder), error) from error
            undo.pop_all()

    def _fill(self, folder: str, files: Iterable[tuple[str, bytes, int]]) -> None:
        made: set[str] = set()
        for name, content, mode in files:
            path = self.path(f"{folder}/{name}")
            parent = os.path.dirname(path)  # noqa: PTH120  # 100,000 times
            if parent not in made:
                Path(parent).mkdir(parents=True, exist_ok=True)
                made.add(parent)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            try:
                _write_all(descriptor, content)
            finally:
                os.close(descriptor)

    def locked(self, key: str) -> bool:
        """Return whether a process on this machine or file system holds the lock file.

        False where the file system has no locks.
        """
        try:
            descriptor = os.open(self.path(key), os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        else:
            return False
        finally:
            os.close(descriptor)


def local(root: str) -> Store:
    """Return the store on this machine's file system."""
    return Store(root)


def of(target: Target) -> Store:
    """Return the store of a target. Raises InputError for one that repx cannot reach."""
    if target.address is not None:
        raise InputError(
            f"target '{target.name}': stores over ssh do not work yet",
            hint="log in there and use a target without `address:`",
        )
    return local(target.base_path)


def over(url_or_protocol: str, root: str, **options: object) -> Store:
    """Return the store on another file system that fsspec knows, e.g. ``memory``."""
    import fsspec  # 0.1 s that a local store can do without

    return Store(root, fsspec.filesystem(url_or_protocol, **options))


def _listing(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))  # noqa: PTH208  # names, 100,000 times
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _storage_error("list", path, error) from error


def _write_local(path: str, part: str, source: BinaryIO, mode: int) -> int:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb") as target:  # noqa: PTH123  # a descriptor, for its mode
            shutil.copyfileobj(source, target)
            size = target.tell()
        Path(part).rename(path)
    except BaseException:  # Ctrl-C too
        Path(part).unlink(missing_ok=True)
        raise
    return size


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _storage_error(verb: str, path: str, error: OSError) -> StorageError:
    return StorageError(
        f"cannot {verb} {path}: {error.strerror or error}",
        hint="check `base_path` of the target, its permissions and the free space there",
    )
