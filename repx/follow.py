"""Progress of jobs as events: read from an agent's file, or made from successive looks."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.status import ALIVE, JobState, State
from repx.submissions import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from repx.model import JobId
    from repx.store import Store

_LOOK_EVERY_S: Final = 0.1


def agent(
    store: Store,
    submission: str,
    *,
    pid: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Event]]:
    """Yield the events since the last look, often none, until the agent has ended.

    ``pid`` is the agent's process, given if the agent may not have started yet.
    """
    lock = submissions.agent_lock(submission)
    key = f"{submissions.FOLDER}/{submission}/events.jsonl"
    inode, position, rest = 0, 0, b""
    while True:
        last, inode, start, content = store.grown(key, (inode, position), lock, pid)
        position = start + len(content)
        *lines, rest = (rest + content).split(b"\n")
        news = list(submissions.parse_events(line.decode(errors="replace") for line in lines))
        yield news
        if last or any(event.kind == "agent-end" for event in news):
            return
        sleep(_LOOK_EVERY_S)


# Pairs: up to this many seconds of watching, this is the shortest pause in seconds.
_LEAST: Final = ((60.0, 1.0), (3600.0, 15.0), (float("inf"), 60.0))
_MOST_S: Final = 60.0


@dataclass(slots=True)
class Pauses:
    """The pauses between looks at a batch system. Mutable: counts the time of watching.

    A pause is twice as long as the previous one, or the shortest after a change. ``_LEAST`` has
    the shortest pause for the time watched so far. A random part spreads the load of many users.
    """

    jitter: Callable[[], float] = field(default=random.random)
    watched_s: float = 0.0
    pause_s: float = 0.0

    def next(self, *, changed: bool) -> float:
        """Return the length of the next pause in seconds."""
        least = next(least for until, least in _LEAST if self.watched_s < until)
        self.pause_s = least if changed else min(max(2 * self.pause_s, least), _MOST_S)
        pause = self.pause_s * (1 + self.jitter() / 4)
        self.watched_s += pause
        return pause


def looks(
    look: Callable[[], Mapping[JobId, JobState]],
    jobs: Collection[JobId],
    *,
    sleep: Callable[[float], None] = time.sleep,
    pauses: Pauses | None = None,
) -> Iterator[list[Event]]:
    """Yield the changes of jobs between looks until no job is alive."""
    before: dict[JobId, State] = {}
    pauses = pauses or Pauses()
    while True:
        states = look()
        news = [
            _event(job, states[job]) for job in jobs if before.get(job) is not states[job].state
        ]
        before = {job: states[job].state for job in jobs}
        yield news
        if not any(state in ALIVE for state in before.values()):
            return
        sleep(pauses.next(changed=bool(news)))


def _event(job: JobId, said: JobState) -> Event:
    match said.state:
        case State.RUNNING:
            return Event(time_s=said.since or time.time(), kind="start", job=job)
        case State.SUCCEEDED:
            return Event(time_s=time.time(), kind="end", job=job)
        case State.FAILED | State.LOST:
            reason = said.reason or str(said.state)
            return Event(time_s=time.time(), kind="end", job=job, ok=False, reason=reason)
        case State.SKIPPED:
            return Event(time_s=time.time(), kind="skip", job=job, because=said.reason)
        case State.QUEUED | State.BLOCKED | State.PENDING | State.STALE:
            return Event(time_s=time.time(), kind="queue", job=job)
