"""The tables of a submission to Slurm: which job is in which call, and what ids they got."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypedDict

from repx import submissions
from repx.schedulers.numbers import number
from repx.schedulers.slurm.queue import expand
from repx.status import Batch
from repx.target import SchedulerName

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.store import Store

log = logging.getLogger(__name__)

ENDED: Final = "ended"
CONTINUE: Final = "continue"
FORCED: Final = "forced"
UNSEEN: Final = "unseen"
AGAIN: Final = ".again"
TRIES: Final = "tries.tsv"
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
class Attempt:
    """A Slurm job in the place of one that failed, and the one behind it, if there is one."""

    number: int
    id: str
    behind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How often the jobs of a call are submitted again, and for which reasons."""

    n: int
    on: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a submission folder tells of its Slurm jobs.

    ``ids`` maps calls to Slurm ids, ``children`` jobs to the ids of their steps and how many
    elements each has, 0 where it takes the place of others that failed. ``size`` is the
    length of submitted.tsv in bytes. ``home`` is the cluster that submit.sh talked to, ``cluster``
    the one to name in every question, where it is another one, ``user`` whose jobs these are.
    ``forced`` are those that run although they had succeeded. ``unseen``: when and where somebody
    looked and found nothing of it. ``again`` has what was submitted in the place of elements that
    failed, oldest first, ``tries`` what may be.
    """

    submission: str
    rows: tuple[Row, ...]
    ids: Mapping[str, str]
    size: int = 0
    home: str = ""
    cluster: str = ""
    user: str = ""
    forced: frozenset[JobId] = frozenset()
    unseen: str = ""
    children: Mapping[JobId, Mapping[str, int]] = field(default_factory=dict)
    again: Mapping[tuple[str, int | None], tuple[Attempt, ...]] = field(default_factory=dict)
    tries: Mapping[str, Tries] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Return how the comments of its Slurm jobs begin; what has another one is not ours."""
        return f"repx:{self.submission}:"

    @property
    def all_ids(self) -> set[str]:
        """Return every Slurm id of the submission that a job of the Lab has or had."""
        later = (each.id for attempts in self.again.values() for each in attempts)
        children = (each for ids in self.children.values() for each in ids)
        own = (id_ for call, id_ in self.ids.items() if not call.endswith(AGAIN))
        return {*own, *children, *later}

    def id_of(self, row: Row) -> str:
        """Return the id of the last attempt, empty while nothing is submitted."""
        later = self.again.get((row.call, row.index))
        return later[-1].id if later else self.ids.get(row.call, "")

    def behind(self, row: Row) -> str:
        """Return the id of the Slurm job that submits the last attempt again if it fails."""
        later = self.again.get((row.call, row.index))
        return later[-1].behind if later else self.ids.get(row.call + AGAIN, "")

    def attempt(self, row: Row) -> int:
        """Return which attempt the last one is."""
        later = self.again.get((row.call, row.index))
        return later[-1].number if later else 1

    def awaited(self, row: Row) -> Batch | None:
        """Return the Slurm job that others wait for, None while it is not submitted."""
        id_ = self.id_of(row)
        if not id_:
            return None
        bundle = bool(row.bundle)
        index = None if bundle else row.index
        return Batch(
            system=SchedulerName.SLURM.value,
            id=id_,
            index=index,
            cluster=self.cluster or self.home,
            bundle=bundle,
            again=self.behind(row),
        )

    def log_stems(self, job: JobId) -> frozenset[str]:
        """Return how the names of a job's logs begin: those of its Slurm jobs and steps."""
        rows = [row for row in self.rows if row.job == job]
        last = (self.awaited(row) for row in rows)
        before = (
            Batch(system=SchedulerName.SLURM.value, id=id_, index=row.index)
            for row in rows
            for id_ in (self.ids.get(row.call), *self._later_ids(row))
            if id_ and not row.bundle
        )
        return frozenset(log_stem(by) for by in (*last, *before) if by)

    def _later_ids(self, row: Row) -> Iterator[str]:
        yield from (each.id for each in self.again.get((row.call, row.index), ()))

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
    submitted, ended = (found.get(key) for key in keys)
    if submitted is None:
        return False
    return (ended or b"").partition(b"\n")[0] != str(len(submitted)).encode()


def read(store: Store, submission: str) -> Known:
    """Return what a submission's tables say; of a submission to another scheduler, nothing."""
    folder = f"{submissions.FOLDER}/{submission}"
    size = len(store.read(f"{folder}/{_SUBMITTED}") or b"")
    ids: dict[str, str] = {}
    named = ""
    for call, id_, *_ in _table(store, f"{folder}/{_SUBMITTED}", columns=2, is_whole=_has_number):
        ids[call], _, cluster = id_.partition(";")
        named = cluster or named
    home, user, asked, *_ = next(_table(store, f"{folder}/cluster", columns=3), ["", "", ""])
    return Known(
        submission=submission,
        rows=tuple(
            Row(
                call=call,
                index=number(index),
                bundle=kind.partition(":")[2],
                job=job,
            )
            for call, index, kind, job, *_ in _arrays(store, folder, asked=bool(ids))
        ),
        ids={call: id_ for call, id_ in ids.items() if number(id_) is not None},
        size=size,
        home=home,
        cluster=named if asked or named != home else "",
        user=user,
        forced=frozenset((store.read_text(f"{folder}/{FORCED}") or "").splitlines()),
        unseen=store.read_text(f"{folder}/{UNSEEN}") or "",
        children={
            name.removesuffix(".tsv"): {
                id_.partition(";")[0]: 0 if step == "again" else sum(1 for _ in expand(indices))
                for step, id_, indices, *_ in _table(store, f"{folder}/children/{name}", columns=3)
            }
            for name in store.names(f"{folder}/children")
        },
        **_tried_again(store, folder),
    )


class _TriedAgain(TypedDict):
    again: Mapping[tuple[str, int | None], tuple[Attempt, ...]]
    tries: Mapping[str, Tries]


def _tried_again(store: Store, folder: str) -> _TriedAgain:
    """Return what was submitted in the place of what failed, and what may be."""
    tries = {
        call: Tries(n=most, on=frozenset(on.split()))
        for call, n, on, *_ in _table(store, f"{folder}/{TRIES}", columns=3)
        if (most := number(n)) is not None
    }
    if not tries:
        return {"again": {}, "tries": {}}
    found: dict[tuple[str, int | None], dict[int, Attempt]] = defaultdict(dict)
    for name in store.names(f"{folder}/again"):
        for fields in _table(store, f"{folder}/again/{name}", columns=6):
            call, id_, indices, count, _, behind = fields[:6]
            if (attempt := number(count)) is not None:
                made = Attempt(number=attempt, id=id_, behind=behind)
                for index in expand(indices):
                    found[call, index][attempt] = made
    again = {key: tuple(each[n] for n in sorted(each)) for key, each in found.items()}
    return {"again": again, "tries": tries}


def _arrays(store: Store, folder: str, *, asked: bool) -> Sequence[list[str]]:
    """Return the lines that say which jobs the calls of sbatch have; there are some if any was."""
    key = f"{folder}/{_ARRAYS}"
    found = list(_table(store, key, columns=4, is_whole=_has_number))
    if asked and not found:
        _tell(f"{store.path(key)} names no job")
    return found


def _has_number(fields: list[str]) -> bool:
    """Tell whether the second column is an index, or an id with its cluster, or says none."""
    return fields[1] == "-" or number(fields[1].partition(";")[0]) is not None


def _table(
    store: Store,
    key: str,
    *,
    columns: int,
    is_whole: Callable[[list[str]], bool] = lambda _: True,
) -> Iterator[list[str]]:
    """Yield the lines of a table, but for damaged ones; the last column may hold anything."""
    for place, line in enumerate((store.read_text(key) or "").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) >= columns and is_whole(fields):
            yield fields
        else:
            _tell(f"{store.path(key)}:{place}: a damaged line; passed over")


def _tell(text: str) -> None:
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)


_told: set[str] = set()  # tables are read several times
