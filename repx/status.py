"""One state per job, from its marker and from what a scheduler believes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repx.model import JobId


class State(StrEnum):
    """The state of a job, as tables and ``--json`` spell it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RUNNING = "running"
    QUEUED = "queued"
    LOST = "lost"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    PENDING = "pending"


ALIVE: Final = frozenset({State.RUNNING, State.QUEUED})
GATE: Final = "\0gate "  # begins the node of a graph that stands for all jobs of a run
BY_HAND: Final = "by hand"  # who runs a job that no scheduler answers for

# What a run's state is: the first of these that any of its jobs has.
_RUN_ORDER: Final = (
    State.RUNNING,
    State.FAILED,
    State.LOST,
    State.QUEUED,
    State.PENDING,
    State.SKIPPED,
    State.BLOCKED,
    State.SUCCEEDED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job's state and, in ``reason``, why: the exit code, the culprit, what it waits for.

    ``by`` is the submission or scheduler id that a live job belongs to, ``since`` its start in
    seconds since the epoch, ``where`` the node it runs on. A *belief* is the state of one job
    before its upstreams are considered: never blocked or pending.
    """

    state: State
    reason: str = ""
    by: str = ""
    since: float | None = None
    where: str = ""


_PENDING: Final = JobState(state=State.PENDING, reason="can start")


def derive(
    needs: Mapping[JobId, Sequence[JobId]],
    order: Iterable[JobId],
    beliefs: Mapping[JobId, JobState],
) -> dict[JobId, JobState]:
    """Return every job's state; ``order`` is topological.

    A job without a belief is skipped when something before it failed (the reason names the
    culprit), blocked while something before it has not succeeded, else pending. A node whose
    name begins with ``GATE`` is no job and has no state: it stands for all that it needs.
    """
    states: dict[JobId, JobState] = {}
    for job in order:
        belief = beliefs.get(job)
        states[job] = _without_belief(needs[job], states) if belief is None else belief
        if belief is not None and belief.state in (State.LOST, State.SKIPPED):
            derived = _without_belief(needs[job], states)
            if derived.state is State.SKIPPED:  # it names the culprit
                states[job] = derived
    return {job: said for job, said in states.items() if not job.startswith(GATE)}


def _without_belief(needs: Sequence[JobId], states: Mapping[JobId, JobState]) -> JobState:
    waiting: JobId | None = None
    for need in needs:
        before = states[need]
        if before.state in (State.FAILED, State.LOST):
            return JobState(state=State.SKIPPED, reason=need)
        if before.state is State.SKIPPED:
            return before
        if need.startswith(GATE):
            waiting = waiting or (before.reason if before.state is State.BLOCKED else None)
        elif before.state is not State.SUCCEEDED:
            waiting = waiting or need
    return _PENDING if waiting is None else JobState(state=State.BLOCKED, reason=waiting)


def of_run(states: Iterable[State]) -> State:
    """Return the state of a whole run; a run without jobs is blocked."""
    present = set(states)
    return next((state for state in _RUN_ORDER if state in present), State.BLOCKED)


def counts(states: Iterable[State]) -> dict[State, int]:
    """Return how many jobs are in each state, in the order of ``State``, zeros included."""
    total = dict.fromkeys(State, 0)
    for state in states:
        total[state] += 1
    return total
