"""The local scheduler as the client sees it: start an agent, watch it, ask it to stop."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import OutOfReachError, SchedulerError
from repx.places import holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from repx.model import JobId
    from repx.places import Process
    from repx.plan import Plan
    from repx.status import JobState
    from repx.store import Store
    from repx.submissions import Event

_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the command line allows an agent: None leaves the target's or machine's own."""

    jobs: int | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    keep_going: bool = False

    def argv(self) -> list[str]:
        """Return the options as ``run.sh`` takes them."""
        given = (("-j", self.jobs), ("--cpus", self.cpus), ("--mem", self.mem_bytes))
        options = [
            word for name, value in given if value is not None for word in (name, str(value))
        ]
        return [*options, "--keep-going"] if self.keep_going else options


def check(plan: Plan, store: Store) -> None:
    """Raise OutOfReachError when a job waits for one that no agent has, but Slurm."""
    if not plan.alive:
        return
    waited = {job for task in plan.tasks for job in task.needs}
    waited.update(job for gate in plan.gates for job in gate.jobs)
    agents = submissions.ids(store)
    for job, by in plan.alive.items():
        if job in waited and by not in agents:
            raise OutOfReachError(job, by, "the local scheduler")


def launch(store: Store, submission: str, limits: Limits) -> Process:
    """Start a submission's own ``run.sh`` in a session of its own."""
    folder = store.path(f"{submissions.FOLDER}/{submission}")
    argv = ["bash", f"{folder}/run.sh", *limits.argv()]
    ours = {"REPX_PYTHON": sys.executable}  # new enough, which python3 may not be
    return store.place.spawn(argv, output=f"{folder}/agent.log", cwd=folder, more_env=ours)


def alive(store: Store) -> dict[JobId, JobState]:
    """Return the jobs that agents on this machine hold in their queues or run."""
    known: dict[JobId, JobState] = {}
    for submission in submissions.active(store):
        jobs = [task["job"] for task in submissions.plan(store, submission).get("tasks", ())]
        known |= submissions.beliefs(submission, jobs, submissions.events(store, submission))
    return known


def follow(
    store: Store,
    submission: str,
    *,
    ended: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Event]]:
    """Yield what happened since the last look, until the agent has ended; often nothing.

    ``ended`` tells whether the agent is gone; what it wrote before is still yielded.
    """
    key = f"{submissions.FOLDER}/{submission}/events.jsonl"
    inode, position, rest = 0, 0, b""
    while True:
        last = ended()
        inode, start, content = store.files.tail(key, inode, position)
        position = start + len(content)
        *lines, rest = (rest + content).split(b"\n")
        news = list(submissions.parse_events(line.decode(errors="replace") for line in lines))
        yield news
        if last or any(event.kind == "agent-end" for event in news):
            return
        sleep(_LOOK_EVERY_S)


def cancel(store: Store, submission: str, jobs: Iterable[JobId] | None) -> bool:
    """Ask an agent to end some of its jobs, or all of them when ``jobs`` is None.

    Returns False when the submission has no agent any more. Raises SchedulerError when that is
    on another machine or somebody else's, StorageError when the wish cannot be written.
    """
    folder = f"{submissions.FOLDER}/{submission}"
    lock = submissions.agent_lock(submission)
    if not store.locked(lock):
        return False
    path, argument = store.path(lock), store.path(folder)
    found, host = store.place.signal(path, argument, 0)
    if found == holder.ELSEWHERE:
        message = f"submission {submission} runs on {host}, where this machine cannot stop it"
        raise SchedulerError(message, hint=f"log in to {host} and type the same command there")
    if found == holder.FOREIGN:
        raise SchedulerError(
            f"{path} names no scheduler of yours, so nothing is signalled",
            hint="the user who started the submission can cancel it",
        )
    words = "*\n" if jobs is None else "".join(f"{job}\n" for job in jobs)
    store.append(f"{folder}/cancel", words.encode())
    return store.place.signal(path, argument, signal.SIGHUP)[0] == holder.SENT
