"""One state per job, from its marker and the scheduler's report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repx.model import JobId


class State(StrEnum):
    """The state of a job, with its name in tables and ``--json``."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RUNNING = "running"
    QUEUED = "queued"
    LOST = "lost"
    STALE = "stale"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    PENDING = "pending"


ALIVE: Final = frozenset({State.RUNNING, State.QUEUED})
GATE: Final = "\0gate "  # prefix of graph nodes that stand for all jobs of a run

# The state of a run is the first of these states that any of its jobs has.
_RUN_ORDER: Final = (
    State.RUNNING,
    State.FAILED,
    State.LOST,
    State.QUEUED,
    State.PENDING,
    State.STALE,
    State.SKIPPED,
    State.BLOCKED,
    State.SUCCEEDED,
)


@dataclass(frozen=True, slots=True)
class Agent:
    """A local scheduler that works on a submission."""

    submission: str

    def __str__(self) -> str:
        """Return the submission's id."""
        return self.submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A job of a batch system, or one element of its array.

    ``system`` names the scheduler, ``cluster`` one of several clusters (empty if there is one). For
    a job inside a ``bundle``, the batch system does not know when the job ends. ``again`` is the
    batch job that submits the job once more if it fails.
    """

    system: str
    id: str
    index: int | None = None
    cluster: str = ""
    bundle: bool = False
    again: str = ""

    def __str__(self) -> str:
        """Return the id in the batch system: ``4711``, ``4711_3``, or ``bundle:4711``."""
        element = self.id if self.index is None else f"{self.id}_{self.index}"
        return f"bundle:{element}" if self.bundle else element


@dataclass(frozen=True, slots=True)
class ByHand:
    """A process that holds the job's lock without a scheduler; the lock's file names it."""

    host: str = ""
    pid: int | None = None

    def __str__(self) -> str:
        """Return the words for tables and ``--json``."""
        return "by hand"


Owner: TypeAlias = Agent | Batch | ByHand


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job's state and its ``reason``: an exit code, the failed job, or what the job waits for.

    ``by`` is the owner of a live job, ``since`` its start in seconds since the epoch, ``where`` the
    node it runs on. ``forced``: an earlier success of the job does not count. A *reported* state is
    the state of one job from a marker or a scheduler, without its upstream jobs: never blocked or
    pending.
    """

    state: State
    reason: str = ""
    by: Owner | None = None
    since: float | None = None
    where: str = ""
    forced: bool = False


_PENDING: Final = JobState(state=State.PENDING, reason="can start")


def derive(
    needs: Mapping[JobId, Sequence[JobId]],
    order: Iterable[JobId],
    reported: Mapping[JobId, JobState],
) -> dict[JobId, JobState]:
    """Return every job's state; ``order`` is topological.

    A job without a reported state is skipped if an upstream job failed (the reason names that job),
    blocked while an upstream job has not succeeded, else pending. A node whose name begins with
    ``GATE`` is no job and has no state of its own: it stands for all its needs.
    """
    states: dict[JobId, JobState] = {}
    for job in order:
        said = reported.get(job)
        states[job] = _from_upstream(needs[job], states) if said is None else said
        if said is not None and said.state in (State.LOST, State.SKIPPED):
            derived = _from_upstream(needs[job], states)
            if derived.state is State.SKIPPED:  # its reason names the failed job
                states[job] = derived
    return {job: said for job, said in states.items() if not job.startswith(GATE)}


def _from_upstream(needs: Sequence[JobId], states: Mapping[JobId, JobState]) -> JobState:
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
    """Return the number of jobs in each state, in the order of ``State``, zeros included."""
    total = dict.fromkeys(State, 0)
    for state in states:
        total[state] += 1
    return total
