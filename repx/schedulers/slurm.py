"""Slurm as the client sees it: submit a folder, ask once about everything, cancel in one call."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import CommandError, CommandNotFoundError, SchedulerError
from repx.schedulers import queue
from repx.status import ALIVE, Belief, State
from repx.storage import SUCCESS

if TYPE_CHECKING:
    from repx.command import Run
    from repx.model import JobId
    from repx.schedulers.queue import Entry, Key
    from repx.storage import Store

log = logging.getLogger(__name__)

SUBMITTED: Final = "submitted.tsv"
_ARRAYS: Final = "arrays.tsv"
_ENDED: Final = "ended"
_CONTINUE: Final = "continue"
_BUNDLE: Final = "bundle:"
_ASK_S: Final = 120
_SUBMIT_S: Final = 4 * 3600
_IDS_PER_CALL: Final = 2000


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

    def by_call(self) -> Mapping[str, list[Row]]:
        """Return the rows of each call."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.call].append(row)
        return found


# --- submitting ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submission came to: ids by call, and the job that submits what is left, if any."""

    ids: Mapping[str, str]
    continued_by: str | None


def max_array_size(run: Run) -> int | None:
    """Return the site's MaxArraySize, or None where Slurm does not say."""
    try:
        answer = run(["scontrol", "show", "config"], timeout_s=_ASK_S, check=False)
    except CommandNotFoundError:
        return None
    return queue.parse_max_array_size(answer.stdout) if answer.code == 0 else None


def submit(run: Run, store: Store, submission: str) -> Submitted:
    """Run a folder's own submit.sh. Raises SchedulerError with what Slurm said."""
    folder = store.path(f"{submissions.FOLDER}/{submission}")
    argv = ["bash", f"{folder}/submit.sh"]
    answer = run(argv, timeout_s=_SUBMIT_S, check=False)
    if answer.code != 0:
        message, _, hint = answer.stderr.strip().partition("\n\nhint: ")
        raise SchedulerError(message or f"submit.sh ended with {answer.code}", hint=hint or None)
    known = _known(store, submission)
    return Submitted(
        ids={name: id_ for name, id_ in known.ids.items() if name != _CONTINUE},
        continued_by=known.ids.get(_CONTINUE),
    )


def logs(store: Store, job: JobId) -> list[str]:
    """Return what Slurm and the scripts had to say of a job: paths on the target, newest last."""
    found = []
    for submission in submissions.ids(store):
        folder = f"{submissions.FOLDER}/{submission}"
        if not store.exists(f"{folder}/{SUBMITTED}"):
            continue
        known = _known(store, submission)
        ids = [_name(row, known.ids.get(row.call, "")) for row in known.rows if row.job == job]
        ids = [id_.removeprefix(_BUNDLE) for id_ in ids if id_]
        children = tuple(f"{id_}_" for id_ in known.children.get(job, ()))
        for name in store.names(f"{folder}/logs"):
            stem = name.removesuffix(".out")
            if stem in ids or (children and stem.startswith(children)):
                found.append(store.path(f"{folder}/logs/{name}"))
    return found


# --- asking ----------------------------------------------------------------------------------


def alive(run: Run, store: Store) -> dict[JobId, Belief]:
    """Return what Slurm knows of the jobs of all submissions that may not have ended.

    One squeue for all; sacct at most once per submission, when it ends. What they tell of a
    job that has ended counts only where the job left no marker.
    """
    opened = [_known(store, name) for name in _open(store)]
    remembered = _remembered(store)
    ids = sorted({id_ for known in opened for id_ in known.all_ids})
    if not ids:
        return remembered
    entries = _ask(run, ids, {name for known in opened for name in known.clusters})
    found = remembered
    for known in opened:
        if entries is None:
            found |= _unanswered(known)
            continue
        if _any_alive(known, entries):
            told = beliefs(known, entries, now=time.time())
            found |= _within_bundles(store, known, _explained(store, known, told))
        else:
            found |= _close(run, store, known, entries)
    return found


def beliefs(known: Known, entries: Mapping[Key, Entry], *, now: float) -> dict[JobId, Belief]:
    """Return what the queue tells of a submission's jobs; nothing of those it does not know."""
    found: dict[JobId, Belief] = {}
    parts = _parts(known, entries)
    continued = (known.ids.get(_CONTINUE, ""), None)
    waiting = continued in entries and entries[continued].state in ALIVE
    for job, (by, each) in parts.items():
        if told := [entry for entry in each if entry is not None]:
            best = min(told, key=lambda entry: _RANK[entry.state])
            found[job] = _belief(best, by, now) if by or waiting else _halfway(known)
        elif waiting and not by:
            reason = f"waits for room in the queue; Slurm job {continued[0]} submits it"
            found[job] = Belief(state=State.QUEUED, reason=reason)
    return found


# Of the parts of one job, the liveliest tells.
_RANK: Final = {
    state: rank
    for rank, state in enumerate(
        (State.RUNNING, State.QUEUED, State.FAILED, State.LOST, State.SKIPPED)
    )
}


def _parts(
    known: Known, entries: Mapping[Key, Entry]
) -> dict[JobId, tuple[str, list[Entry | None]]]:
    """Return per job the id others wait for, and what is known of each of its parts."""
    children = defaultdict(list)
    for (array, _), entry in entries.items():
        children[array].append(entry)
    found: dict[JobId, tuple[str, list[Entry | None]]] = {}
    for row in known.rows:
        id_ = known.ids.get(row.call, "")
        before = found.get(row.job, ("", []))[1]
        # The last call that has the job is the one others wait for: gather comes after scatter.
        found[row.job] = (_name(row, id_), [*before, entries.get((id_, row.index))])
    for job, ids in known.children.items():
        if job in found:
            found[job][1].extend(
                entry for id_ in ids for entry in children[id_] if entry.state in ALIVE
            )
    return found


def _name(row: Row, id_: str) -> str:
    if not id_ or row.bundle:
        return id_ and f"{_BUNDLE}{id_}"
    return id_ if row.index is None else f"{id_}_{row.index}"


def _belief(entry: Entry, by: str, now: float) -> Belief:
    match entry.state:
        case State.RUNNING:
            since = now - entry.elapsed_s
            return Belief(state=State.RUNNING, by=by, since=since, where=entry.node)
        case State.QUEUED:
            return Belief(state=State.QUEUED, reason=entry.reason, by=by)
        case _:
            reason = queue.REASONS.get(entry.word, entry.word)
            # A bundle fails with any of its jobs; what has no marker was skipped or cut off.
            inside = by.startswith(_BUNDLE) and entry.word == "FAILED"
            return Belief(state=State.LOST if inside else entry.state, reason=reason, by=by)


def _explained(store: Store, known: Known, found: Mapping[JobId, Belief]) -> dict[JobId, Belief]:
    """Return the beliefs, those of jobs that have ended with what their logs say.

    Only a Slurm job that had something to say has left a log.
    """
    logs = f"{submissions.FOLDER}/{known.submission}/logs"
    present = frozenset(store.names(logs))
    explained = dict(found) | _culprits(store, known, found)
    for job, belief in found.items():
        if belief.state in ALIVE or belief.state is State.SKIPPED:
            continue
        name = f"{belief.by.removeprefix(_BUNDLE)}.out"
        said = (store.read_text(f"{logs}/{name}") or "") if name in present else ""
        if _SKIP in said:
            culprit = said.rpartition(_SKIP)[2].partition("\n")[0]
            explained[job] = Belief(state=State.SKIPPED, reason=culprit)
            continue
        reason = next((why for words, why in _SAID if words in said), belief.reason)
        where = f"; see {store.path(f'{logs}/{name}')}" if said else ""
        told = f"{reason} (Slurm job {belief.by}{where})"
        explained[job] = Belief(state=belief.state, reason=told)
    return explained


def _culprits(store: Store, known: Known, found: Mapping[JobId, Belief]) -> dict[JobId, Belief]:
    """Return the beliefs of skipped jobs, with the job of a run before theirs that failed.

    Who failed among a job's own needs, its Lab tells.
    """
    skipped = {job for job, belief in found.items() if belief.state is State.SKIPPED}
    plan = submissions.plan(store, known.submission) if skipped else {}
    tasks = plan.get("tasks", ())
    culprit_of: dict[int, JobId] = {}
    for number, gate in enumerate(plan.get("gates", ())):
        jobs = [*(tasks[place]["job"] for place in gate["tasks"]), *gate["waits"]]
        marked = store.markers(jobs) if gate["type"] == "hard" else {}
        culprits = (job for job in jobs if marked and marked.get(job) != SUCCESS)
        culprit_of[number] = next(culprits, "")
    explained = dict.fromkeys(skipped, Belief(state=State.SKIPPED))
    for task in tasks:
        named = next((culprit_of[gate] for gate in task["gates"] if culprit_of[gate]), "")
        if named and task["job"] in skipped:
            explained[task["job"]] = Belief(state=State.SKIPPED, reason=named)
    return explained


# What slurm.sh (repx_require) writes when a job finds that another one did not succeed.
_SKIP: Final = "repx: skipped, since this job did not succeed: "

# What slurmstepd writes into a job's output when it ends one.
_SAID: Final = (
    ("DUE TO TIME LIMIT", "timeout"),
    ("DUE TO PREEMPTION", "preempted"),
    ("DUE TO NODE FAILURE", "node failure"),
    ("memory limit", "out of memory"),
    ("oom_kill", "out of memory"),
    ("oom-kill", "out of memory"),
)


def _halfway(known: Known) -> Belief:
    """Return what to say of a scatter that is held for ever, since its gather is not there."""
    reason = f"held: submission {known.submission} stopped halfway; its submit.sh continues"
    return Belief(state=State.QUEUED, reason=reason)


def _within_bundles(
    store: Store, known: Known, found: Mapping[JobId, Belief]
) -> dict[JobId, Belief]:
    """Return the beliefs, those of jobs in running bundles as their own scheduler tells them."""
    told = dict(found)
    for rows in known.by_call().values():
        jobs = [row.job for row in rows if row.bundle]
        outer = found.get(jobs[0]) if jobs else None
        if outer is None or outer.state is not State.RUNNING:
            continue
        folder = f"{known.submission}/bundles/{rows[0].bundle}"
        happened = submissions.events(store, folder)
        starts = [at for at, event in enumerate(happened) if event.kind == "agent-start"]
        inner = submissions.beliefs(outer.by, jobs, happened[starts[-1] :] if starts else [])
        for job in jobs:
            told.pop(job, None)
        told |= {job: replace(belief, where=outer.where) for job, belief in inner.items()}
    return told


def _unanswered(known: Known) -> dict[JobId, Belief]:
    """Return the jobs of a submission as alive: no answer is no reason to start them again."""
    reason = "submitted; Slurm does not answer now"
    return {
        row.job: Belief(
            state=State.QUEUED, reason=reason, by=_name(row, known.ids.get(row.call, ""))
        )
        for row in known.rows
        if row.call in known.ids
    }


def _ask(run: Run, ids: list[str], clusters: Iterable[str]) -> Mapping[Key, Entry] | None:
    try:
        answer = run(queue.squeue_argv(ids, clusters), timeout_s=_ASK_S, check=False)
    except (CommandError, CommandNotFoundError) as error:
        log.warning("cannot ask Slurm: %s", error)
        return None
    entries = queue.parse_squeue(answer.code, answer.stdout, answer.stderr)
    if entries is None:
        log.warning("Slurm does not answer: %s", answer.stderr.strip())
    return entries


def _any_alive(known: Known, entries: Mapping[Key, Entry]) -> bool:
    ids = known.all_ids
    return any(array in ids and entry.state in ALIVE for (array, _), entry in entries.items())


# --- submissions that have ended -------------------------------------------------------------


def _open(store: Store) -> list[str]:
    """Return the submissions to Slurm that nobody has seen end, oldest first."""
    return [name for name in submissions.ids(store) if _is_open(store, name)]


def _is_open(store: Store, submission: str) -> bool:
    """Return whether something was submitted since somebody last saw all of it ended."""
    folder = f"{submissions.FOLDER}/{submission}"
    submitted = store.read(f"{folder}/{SUBMITTED}")
    if not submitted:
        return False
    ended = store.read_text(f"{folder}/{_ENDED}") or ""
    return ended.partition("\n")[0] != str(len(submitted))


def _close(
    run: Run, store: Store, known: Known, entries: Mapping[Key, Entry]
) -> dict[JobId, Belief]:
    """Return how the jobs of a submission ended; write it down, since Slurm soon forgets it.

    The first line says how long submitted.tsv was then: if it has grown, this is out of date.
    """
    every = dict(entries)
    ids = known.all_ids
    forgotten = ids - {array for array, _ in entries}
    if forgotten:
        every |= _recall(run, sorted(forgotten), known.submission)
    told = _explained(store, known, beliefs(known, every, now=0))
    lines = "".join(
        f"{job}\t{belief.state}\t{belief.reason}\n"
        for job, belief in told.items()
        if belief.state not in ALIVE
    )
    folder = f"{submissions.FOLDER}/{known.submission}"
    store.write(f"{folder}/{_ENDED}", f"{known.size}\n{lines}".encode())
    return told


def _recall(run: Run, ids: list[str], submission: str) -> dict[Key, Entry]:
    day = submission[:8]
    since = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day.isdigit() else "now-30days"
    try:
        answer = run(queue.sacct_argv(ids, since), timeout_s=_ASK_S, check=False)
    except (CommandError, CommandNotFoundError):
        return {}
    return queue.parse_sacct(answer.code, answer.stdout)


_STATES: Final = frozenset(map(str, State))


def _remembered(store: Store) -> dict[JobId, Belief]:
    """Return how jobs ended that left no marker, as it was seen then."""
    found: dict[JobId, Belief] = {}
    for name in submissions.ids(store):
        text = store.read_text(f"{submissions.FOLDER}/{name}/{_ENDED}")
        for line in (text or "").splitlines():
            job, _, rest = line.partition("\t")
            state, _, reason = rest.partition("\t")
            if state in _STATES:
                found[job] = Belief(state=State(state), reason=reason)
    return found


# --- cancelling ------------------------------------------------------------------------------


def cancel(run: Run, store: Store, jobs: Iterable[JobId] | None) -> int:
    """Cancel some jobs, or everything when ``jobs`` is None; return how many ids that were.

    One scancel for all; another one where a scatter-gather job submitted steps meanwhile.
    Raises CommandError with what Slurm said.
    """
    wanted = None if jobs is None else frozenset(jobs)
    asked: set[str] = set()
    while fresh := {id_ for known in _all_open(store) for id_ in _meant(known, wanted)} - asked:
        _scancel(run, sorted(fresh))
        asked |= fresh
    if wanted is not None:
        asked |= {id_ for known in _all_open(store) for id_ in _within(run, store, known, wanted)}
    return len(asked)


def _all_open(store: Store) -> Iterator[Known]:
    return (_known(store, name) for name in _open(store))


def _meant(known: Known, wanted: frozenset[JobId] | None) -> Iterator[str]:
    """Yield the ids to cancel: a call's own where all of its jobs are meant."""
    if wanted is None:
        yield from known.all_ids
        return
    for call, rows in known.by_call().items():
        meant = [row for row in rows if row.job in wanted]
        id_ = known.ids.get(call)
        if id_ is not None and len(meant) == len(rows):
            yield id_
        elif id_ is not None:
            yield from (f"{id_}_{row.index}" for row in meant if row.index is not None)
    for job, ids in known.children.items():
        if job in wanted:
            yield from ids


def _within(run: Run, store: Store, known: Known, wanted: frozenset[JobId]) -> Iterator[str]:
    """Ask bundles to end some of their jobs; yield the bundles' ids."""
    for call, rows in known.by_call().items():
        meant = [row.job for row in rows if row.bundle and row.job in wanted]
        id_ = known.ids.get(call)
        if id_ is None or not meant or len(meant) == len(rows):
            continue
        key = f"{submissions.FOLDER}/{known.submission}/bundles/{rows[0].bundle}/cancel"
        words = (store.read_text(key) or "") + "".join(f"{job}\n" for job in meant)
        store.write(key, words.encode())
        run(["scancel", "--batch", "--signal=HUP", id_], timeout_s=_ASK_S)
        yield id_


def _scancel(run: Run, ids: list[str]) -> None:
    for start in range(0, len(ids), _IDS_PER_CALL):
        run(["scancel", *ids[start : start + _IDS_PER_CALL]], timeout_s=_ASK_S)


# --- the folder's own tables -----------------------------------------------------------------


def _known(store: Store, submission: str) -> Known:
    folder = f"{submissions.FOLDER}/{submission}"
    size = len(store.read(f"{folder}/{SUBMITTED}") or b"")
    ids: dict[str, str] = {}
    clusters: set[str] = set()
    for call, id_, *_ in _table(store, f"{folder}/{SUBMITTED}", columns=2):
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
