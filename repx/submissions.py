"""The submission folders of a store: their ids, plans and events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from repx.places import closed as closed_at_place
from repx.places import walk
from repx.status import Agent, JobState, Owner, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from repx.model import JobId
    from repx.store import Store

FOLDER: Final = walk.SUBMISSIONS
CLOSED: Final = walk.CLOSED
RECORD: Final = closed_at_place.RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of events.jsonl: ``time_s`` since the epoch, ``phase`` None for a whole job.

    ``count`` is how many steps a scatter-gather job has to do, told when they are known.
    ``unmarked``, only in the last event, has the reasons of failed jobs without a marker.
    """

    time_s: float
    kind: str
    job: JobId = ""
    phase: str | None = None
    ok: bool = True
    reason: str = ""
    because: JobId = ""
    wall_s: float = 0.0
    count: int = 0
    unmarked: Mapping[JobId, str] = field(default_factory=dict)

    @property
    def ends_job(self) -> bool:
        """Return whether the job's last phase ended well, or any of its phases failed."""
        return self.kind == "end" and (not self.ok or self.phase in (None, "gather"))


@dataclass(slots=True)
class Phases:
    """The phases of scatter-gather jobs, and failed attempts. Mutable: fed one event at a time.

    ``steps`` is how many steps jobs have to do, ``ended`` how many ended well; ``failed`` are the
    phases that failed and were not tried again since.
    """

    steps: dict[JobId, int] = field(default_factory=dict)
    ended: dict[JobId, int] = field(default_factory=dict)
    failed: dict[JobId, set[str | None]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count one event."""
        job, phase = event.job, event.phase
        if event.kind == "agent-start":
            self.steps, self.ended, self.failed = {}, {}, {}
        elif event.kind == "steps":
            self.steps[job], self.ended[job] = event.count, 0
        elif event.kind == "end" and not event.ok:
            self.failed.setdefault(job, set()).add(phase)
        elif event.kind == "end" and job in self.steps:
            self.ended[job] += 1
        elif event.kind in ("start", "queue") and job in self.failed:
            self.failed[job].discard(phase)
            if not self.failed[job]:
                del self.failed[job]
        if phase == "gather":
            self.steps.pop(job, None)

    def progress(self, job: JobId) -> str:
        """Return how many steps of a job have ended; nothing for other jobs, and for its gather."""
        return f"{self.ended[job]} of {self.steps[job]} steps ended" if job in self.steps else ""


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of complete lines; skip a line cut off by a full disk."""
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "e" in record:
            yield _event(record)


def _event(record: Mapping[str, Any]) -> Event:
    return Event(
        time_s=record.get("t", 0.0),
        kind=record["e"],
        job=record.get("job") or "",
        phase=record.get("phase"),
        ok=bool(record.get("ok", True)),
        reason=record.get("reason") or "",
        because=record.get("because") or "",
        wall_s=record.get("wall_s") or 0.0,
        count=count if isinstance(count := record.get("count"), int) else 0,
        unmarked=_texts(record.get("unmarked")),
    )


def _texts(value: object) -> Mapping[str, str]:
    """Return a mapping of texts; empty for other values."""
    items = value.items() if isinstance(value, dict) else ()
    return {str(key): str(each) for key, each in items}


def ids(store: Store) -> list[str]:
    """Return the ids of all submissions, oldest first."""
    return store.names(FOLDER)


def closed(store: Store) -> list[str]:
    """Return the names of the submissions that have ended and been closed, newest first."""
    names = (name for name in store.names(CLOSED) if name != RECORD.rpartition("/")[2])
    return sorted(names, reverse=True)


def plan(store: Store, submission: str) -> Mapping[str, Any]:
    """Return a submission's plan.json; empty when there is none or it cannot be read."""
    try:
        document = json.loads(store.read_text(f"{FOLDER}/{submission}/plan.json") or "{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def events(store: Store, submission: str) -> list[Event]:
    """Return the events of a submission so far."""
    text = store.read_text(f"{FOLDER}/{submission}/events.jsonl") or ""
    return list(parse_events(text.splitlines()))


def agent_lock(submission: str) -> str:
    """Return the key of the lock of a submission's local scheduler; its content is ``HOST PID``."""
    return f"{FOLDER}/{submission}/agent.lock"


def reported(
    submission: str,
    jobs: Sequence[JobId],
    happened: Iterable[Event],
    *,
    by: Owner | None = None,
) -> dict[JobId, JobState]:
    """Return the states of an active submission's jobs, without jobs that have ended.

    ``by`` is their owner, by default the submission's own agent.
    """
    owner = by or Agent(submission)
    waiting = JobState(state=State.QUEUED, reason="waits for its turn", by=owner)
    known = dict.fromkeys(jobs, waiting)
    phases = Phases()
    for event in happened:
        phases.add(event)
        if event.kind == "agent-start":
            known = dict.fromkeys(jobs, waiting)
        elif event.kind == "agent-end":  # the agent holds its lock a moment longer
            known = {}
        elif event.kind == "skip" or event.ends_job:
            known.pop(event.job, None)
        elif event.kind == "start" and event.job not in phases.failed:
            since = known.get(event.job, waiting).since or event.time_s
            known[event.job] = JobState(
                state=State.RUNNING, reason=event.phase or "", by=owner, since=since
            )
        elif event.kind == "wait" and event.job in known:
            reason = f"another process has it ({event.because})"
            known[event.job] = JobState(state=State.QUEUED, reason=reason, by=owner)
    return {
        job: replace(known[job], reason=phases.progress(job) or known[job].reason)
        for job in jobs
        if job in known
    }
