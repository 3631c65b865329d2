"""How jobs ended, as logs, bundles and accounting tell beside the queue, and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import CommandError, CommandNotFoundError
from repx.schedulers.slurm import answers, folder, queue
from repx.schedulers.slurm.answers import QueueAnswer
from repx.schedulers.slurm.folder import ENDED, Known
from repx.status import ALIVE, Batch, JobState, State
from repx.store import SUCCESS

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.schedulers.contract import Answer
    from repx.schedulers.slurm.queue import Entry, Key
    from repx.store import Store

_ASK_S: Final = 120


def told(store: Store, known: Sequence[Known], answer: Answer) -> dict[JobId, JobState]:
    """Return the states, with reasons from logs, bundles and, of what has ended, accounting."""
    found: dict[JobId, JobState] = {}
    entries = answer.entries if isinstance(answer, QueueAnswer) else {}
    for each in known:
        states = {row.job: answer.jobs[row.job] for row in each.rows if row.job in answer.jobs}
        if each.submission in answer.ended:
            found |= _close(store, each, entries)
        else:
            found |= _within_bundles(store, each, _explained(store, each, states))
    return found


def _explained(
    store: Store, known: Known, found: Mapping[JobId, JobState]
) -> dict[JobId, JobState]:
    """Return the states, those of jobs that have ended with what their logs say.

    Only a Slurm job that had something to say has left a log.
    """
    logs = f"{submissions.FOLDER}/{known.submission}/logs"
    present = frozenset(store.names(logs))
    explained = dict(found) | _culprits(store, known, found)
    scatters = {row.job: known.awaited(row) for row in reversed(known.rows)}  # or the only one
    for job, state in found.items():
        if state.state in ALIVE or state.state is State.SKIPPED:
            continue
        owners = [by for by in (state.by, scatters[job]) if isinstance(by, Batch)]
        names = [f"{folder.log_stem(by)}.out" for by in owners]
        name = next((name for name in names if name in present), "")
        said = (store.read_text(f"{logs}/{name}") or "") if name else ""
        if _SKIP in said:
            culprit = said.rpartition(_SKIP)[2].partition("\n")[0]
            explained[job] = JobState(state=State.SKIPPED, reason=culprit)
            continue
        reason = next((why for words, why in _SAID if words in said), state.reason)
        where = f"; see {store.path(f'{logs}/{name}')}" if said else ""
        number = folder.log_stem(owners[0]) if owners else ""
        explained[job] = JobState(state=state.state, reason=f"{reason} (Slurm job {number}{where})")
    return explained


def _culprits(store: Store, known: Known, found: Mapping[JobId, JobState]) -> dict[JobId, JobState]:
    """Return the states of skipped jobs, with the job of a run before theirs that failed.

    Who failed among a job's own needs, its Lab tells.
    """
    skipped = {job for job, state in found.items() if state.state is State.SKIPPED}
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


def _within_bundles(
    store: Store, known: Known, found: Mapping[JobId, JobState]
) -> dict[JobId, JobState]:
    """Return the states, those of jobs in running bundles as their own scheduler tells them."""
    states = dict(found)
    for rows in known.by_call().values():
        jobs = [row.job for row in rows if row.bundle]
        outer = found.get(jobs[0]) if jobs else None
        if outer is None or outer.state is not State.RUNNING:
            continue
        folder_name = f"{known.submission}/bundles/{rows[0].bundle}"
        happened = submissions.events(store, folder_name)
        starts = [at for at, event in enumerate(happened) if event.kind == "agent-start"]
        recent = happened[starts[-1] :] if starts else []
        inner = submissions.reported(folder_name, jobs, recent, by=outer.by)
        for job in jobs:
            states.pop(job, None)
        states |= {job: replace(state, where=outer.where) for job, state in inner.items()}
    return states


# --- submissions that have ended -------------------------------------------------------------


def _close(store: Store, known: Known, entries: Mapping[Key, Entry]) -> dict[JobId, JobState]:
    """Return how the jobs of a submission ended; write it down, since Slurm soon forgets it.

    The first line says how long submitted.tsv was then: if it has grown, this is out of date.
    """
    forgotten = _forgotten(known, entries)
    every = {**(_recall(store, forgotten, known) if forgotten else {}), **entries}
    said = _explained(store, known, answers.reported(known, every, now=0))
    lines = "".join(
        f"{job}\t{state.state}\t{state.reason}\n"
        for job, state in said.items()
        if state.state not in ALIVE
    )
    key = f"{submissions.FOLDER}/{known.submission}/{ENDED}"
    store.write(key, f"{known.size}\n{lines}".encode())
    return said


def _forgotten(known: Known, entries: Mapping[Key, Entry]) -> list[str]:
    """Return the ids of which the queue no longer knows all; elements of arrays go one by one."""
    arrays = {array for array, _ in entries}
    keys = {(known.ids[row.call], row.index) for row in known.rows if row.call in known.ids}
    return sorted({id_ for id_, _ in keys - entries.keys()} | (known.all_ids - arrays))


def _recall(store: Store, ids: list[str], known: Known) -> dict[Key, Entry]:
    day = known.submission[:8]
    since = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day.isdigit() else "now-30days"
    try:
        argv = queue.sacct_argv(ids, since, known.clusters)
        answer = store.place.run(argv, timeout_s=_ASK_S, check=False)
    except (CommandError, CommandNotFoundError):
        return {}
    told = queue.parse_sacct(answer.code, answer.stdout)
    # What accounting takes for alive it has not heard the end of: the queue would know it.
    return {key: entry for key, entry in told.items() if entry.state not in ALIVE}


_STATES: Final = frozenset(map(str, State))


def record(store: Store, submission: str) -> str | None:
    """Return what ``_close`` wrote, without its first line; None where it is out of date."""
    where = f"{submissions.FOLDER}/{submission}"
    if not store.read(f"{where}/submitted.tsv") or folder.is_open(store, submission):
        return None
    return (store.read_text(f"{where}/{ENDED}") or "").partition("\n")[2]


def remembered(store: Store) -> dict[JobId, JobState]:
    """Return how jobs ended that left no marker, as it was seen then."""
    found: dict[JobId, JobState] = {}
    keys = [f"{submissions.FOLDER}/{name}/{ENDED}" for name in submissions.ids(store)]
    keys.insert(0, submissions.RECORD)
    for content in store.read_many(keys).values():
        for line in content.decode(errors="replace").splitlines():
            job, _, rest = line.partition("\t")
            state, _, reason = rest.partition("\t")
            if state in _STATES:
                found[job] = JobState(state=State(state), reason=reason)
    return found
