"""The entries of an archive: which jobs it has, adding jobs, and copying them to a store."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from repx import progress
from repx.archive import packs, transport, workspace
from repx.archive.location import ENTRIES, HINT, PACKS, Location
from repx.brought import Brought, Found
from repx.errors import ConnectionLostError, RepxError, StorageError
from repx.places import carry
from repx.store import as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from repx.archive.packs import Examined, Listed
    from repx.model import JobId
    from repx.store import Store

_BATCH: Final = 256 << 20  # most bytes on this machine at once, except for a larger job


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """The jobs that were added, their bytes, and the reasons for jobs that could not be added."""

    jobs: tuple[JobId, ...] = ()
    size_bytes: int = 0
    refused: Mapping[JobId, str] = field(default_factory=dict)

    def __add__(self, other: Added) -> Added:
        """Return both together."""
        return Added(
            jobs=(*self.jobs, *other.jobs),
            size_bytes=self.size_bytes + other.size_bytes,
            refused={**self.refused, **other.refused},
        )


class _UnreadableError(StorageError):
    """An archive could not be read."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Entries by job id on one file system, whose errors become StorageError."""

    name: str
    opened: Location

    def exists(self) -> bool:
        """Return whether anything was ever put into the archive, in one or two round trips."""
        with self._failing("read"), self.opened.to_read() as there:
            return transport.has_folder(there, ENTRIES)

    def has(self, jobs: Collection[JobId]) -> dict[JobId, Found]:
        """Return the entries of the jobs that are complete in the archive, in two round trips."""
        wanted = {f"{job}.json": job for job in jobs}
        with self._failing("read"), self.opened.to_read() as there:
            names = transport.names(there, ENTRIES) & wanted.keys()
            paths = {there.path(ENTRIES, name): wanted[name] for name in sorted(names)}
            contents = there.fs.cat(list(paths), on_error="omit") if paths else {}
        told = {paths[path]: Found.of(as_object(text)) for path, text in contents.items()}
        return {job: found for job, found in told.items() if found.sha256 and found.size}

    def put(self, jobs: Sequence[JobId], store: Store, *, replace: bool = False) -> Added:
        """Add the results of jobs, with ``replace`` also those that the archive has already."""
        done = Added()
        listed = store.listing([f"outputs/{job}" for job in jobs])
        for batch in _batches(jobs, _sizes(listed)):
            with workspace.opened(keep=False) as folder:
                packed = packs.write(store, batch, listed, folder)
                absent = {job: "it runs again" for job in batch if job not in packed}
                done += Added(refused=absent) + self._add(packed, folder, replace=replace)
        return done

    def bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        """Copy the results of jobs that have not succeeded at the target, markers last.

        Results that differ from their entries, or that are no results, are not copied.
        """
        done = Brought()
        for batch in _batches(list(found), {job: each.size for job, each in found.items()}):
            try:
                done += self._bring({job: found[job] for job in batch}, target)
            except _UnreadableError as error:
                told = {*done.jobs, *done.passed, *done.broken}
                left = tuple(job for job in found if job not in told)
                return done + Brought(left=left, problem=error.message)
        return done

    def _bring(self, found: Mapping[JobId, Found], target: Store) -> Brought:
        with workspace.opened(keep=True) as folder:
            here, broken = self._get(found, folder)
            passed = tuple(self._send(here, found, target))
        return Brought(
            jobs=tuple(job for job in here if job not in passed),
            size_bytes=sum(found[job].size for job in here),
            passed=passed,
            broken=broken,
        )

    def delete(self, jobs: Iterable[JobId]) -> None:
        """Remove jobs: their entries first."""
        with self._failing("delete from"), self.opened.to_write() as there:
            for folder, end in ((ENTRIES, "json"), (PACKS, "")):
                starts = tuple(f"{job}.{end}" for job in jobs)
                for name in sorted(transport.names(there, folder)):
                    if name.startswith(starts):
                        there.fs.rm_file(there.path(folder, name))

    def _add(self, packed: Mapping[JobId, Found], folder: Path, *, replace: bool) -> Added:
        """Write packs and entries. A job that another user's file keeps out stops no other job."""
        try:
            return self._write(packed, folder, replace=replace)
        except StorageError as error:
            there = {} if replace else self.has(packed)  # another user may have been faster
            left = {job: found for job, found in packed.items() if job not in there}
            taken = self._taken(left)
            if left and not taken:
                raise
            if taken and len(packed) == 1:
                return Added(refused={taken[0]: error.message})
        free = {job: found for job, found in left.items() if job not in taken}
        parts = [part for part in (free, *({job: packed[job]} for job in taken)) if part]
        ours = {job: found for job, found in packed.items() if _is_same(found, there.get(job))}
        done = Added(jobs=tuple(ours), size_bytes=sum(found.size for found in ours.values()))
        return sum((self._add(part, folder, replace=replace) for part in parts), done)

    def _write(self, packed: Mapping[JobId, Found], folder: Path, *, replace: bool) -> Added:
        """Write packs that the archive lacks, then entries."""
        entries = {job: json.dumps(_entry(found)).encode() for job, found in packed.items()}
        names = {job: _pack_name(job, found) for job, found in packed.items()}
        with self._failing("write"), self.opened.to_write() as there:
            held = {} if replace else transport.sizes(there, PACKS)
            new = [job for job, name in names.items() if held.get(name) != packed[job].size]
            size = sum(packed[job].size for job in new)
            paths = {folder / job: there.path(PACKS, names[job]) for job in new}
            transport.put(there, paths, size, f"to {self.name}:")
            there.fs.pipe(
                {there.path(ENTRIES, f"{job}.json"): text for job, text in entries.items()}
            )
        return Added(jobs=tuple(packed), size_bytes=size)

    def _taken(self, packed: Mapping[JobId, Found]) -> list[JobId]:
        """Return the jobs of which the archive has a file already, with any content."""
        with self._failing("read"), self.opened.to_read() as there:
            held = transport.names(there, ENTRIES) | transport.names(there, PACKS)
        return [
            job
            for job, found in packed.items()
            if not held.isdisjoint((f"{job}.json", _pack_name(job, found)))
        ]

    def _get(
        self, found: Mapping[JobId, Found], folder: Path
    ) -> tuple[dict[JobId, Examined], dict[JobId, str]]:
        """Copy packs to a local folder; return the sound ones, and what is wrong with others."""
        here = {job: folder / each.sha256 for job, each in found.items()}
        begun = {job for job, path in here.items() if path.exists()}
        self._fetch(found, folder)
        wrong = [job for job, each in found.items() if packs.sum_of(here[job]) != each.sha256]
        if again := begun.intersection(wrong):  # another file was begun under this name
            for job in again:
                here[job].unlink(missing_ok=True)
            self._fetch({job: found[job] for job in again}, folder)
            wrong = [job for job in wrong if packs.sum_of(here[job]) != found[job].sha256]
        broken = {
            job: f"its results are {'damaged' if here[job].exists() else 'gone'}" for job in wrong
        }
        examined = {job: packs.examined(path) for job, path in here.items() if job not in broken}
        broken |= {job: each.trouble for job, each in examined.items() if each.trouble}
        return {job: each for job, each in examined.items() if not each.trouble}, broken

    def _fetch(self, found: Mapping[JobId, Found], folder: Path) -> None:
        with self._failing("read"), self.opened.to_read() as there:
            wanted = {
                there.path(PACKS, _pack_name(job, each)): (folder / each.sha256, each.size)
                for job, each in found.items()
            }
            transport.get(there, wanted, f"from {self.name}:")

    def _send(
        self, here: Mapping[JobId, Examined], found: Mapping[JobId, Found], target: Store
    ) -> Sequence[JobId]:
        """Unpack packs into a store; return the jobs that were passed over."""
        if not here:
            return ()
        sizes = {
            f"outputs/{job}/{name}": size
            for job, pack in here.items()
            for name, size in pack.sizes.items()
        }
        begun = target.files.begun(sizes)
        files = packs.files({job: each.path for job, each in here.items()}, found, self.name, begun)
        total = sum(sizes.values()) - sum(size for size, _ in begun.values())
        _, passed = target.receive(carry.NEW, progress.in_bytes(files, total, "unpacking:"))
        return passed

    @contextmanager
    def _failing(self, verb: str) -> Iterator[None]:
        """Raise StorageError, which names the archive, in place of a file system's error."""
        try:
            yield
        except Exception as error:  # each file system has its own errors
            said = error.message if isinstance(error, RepxError) else str(error) or repr(error)
            kind = _UnreadableError if verb == "read" else StorageError
            hint = error.hint if isinstance(error, ConnectionLostError) else HINT
            message = said if self.name in said else f"cannot {verb} {self.name}: {said}"
            raise kind(message, hint=hint) from error


def _is_same(ours: Found, theirs: Found | None) -> bool:
    return theirs is not None and theirs.sha256 == ours.sha256


def _pack_name(job: JobId, found: Found) -> str:
    return f"{job}.{found.sha256}.tar.gz"


def _entry(found: Found) -> dict[str, object]:
    made = {"by": found.by, "host": found.host, "at": found.at}
    return {"sha256": found.sha256, "size": found.size, **made, "pushed_by": packs.user()}


def _batches(jobs: Iterable[JobId], sizes: Mapping[JobId, int]) -> Iterator[list[JobId]]:
    """Yield the jobs in batches with a limited number of bytes."""
    batch: list[JobId] = []
    size = 0
    for job in jobs:
        if batch and size + sizes.get(job, 0) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += sizes.get(job, 0)
    if batch:
        yield batch


def _sizes(listed: Listed) -> dict[JobId, int]:
    found: dict[JobId, int] = {}
    for key, (_, size) in listed.items():
        job = key.split("/")[1]
        found[job] = found.get(job, 0) + size
    return found
