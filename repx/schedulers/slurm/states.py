"""What Slurm tells of jobs: one question about all, and what became of those it forgets."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import CommandError, CommandNotFoundError
from repx.schedulers.slurm import folder, queue
from repx.schedulers.slurm.folder import BUNDLE, CONTINUE, ENDED, Known
from repx.status import ALIVE, JobState, State
from repx.store import SUCCESS

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.places.command import Run
    from repx.schedulers.slurm.queue import Entry, Key
    from repx.store import Store

log = logging.getLogger(__name__)

_ASK_S: Final = 120


def alive(run: Run, store: Store) -> dict[JobId, JobState]:
    """Return what Slurm knows of the jobs of all submissions that may not have ended.

    One squeue for all; sacct at most once per submission, when it ends. What they tell of a
    job that has ended counts only where the job left no marker.
    """
    opened = [folder.read(store, name) for name in folder.unfinished(store)]
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


def beliefs(known: Known, entries: Mapping[Key, Entry], *, now: float) -> dict[JobId, JobState]:
    """Return what the queue tells of a submission's jobs; nothing of those it does not know."""
    found: dict[JobId, JobState] = {}
    parts = _parts(known, entries)
    continued = (known.ids.get(CONTINUE, ""), None)
    waiting = continued in entries and entries[continued].state in ALIVE
    refused = continued in entries and entries[continued].word == "FAILED"
    for job, (by, each) in parts.items():
        if told := [entry for entry in each if entry is not None]:
            best = min(told, key=lambda entry: _RANK[entry.state])
            found[job] = _belief(best, by, now) if by or waiting else _halfway(known)
        elif waiting and not by:
            reason = f"waits for room in the queue; Slurm job {continued[0]} submits it"
            found[job] = JobState(state=State.QUEUED, reason=reason)
        elif refused and not by:  # its log, found by this name, has Slurm's words
            found[job] = JobState(state=State.LOST, reason="not submitted", by=CONTINUE)
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
        found[row.job] = (known.awaited(row), [*before, entries.get((id_, row.index))])
    for job, ids in known.children.items():
        if job in found:
            found[job][1].extend(
                entry for id_ in ids for entry in children[id_] if entry.state in ALIVE
            )
    return found


def _belief(entry: Entry, by: str, now: float) -> JobState:
    match entry.state:
        case State.RUNNING:
            since = now - entry.elapsed_s
            return JobState(state=State.RUNNING, by=by, since=since, where=entry.node)
        case State.QUEUED:
            return JobState(state=State.QUEUED, reason=entry.reason, by=by)
        case _:
            reason = queue.REASONS.get(entry.word, entry.word)
            # A bundle fails with any of its jobs; what has no marker was skipped or cut off.
            inside = by.startswith(BUNDLE) and entry.word == "FAILED"
            return JobState(state=State.LOST if inside else entry.state, reason=reason, by=by)


def _explained(
    store: Store, known: Known, found: Mapping[JobId, JobState]
) -> dict[JobId, JobState]:
    """Return the beliefs, those of jobs that have ended with what their logs say.

    Only a Slurm job that had something to say has left a log.
    """
    logs = f"{submissions.FOLDER}/{known.submission}/logs"
    present = frozenset(store.names(logs))
    explained = dict(found) | _culprits(store, known, found)
    scatters = {row.job: known.awaited(row) for row in reversed(known.rows)}  # or the only one
    for job, belief in found.items():
        if belief.state in ALIVE or belief.state is State.SKIPPED:
            continue
        names = [f"{id_.removeprefix(BUNDLE)}.out" for id_ in (belief.by, scatters[job])]
        name = next((name for name in names if name in present), "")
        said = (store.read_text(f"{logs}/{name}") or "") if name else ""
        if _SKIP in said:
            culprit = said.rpartition(_SKIP)[2].partition("\n")[0]
            explained[job] = JobState(state=State.SKIPPED, reason=culprit)
            continue
        reason = next((why for words, why in _SAID if words in said), belief.reason)
        where = f"; see {store.path(f'{logs}/{name}')}" if said else ""
        told = f"{reason} (Slurm job {belief.by.removeprefix(BUNDLE)}{where})"
        explained[job] = JobState(state=belief.state, reason=told)
    return explained


def _culprits(store: Store, known: Known, found: Mapping[JobId, JobState]) -> dict[JobId, JobState]:
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
    explained = dict.fromkeys(skipped, JobState(state=State.SKIPPED))
    for task in tasks:
        named = next((culprit_of[gate] for gate in task["gates"] if culprit_of[gate]), "")
        if named and task["job"] in skipped:
            explained[task["job"]] = JobState(state=State.SKIPPED, reason=named)
    return explained


# What slurm.sh (repx_require) writes when a job finds that another one did not succeed.
_SKIP: Final = "repx: skipped, since this job did not succeed: "

# What slurmstepd writes into a job's output when it ends one, and slurm.sh when it gives one up.
_SAID: Final = (
    ("DUE TO TIME LIMIT", "timeout"),
    ("DUE TO PREEMPTION", "preempted"),
    ("DUE TO NODE FAILURE", "node failure"),
    ("memory limit", "out of memory"),
    ("oom_kill", "out of memory"),
    ("oom-kill", "out of memory"),
    ("cannot submit its steps", "cannot submit its steps"),
)


def _halfway(known: Known) -> JobState:
    """Return what to say of a scatter that is held for ever, since its gather is not there."""
    reason = f"held: submission {known.submission} stopped halfway; its submit.sh continues"
    return JobState(state=State.QUEUED, reason=reason)


def _within_bundles(
    store: Store, known: Known, found: Mapping[JobId, JobState]
) -> dict[JobId, JobState]:
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


def _unanswered(known: Known) -> dict[JobId, JobState]:
    """Return the jobs of a submission as alive: no answer is no reason to start them again."""
    reason = "submitted; Slurm does not answer now"
    return {
        row.job: JobState(
            state=State.QUEUED,
            reason=reason,
            by=known.awaited(row),
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


def _close(
    run: Run, store: Store, known: Known, entries: Mapping[Key, Entry]
) -> dict[JobId, JobState]:
    """Return how the jobs of a submission ended; write it down, since Slurm soon forgets it.

    The first line says how long submitted.tsv was then: if it has grown, this is out of date.
    """
    forgotten = _forgotten(known, entries)
    every = {**(_recall(run, forgotten, known) if forgotten else {}), **entries}
    told = _explained(store, known, beliefs(known, every, now=0))
    lines = "".join(
        f"{job}\t{belief.state}\t{belief.reason}\n"
        for job, belief in told.items()
        if belief.state not in ALIVE
    )
    folder = f"{submissions.FOLDER}/{known.submission}"
    store.write(f"{folder}/{ENDED}", f"{known.size}\n{lines}".encode())
    return told


def _forgotten(known: Known, entries: Mapping[Key, Entry]) -> list[str]:
    """Return the ids of which the queue no longer knows all; elements of arrays go one by one."""
    arrays = {array for array, _ in entries}
    keys = {(known.ids[row.call], row.index) for row in known.rows if row.call in known.ids}
    return sorted({id_ for id_, _ in keys - entries.keys()} | (known.all_ids - arrays))


def _recall(run: Run, ids: list[str], known: Known) -> dict[Key, Entry]:
    day = known.submission[:8]
    since = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day.isdigit() else "now-30days"
    try:
        argv = queue.sacct_argv(ids, since, known.clusters)
        answer = run(argv, timeout_s=_ASK_S, check=False)
    except (CommandError, CommandNotFoundError):
        return {}
    told = queue.parse_sacct(answer.code, answer.stdout)
    # What accounting takes for alive it has not heard the end of: the queue would know it.
    return {key: entry for key, entry in told.items() if entry.state not in ALIVE}


_STATES: Final = frozenset(map(str, State))


def _remembered(store: Store) -> dict[JobId, JobState]:
    """Return how jobs ended that left no marker, as it was seen then."""
    found: dict[JobId, JobState] = {}
    for name in submissions.ids(store):
        text = store.read_text(f"{submissions.FOLDER}/{name}/{ENDED}")
        for line in (text or "").splitlines():
            job, _, rest = line.partition("\t")
            state, _, reason = rest.partition("\t")
            if state in _STATES:
                found[job] = JobState(state=State(state), reason=reason)
    return found
