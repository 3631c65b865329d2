"""Why jobs ended or are skipped, as logs, gates and bundles tell beside the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.schedulers.slurm import folder
from repx.status import ALIVE, Batch, JobState, State
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.model import JobId
    from repx.schedulers.slurm.folder import Known
    from repx.store import Store


def explained(store: Store, known: Known, found: Mapping[JobId, JobState]) -> dict[JobId, JobState]:
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


# What slurm-job.sh (repx_require) writes when a job finds that another one did not succeed.
_SKIP: Final = "repx: skipped, since this job did not succeed: "

# What slurmstepd writes into the output of a job it ends, and slurm-job.sh when it gives one up.
_SAID: Final = (
    ("DUE TO TIME LIMIT", "timeout"),
    ("DUE TO PREEMPTION", "preempted"),
    ("DUE TO NODE FAILURE", "node failure"),
    ("memory limit", "out of memory"),
    ("oom_kill", "out of memory"),
    ("oom-kill", "out of memory"),
    ("cannot submit its steps", "cannot submit its steps"),
)


def within_bundles(
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
        states |= {
            job: replace(state, where=outer.where, forced=job in known.forced)
            for job, state in inner.items()
        }
    return states
