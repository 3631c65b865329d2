"""Bring results from one store to another: what is there stays, a job's marker comes last."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import progress
from repx.store import FAIL, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repx.model import JobId
    from repx.places import Outgoing
    from repx.store import Store

# What only the place where a job runs needs.
_LEFT: Final = ("lock",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull came to: jobs there and their files that were brought, with their bytes."""

    jobs: int
    files: int
    size_bytes: int


def pull(source: Store, target: Store, jobs: Collection[JobId], outputs: str | None) -> Pulled:
    """Bring the results of jobs that have succeeded; takes four round trips.

    ``outputs`` is a pattern for paths below ``out``; with one, jobs do not become complete, so
    they get no marker. What was broken off goes on: files of the same size are not sent again.
    """
    done = [job for job, name in source.markers(jobs).items() if name == SUCCESS]
    markers = {job: f"outputs/{job}/repx/{SUCCESS}" for job in done}
    theirs = source.read_many(list(markers.values()))
    ours = target.read_many(list(markers.values()))
    new = [job for job, key in markers.items() if theirs.get(key) != ours.get(key) or outputs]
    keys = _lacking(source, target, new, outputs)
    if not keys:
        return Pulled(jobs=len(done), files=0, size_bytes=0)
    size = target.write_many(_brought(source, keys))
    return Pulled(jobs=len(done), files=len(keys), size_bytes=size)


def _lacking(source: Store, target: Store, jobs: Sequence[JobId], outputs: str | None) -> list[str]:
    """Return the files to bring, each job's marker behind its files."""
    folders = [f"outputs/{job}" for job in jobs]
    sizes = source.sizes(*folders)
    there: Mapping[str, int] = target.sizes(*folders)
    wanted = [
        key
        for key, size in sizes.items()
        if there.get(key) != size or key.endswith(f"/repx/{SUCCESS}")
    ]
    chosen = [key for key in wanted if _is_wanted(key, outputs)]
    return sorted(chosen, key=lambda key: (key.split("/")[1], key.endswith(f"/repx/{SUCCESS}")))


def _is_wanted(key: str, outputs: str | None) -> bool:
    _, _, part, *rest = key.split("/")
    if outputs is not None:
        return part == "out" and fnmatch.fnmatchcase("/".join(rest), outputs)
    return rest[-1:] != [FAIL] and key.rpartition("/")[2] not in _LEFT


def _brought(source: Store, keys: list[str]) -> Iterator[Outgoing]:
    files = source.files.fetch(keys)
    # The files come first: they have to be read to their end.
    for (key, mode, file), _ in zip(files, progress.through(keys, "pulling files:"), strict=False):
        yield key, mode, file, ""
