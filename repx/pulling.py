"""Bring results from one store to another: what is there stays, a job's marker comes last."""

from __future__ import annotations

import fnmatch
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from repx import progress
from repx.brought import marked
from repx.places import carry
from repx.store import FAIL, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.brought import Found
    from repx.model import JobId
    from repx.places import Outgoing
    from repx.places.carry import Rest
    from repx.store import Store

# What only the place where a job runs needs.
_LEFT: Final = ("lock", FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull came to.

    ``jobs`` have their results there now, ``files`` of them were brought, ``size_bytes`` came over
    the connection; ``passed`` are jobs that a process works on there.
    """

    jobs: int
    files: int
    size_bytes: int
    passed: Sequence[JobId] = ()


@dataclass(slots=True)
class _Count:
    """How many files were brought. Mutable."""

    files: int = 0


def pull(source: Store, target: Store, jobs: Collection[JobId], outputs: str | None) -> Pulled:
    """Bring the results of jobs that have succeeded; takes three round trips.

    ``outputs`` is a pattern for paths below ``out``; with one, jobs do not become complete, so
    they get no marker. Of what is there already, in whole or in part, the sum is compared, and
    only the rest is sent.
    """
    keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in jobs}
    theirs = source.read_many(list(keys))
    ours = target.read_many(list(theirs))
    done = [keys[key] for key in keys if key in theirs]
    new = [keys[key] for key in keys if key in theirs and theirs[key] != ours.get(key)]
    if not new:
        return Pulled(jobs=len(done), files=0, size_bytes=0)
    how = carry.REPLACE if outputs is None else carry.SOME
    files, size, passed = bring(source, target, new, how, outputs)
    return Pulled(jobs=len(done) - len(passed), files=files, size_bytes=size, passed=passed)


def bring(
    source: Store,
    target: Store,
    jobs: Sequence[JobId],
    how: str,
    outputs: str | None = None,
    made: tuple[str, Mapping[JobId, Found]] | None = None,
) -> tuple[int, int, Sequence[JobId]]:
    """Bring jobs as ``repx.places.carry`` says; return files, bytes and who was passed over.

    ``made`` is noted with each: how its source is called, and who made it.
    """
    wanted = _wanted(source.listing([f"outputs/{job}" for job in jobs]), outputs)
    return bring_files(source, target, wanted, how, made)


def bring_files(
    source: Store,
    target: Store,
    wanted: Mapping[str, tuple[int, int]],
    how: str,
    made: tuple[str, Mapping[JobId, Found]] | None = None,
) -> tuple[int, int, Sequence[JobId]]:
    """Bring files by key, given with mode and size as a listing has them, as ``bring`` does."""
    if not wanted:
        return 0, 0, ()
    sizes = {key: size for key, (mode, size) in wanted.items() if not stat.S_IFMT(mode)}
    begun = target.files.begun(sizes)
    total = sum(sizes.values()) - sum(size for size, _ in begun.values())
    count = _Count()
    files = _brought(source, wanted, begun, count)
    if made is not None:
        files = _marked(files, *made)
    size, passed = target.receive(how, progress.in_bytes(files, total, "pulling:"))
    return count.files, size, passed


def _wanted(
    found: Mapping[str, tuple[int, int]], outputs: str | None
) -> dict[str, tuple[int, int]]:
    """Return what to bring, job by job, each job's marker behind its files."""
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
    """Yield files, in each job's marker a note of where its results come from."""
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
