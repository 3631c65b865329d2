"""The tables of a submission to Slurm: which job is in which call, and what ids they got."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.status import Batch
from repx.target import SchedulerName

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.store import Store

ENDED: Final = "ended"
CONTINUE: Final = "continue"
_SUBMITTED: Final = "submitted.tsv"
_ARRAYS: Final = "arrays.tsv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of arrays.tsv: a job, and the element of a call that runs it, or a part of it.

    ``bundle`` is the number of the bundle that the call is, or empty.
    """

    call: str
    index: int | None
    bundle: str
    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a submission folder tells of its Slurm jobs.

    ``ids`` maps calls to Slurm ids, ``children`` jobs to the ids of their steps. ``size`` is the
    length of submitted.tsv in bytes.
    """

    submission: str
    rows: tuple[Row, ...]
    ids: Mapping[str, str]
    size: int = 0
    clusters: frozenset[str] = frozenset()
    children: Mapping[JobId, tuple[str, ...]] = field(default_factory=dict)

    @property
    def all_ids(self) -> set[str]:
        """Return every Slurm id of the submission."""
        return {*self.ids.values(), *(each for ids in self.children.values() for each in ids)}

    def awaited(self, row: Row) -> Batch | None:
        """Return the Slurm job that others wait for, None while it is not submitted."""
        id_ = self.ids.get(row.call)
        if not id_:
            return None
        bundle = bool(row.bundle)
        index = None if bundle else row.index
        return Batch(system=SchedulerName.SLURM.value, id=id_, index=index, bundle=bundle)

    def log_stems(self, job: JobId) -> frozenset[str]:
        """Return how the names of a job's logs begin: those of its Slurm jobs and steps."""
        awaited = (self.awaited(row) for row in self.rows if row.job == job)
        return frozenset(log_stem(by) for by in awaited if by)

    def by_call(self) -> Mapping[str, list[Row]]:
        """Return the rows of each call."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.call].append(row)
        return found


def log_stem(by: Batch) -> str:
    """Return the name, without ending, of what Slurm writes of a job."""
    return by.id if by.index is None else f"{by.id}_{by.index}"


def is_open(store: Store, submission: str) -> bool:
    """Return whether something was submitted since somebody last saw all of it ended."""
    keys = [f"{submissions.FOLDER}/{submission}/{name}" for name in (_SUBMITTED, ENDED)]
    found = store.read_many(keys)
    submitted, ended = (found.get(key, b"") for key in keys)
    return bool(submitted) and ended.partition(b"\n")[0] != str(len(submitted)).encode()


def read(store: Store, submission: str) -> Known:
    """Return what a submission's tables say; of a submission to another scheduler, nothing."""
    folder = f"{submissions.FOLDER}/{submission}"
    size = len(store.read(f"{folder}/{_SUBMITTED}") or b"")
    ids: dict[str, str] = {}
    clusters: set[str] = set()
    for call, id_, *_ in _table(store, f"{folder}/{_SUBMITTED}", columns=2):
        number, _, cluster = id_.partition(";")
        clusters |= {cluster} - {""}
        ids[call] = number
    return Known(
        submission=submission,
        rows=tuple(
            Row(
                call=call,
                index=int(index) if index.isdigit() else None,
                bundle=kind.partition(":")[2],
                job=job,
            )
            for call, index, kind, job in _table(store, f"{folder}/{_ARRAYS}", columns=4)
        ),
        ids={call: id_ for call, id_ in ids.items() if id_.isdigit()},
        size=size,
        clusters=frozenset(clusters),
        children={
            name.removesuffix(".tsv"): tuple(
                id_.partition(";")[0]
                for _, id_, *_ in _table(store, f"{folder}/children/{name}", columns=2)
            )
            for name in store.names(f"{folder}/children")
        },
    )


def _table(store: Store, key: str, *, columns: int) -> Iterator[list[str]]:
    """Yield the complete lines of a table; the last column may hold anything."""
    for line in (store.read_text(key) or "").splitlines():
        fields = line.split("\t")
        if len(fields) >= columns:
            yield fields
