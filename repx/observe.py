"""The states of a Lab's jobs, from markers, locks and schedulers, in one look."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from repx import graph, repx05, seen, stale, status, submissions, waiting
from repx.status import ALIVE, ByHand, JobState, State
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.model import JobId, Lab
    from repx.places import Question
    from repx.store import Store

_PID: Final = re.compile(r"[1-9][0-9]{0,9}")


def states(lab: Lab, store: Store) -> dict[JobId, JobState]:
    """Return the state of every job of the Lab, from markers, schedulers and locks.

    Raises StorageError when the store cannot be read.
    """
    store = seen.look(store, lab.jobs, _foreseen(store))
    reported = _scheduled(store)
    alive = {job for job, said in reported.items() if said.state in ALIVE}
    marked = store.markers(lab.jobs)
    for job, name in marked.items():
        # A marker overrides the scheduler's state, unless the job runs again after the marker.
        if job not in alive or (name == SUCCESS and not reported[job].forced):
            reported[job] = _marked(store, job, name)
    untold = []
    for job in store.started().intersection(lab.jobs) - marked.keys() - alive:
        found = _unmarked(store, job)
        if found is None and lab.jobs[job].is_scatter_gather:
            untold.append(job)
        if found is not None and (job not in reported or found.state is not State.LOST):
            reported[job] = found
    for job, why in repx05.failed_phases(store, untold).items():
        reported[job] = JobState(state=State.FAILED, reason=why)
    reported |= stale.states(store, lab, reported)
    needs = waiting.gated(lab, reported)
    return status.derive(needs, graph.order(needs), reported)


def _foreseen(store: Store) -> Sequence[Question[Any]]:
    """Return the questions to send along with the look if that saves a round trip."""
    if not store.place.name:
        return ()
    from repx.schedulers import queue

    return queue.foreseen(store)


def _scheduled(store: Store) -> dict[JobId, JobState]:
    """Return the states from schedulers; load no scheduler if nothing was submitted lately."""
    if not submissions.ids(store) and store.read(submissions.RECORD) is None:
        return {}
    from repx.schedulers import queue

    reported = queue.reported(store)
    queue.close_ended(store)
    return reported


def _marked(store: Store, job: JobId, name: str) -> JobState:
    if name == SUCCESS:
        return _SUCCEEDED
    return JobState(state=State.FAILED, reason=str(store.marker(job, name).get("reason") or ""))


_SUCCEEDED: Final = JobState(state=State.SUCCEEDED)


def _unmarked(store: Store, job: JobId) -> JobState | None:
    """Return the state of a job that was started and has no marker, None if unknown.

    If its lock is held, the job runs without an agent (by hand, or its agent was killed). If its
    lock is free, the job has just ended or was interrupted. Without a lock, RepX 0.5 ran the job.
    """
    lock = f"outputs/{job}/repx/lock"
    if store.locked(lock):
        host, _, pid = (store.read_text(lock) or "").strip().rpartition(" ")
        by = ByHand(host, int(pid)) if _PID.fullmatch(pid) else ByHand()
        return JobState(state=State.RUNNING, reason="without a scheduler", by=by)
    name = store.mark(job)
    if name is not None:
        return _marked(store, job, name)
    if store.exists(lock):
        return JobState(state=State.LOST, reason="killed without a trace")
    return None
