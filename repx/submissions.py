"""The submission folders of a store: their ids, plans and events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
    unmarked: Mapping[JobId, str] = field(default_factory=dict)

    @property
    def ends_job(self) -> bool:
        """Return whether the job's last phase ended well, or any of its phases failed."""
        return self.kind == "end" and (not self.ok or self.phase in (None, "gather"))


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of complete lines; skip a line cut off by a full disk."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
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
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def events(store: Store, submission: str) -> list[Event]:
    """Return the events of a submission so far."""
    text = store.read_text(f"{FOLDER}/{submission}/events.jsonl") or ""
    return list(parse_events(text.splitlines()))


def agent_lock(submission: str) -> str:
    """Return the key of the lock of a submission's local scheduler; its content is ``HOST PID``."""
    return f"{FOLDER}/{submission}/agent.lock"


def active(store: Store) -> list[str]:
    """Return the submissions that a local scheduler works on now: it holds their lock."""
    return [name for name in ids(store) if store.locked(agent_lock(name))]


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
    for event in happened:
        if event.kind == "start" and event.job in known:
            before = known[event.job]
            known[event.job] = JobState(
                state=State.RUNNING,
                reason=event.phase or "",
                by=owner,
                since=before.since or event.time_s,
            )
        elif event.kind == "wait" and event.job in known:
            reason = f"another process has it ({event.because})"
            known[event.job] = JobState(state=State.QUEUED, reason=reason, by=owner)
        elif event.kind == "skip" or event.ends_job:
            known.pop(event.job, None)
        elif event.kind == "agent-start":
            known = dict.fromkeys(jobs, waiting)
        elif event.kind == "agent-end":  # the agent holds its lock a moment longer
            known = {}
    return known
