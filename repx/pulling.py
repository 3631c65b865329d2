"""Copy results from one store to another: existing files stay, a job's marker comes last."""

from __future__ import annotations

import fnmatch
import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final

from repx import progress
from repx.brought import marked
from repx.places import carry
from repx.store import FAIL, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from repx.brought import Found
    from repx.model import JobId
    from repx.places import Outgoing
    from repx.places.carry import Rest
    from repx.store import Store

# Files that are only needed where a job runs.
_LEFT: Final = ("lock", FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The result of a pull.

    ``jobs`` is the number of jobs whose results are now at the target, ``files`` that of copied
    files, ``size_bytes`` the bytes sent; ``passed`` are jobs that run at the target, ``changed``
    jobs that ran again at the source meanwhile. Without ``matched``, no output matches the pattern.
    """

    jobs: int
    files: int
    size_bytes: int
    passed: Sequence[JobId] = ()
    changed: Sequence[JobId] = ()
    matched: bool = True


@dataclass(slots=True)
class _Count:
    """The number of copied files. Mutable."""

    files: int = 0


def pull(
    source: Store,
    target: Store,
    jobs: Collection[JobId],
    outputs: str | None,
    again: Collection[JobId] = (),
) -> Pulled:
    """Copy the results of jobs that have succeeded, in three round trips.

    Jobs with the same marker at both ends are complete, except for those in ``again``.

    ``outputs`` is a pattern for paths below ``out``. With a pattern, jobs get no marker, since
    they are not complete. Files that already exist, completely or in part, are compared by sum,
    and only the rest is sent.
    """
    keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in jobs}
    theirs = source.read_many(list(keys))
    ours = target.read_many(list(theirs))
    done = [keys[key] for key in keys if key in theirs]
    new = [
        job
        for key, job in keys.items()
        if key in theirs and (theirs[key] != ours.get(key) or job in again)
    ]
    if not new:
        return Pulled(jobs=len(done), files=0, size_bytes=0)
    how = carry.REPLACE if outputs is None else carry.SOME
    wanted = _wanted(source.listing([f"outputs/{job}" for job in new]), outputs)
    as_asked = _Unchanged(theirs)
    files, size, passed = bring_files(source, target, wanted, how, as_asked.only)
    return Pulled(
        jobs=len(done) - len(passed) - len(as_asked.others),
        files=files,
        size_bytes=size,
        passed=passed,
        changed=[keys[key] for key in as_asked.others],
        matched=bool(wanted),
    )


class _Unchanged:
    """Leaves out markers that are not as they were before their files came. Mutable."""

    def __init__(self, markers: Mapping[str, bytes]) -> None:
        self._markers = markers
        self.others: list[str] = []

    def only(self, files: Iterator[Outgoing]) -> Iterator[Outgoing]:
        for key, mode, file, sha256 in files:
            if key not in self._markers:
                yield key, mode, file, sha256
            elif (content := _content(file)) == self._markers[key]:
                yield key, mode, content, sha256
            else:
                self.others.append(key)


def bring(
    source: Store,
    target: Store,
    jobs: Sequence[JobId],
    how: str,
    made: tuple[str, Mapping[JobId, Found]] | None = None,
) -> tuple[int, int, Sequence[JobId]]:
    """Copy jobs as ``repx.places.carry`` says; return files, bytes and the jobs passed over.

    ``made``, the source's name and its entries by job, is noted in each marker.
    """
    wanted = _wanted(source.listing([f"outputs/{job}" for job in jobs]), None)
    noted = partial(_marked, name=made[0], found=made[1]) if made else iter
    return bring_files(source, target, wanted, how, noted)


def bring_files(
    source: Store,
    target: Store,
    wanted: Mapping[str, tuple[int, int]],
    how: str,
    through: Callable[[Iterator[Outgoing]], Iterator[Outgoing]] = iter,
) -> tuple[int, int, Sequence[JobId]]:
    """Copy files like ``bring``; ``wanted`` maps keys to mode and size, as in a listing.

    ``through`` may change files on their way.
    """
    if not wanted:
        return 0, 0, ()
    sizes = {key: size for key, (mode, size) in wanted.items() if not stat.S_IFMT(mode)}
    begun = target.files.begun(sizes)
    total = sum(sizes.values()) - sum(size for size, _ in begun.values())
    count = _Count()
    files = through(_brought(source, wanted, begun, count))
    size, passed = target.receive(how, progress.in_bytes(files, total, "pulling:"))
    return count.files, size, passed


def _wanted(
    found: Mapping[str, tuple[int, int]], outputs: str | None
) -> dict[str, tuple[int, int]]:
    """Return the files to copy, by job, with each job's marker after its files."""
    chosen = [key for key in found if _is_wanted(key, outputs)]
    chosen.sort(key=lambda key: (key.split("/")[1], key.split("/")[2:] == ["repx", SUCCESS]))
    return {key: found[key] for key in chosen}


def _is_wanted(key: str, outputs: str | None) -> bool:
    _, _, part, *rest = key.split("/")
    if outputs is not None:
        return part == "out" and fnmatch.fnmatchcase("/".join(rest), outputs)
    return "/out/" in key or key.rpartition("/")[2] not in _LEFT


def _brought(
    source: Store,
    wanted: Mapping[str, tuple[int, int]],
    begun: Mapping[str, tuple[int, str]],
    count: _Count,
) -> Iterator[Outgoing]:
    for key, mode, file in source.fetch(list(wanted), begun):
        count.files += key not in begun or file.start < wanted[key][1]
        yield key, mode, file, ""


def _marked(
    files: Iterator[Outgoing], name: str, found: Mapping[JobId, Found]
) -> Iterator[Outgoing]:
    """Yield files, with a note about the source of results in each job's marker."""
    for key, mode, file, sha256 in files:
        _, job, *rest = key.split("/")
        if rest == ["repx", SUCCESS]:
            yield key, mode, marked(_content(file), name, found[job]), ""
        else:
            yield key, mode, file, sha256


def _content(file: BinaryIO | Rest | bytes) -> bytes:
    if isinstance(file, bytes):
        return file
    read = file.read
    return b"".join(iter(lambda: read(1 << 16), b""))
