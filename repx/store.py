"""The store of a target: markers, logs, submissions and artifacts below its ``base_path``."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from repx import places, progress
from repx.errors import StorageError
from repx.places import here, parts, tree, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from repx.model import JobId
    from repx.places import Answered, Asked, Facts, Files, Outgoing, Place
    from repx.places.carry import Rest
    from repx.target import Dialect, Target

log = logging.getLogger(__name__)

T = TypeVar("T")

_named: set[tuple[str, str]] = set()

_NOTHING: Final[Mapping[str, tuple[int, str]]] = {}

SUCCESS: Final = tree.SUCCESS
FAIL: Final = tree.FAIL


@dataclass(frozen=True, slots=True)
class Store:
    """One ``base_path`` on a machine. Keys are POSIX paths relative to it.

    A look asks the batch system of ``dialect``, the target's own, along. Every method takes one
    round trip and raises StorageError for read and write errors; ``called`` names the folder there.
    """

    place: Place = field(compare=False, repr=False)
    root: str
    files: Files = field(compare=False, repr=False)
    dialect: Dialect | None = field(default=None, compare=False, repr=False)
    called: str = field(default="`base_path` of the target", compare=False, repr=False)

    def path(self, key: str) -> str:
        """Return the absolute path of a key on the target."""
        return f"{self.root}/{key}"

    def outputs(self, job: JobId) -> str:
        """Return the absolute path of a job's folder, which holds ``out`` and ``repx``."""
        return f"{self.root}/outputs/{job}"

    def markers(self, jobs: Collection[JobId]) -> dict[JobId, str]:
        """Return SUCCESS or FAIL for each job that has a marker; SUCCESS wins over FAIL."""
        started = self.started()
        seen = progress.through(jobs, "looking at jobs:")
        return self._markers(job for job in seen if job in started)

    def mark(self, job: JobId) -> str | None:
        """Return SUCCESS or FAIL for one job; None while the job has no marker."""
        return self._markers([job]).get(job)

    def _markers(self, jobs: Iterable[JobId]) -> dict[JobId, str]:
        found, problems = self._do("read", "outputs", lambda: self.files.markers(jobs))
        for job, why in problems.items():
            log.warning("cannot read %s/repx: %s; passed over", self.outputs(job), why)
        return found

    def started(self) -> set[JobId]:
        """Return the job ids that have a folder under ``outputs``, from one listing."""
        return set(self.names("outputs"))

    def names(self, key: str) -> list[str]:
        """Return the names in a folder, sorted; empty when there is no such folder."""
        try:
            return self.files.names(key)
        except OSError as error:
            why = error.strerror or str(error)
            if self._is_passed_over(key, why):
                return []
            raise self._error("list", self.path(key), why) from error

    def glob(self, *patterns: str) -> list[str]:
        """Return the keys that match any of the patterns, sorted."""
        return self._do("list", "", lambda: self.files.glob(patterns))

    def marker(self, job: JobId, name: str) -> Mapping[str, Any]:
        """Return the content of a job's marker; empty when it is absent, empty or not repx's.

        An unreadable one is named and passed over. ``job`` may name a phase: ``<job>/scatter``.
        """
        key = f"outputs/{job}/repx/{name}"
        return as_object(self.read_many([key]).get(key))

    def read_text(self, key: str) -> str | None:
        """Return a file's text, undecodable bytes replaced, or None when there is none."""
        content = self.read(key)
        return None if content is None else content.decode("utf-8", errors="replace")

    def read(self, key: str) -> bytes | None:
        """Return a file's content, or None when there is no such file."""
        contents, problems = self._do("read", key, lambda: self.files.read_many([key]))
        if problems and not self._is_passed_over(key, problems[key]):
            raise self._error("read", self.path(key), problems[key])
        return contents.get(key)

    def read_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of the files that exist; log a warning for unreadable files."""
        if not keys:
            return {}
        contents, problems = self._do("read", keys[0], lambda: self.files.read_many(keys))
        for key, why in problems.items():
            if not self._is_passed_over(key, why):
                self._warn_once(key, why)
        return contents

    def _is_passed_over(self, key: str, why: str) -> bool:
        """Warn once of an unreadable submission: another user's must not stop this user's work."""
        folder = "/".join(key.split("/")[:2])
        if not folder.startswith(f"{walk.SUBMISSIONS}/"):
            return False
        self._warn_once(folder, why)
        return True

    def _warn_once(self, key: str, why: str) -> None:
        if (self.root, key) not in _named:
            _named.add((self.root, key))
            log.warning("cannot read %s: %s; passed over", self.path(key), why)

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""
        return bool(self.files.kinds([key]))

    def holds(self, wanted: Mapping[str, Facts]) -> list[str]:
        """Return the keys whose file exists with the wanted mode, size and sha256."""
        return self._do("read", "", lambda: self.files.holds(wanted))

    def tail_text(self, key: str, lines: int) -> str:
        """Return the last lines of a file as text; empty when there is no such file."""
        return self.files.ending(key, lines)[2].decode(errors="replace").rstrip("\n")

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""
        try:
            yield from self.files.chunks(key)
        except OSError as error:
            raise self._error("read", self.path(key), error.strerror or str(error)) from error

    def present(self, keys: Sequence[str]) -> set[str]:
        """Return the keys that name a file or a folder; broken links do not count."""
        kinds = self._do("read", "", lambda: self.files.kinds(keys)) if keys else {}
        return {key for key, (kind, _) in kinds.items() if kind != "link"}

    def sizes_of(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the size of each file that exists."""
        kinds = self._do("read", keys[0], lambda: self.files.kinds(keys))
        return {key: size for key, (_, size) in kinds.items()}

    def sizes(self, *folders: str) -> dict[str, int]:
        """Return the size of each file below the folders, by its key."""
        return self._do("list", "", lambda: self.files.sizes(folders))

    def kinds(self, keys: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """Return the kind and the size in bytes of each key that exists."""
        return self._do("read", keys[0], lambda: self.files.kinds(keys))

    def part(self, key: str, offset: int, size: int) -> bytes:
        """Return up to the given number of bytes of a file, fewer at its end."""
        return self._do("read", key, lambda: self.files.part(key, offset, size))

    def fetch(
        self, keys: Sequence[str], begun: Mapping[str, tuple[int, str]] = _NOTHING
    ) -> Iterator[tuple[str, int, Rest]]:
        """Yield files, each without the receiver's part of it (``repx.places.Files.fetch``)."""
        try:
            yield from self.files.fetch(keys, begun)
        except OSError as error:
            path = str(error.filename or self.root)
            raise self._error("read", path, error.strerror or str(error)) from error

    def listing(self, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return mode and size of each file in folders of jobs (``repx.places.carry``)."""
        return self._do("list", "", lambda: self.files.listing(folders))

    def receive(self, how: str, files: Iterable[Outgoing]) -> tuple[int, list[JobId]]:
        """Write the files of jobs (``repx.places.carry``); return bytes and skipped jobs."""
        return self._do("write", "", lambda: self.files.receive(how, files))

    def write(self, key: str, content: bytes, mode: int = 0o644) -> int:
        """Write a file, completely or not at all; return its size in bytes."""
        return self.write_many([(key, mode, content, "")])

    def kept(self, wanted: Mapping[str, Facts]) -> Mapping[str, int]:
        """Return how many bytes are there of big files whose sending broke off."""
        big = {key: facts for key, facts in wanted.items() if facts[1] >= parts.LEAST_BYTES}
        return self._do("read", "", lambda: self.files.kept(big)) if big else {}

    def write_many(self, files: Iterable[Outgoing]) -> int:
        """Write each ``(key, mode, content, sha256)`` as ``write`` does; return the bytes."""
        return self._do("write", "", lambda: self.files.write_many(files))

    def append(self, key: str, content: bytes) -> None:
        """Append to a file; make it if it does not exist."""
        self._do("write", key, lambda: self.files.append(key, content))

    def link_many(self, links: Mapping[str, str]) -> int:
        """Make symbolic links by key unless they exist; return the number of new ones."""
        return self._do("write", "", lambda: self.files.link_many(links))

    def name_many(self, names: Mapping[str, str]) -> None:
        """Make hard links to files by key; copy files if links are not possible."""
        self._do("write", "", lambda: self.files.name_many(names))

    def write_new(self, folder: str, files: Iterable[tuple[str, int, bytes]]) -> None:
        """Make a folder of ``(name below it, mode, content)``, completely or not at all."""
        self._do("write", folder, lambda: self.files.write_new(folder, files))

    def remove(self, *keys: str) -> None:
        """Remove files, and folders with their content; missing ones are no error."""
        self._do("remove", keys[0], lambda: self.files.remove(keys))

    def look(
        self, jobs: Iterable[JobId], asked: Sequence[Asked] = ()
    ) -> tuple[Any, list[Answered]]:
        """Return the result of one look at jobs and all live submissions, for ``repx.seen``."""
        return self._do("list", "", lambda: self.files.look(jobs, asked))

    def grown(
        self, key: str, at: tuple[int, int], lock: str, pid: int = 0
    ) -> tuple[bool, int, int, bytes]:
        """Return whether a file's writer has ended, and the content that was added to the file."""
        return self._do("read", key, lambda: self.files.grown(key, at, lock, pid))

    def locked(self, key: str) -> bool:
        """Return whether a process holds the lock file; False if locks are not supported."""
        return bool(self.files.locked([key]))

    def _do(self, verb: str, key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as error:
            path = str(error.filename or self.path(key))
            raise self._error(verb, path, error.strerror or str(error)) from error

    def _error(self, verb: str, path: str, why: str) -> StorageError:
        hint = f"check {self.called}, its permissions and the free space there"
        if why == os.strerror(errno.EACCES):
            hint = (
                "check its permissions; if another user made it, `share: group` in their target"
                " lets you in, or give yours a `base_path` of its own"
            )
        return StorageError(f"cannot {verb} {path}: {why}", hint=hint)


def local(root: str, share: str = "") -> Store:
    """Return the store on this machine's file system."""
    place = here.Here(root)
    return Store(place, root, place.files(root, share), called="this path")


def of(target: Target) -> Store:
    """Return the store of a target. Raises InputError for a target that repx cannot reach."""
    place = places.of(target)
    files = place.files(place.root, target.share)
    return Store(place, place.root, files, target.dialect)


def as_object(content: bytes | None) -> Mapping[str, Any]:
    """Return the JSON object in a file's content; empty for anything else."""
    try:
        document = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
