"""What an answer of squeue tells of the jobs of submissions. Pure."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from repx.schedulers.contract import Answer
from repx.schedulers.slurm import queue
from repx.schedulers.slurm.folder import CONTINUE, Known
from repx.schedulers.slurm.queue import REASONS
from repx.status import ALIVE, Batch, JobState, State
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.model import JobId
    from repx.places.command import Completed
    from repx.schedulers.slurm.queue import Entry, Key

log = logging.getLogger(__name__)

NOT_SUBMITTED: Final = Batch(system=SchedulerName.SLURM.value, id=CONTINUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAnswer(Answer):
    """Beside the jobs' states, what the queue told word by word."""

    entries: Mapping[Key, Entry] = field(default_factory=dict)


def read(known: Sequence[Known], said: Completed) -> QueueAnswer:
    """Return what the queue tells; where it did not answer, every job is taken as queued."""
    entries = queue.parse_squeue(said.code, said.stdout, said.stderr)
    if entries is None:
        log.warning("Slurm does not answer: %s", said.stderr.strip())
    found: dict[JobId, JobState] = {}
    over = set()
    now = time.time()
    for each in known:
        if entries is None:
            found |= _unanswered(each)
        else:
            found |= reported(each, entries, now=now)
            if not _any_alive(each, entries):
                over.add(each.submission)
    return QueueAnswer(jobs=found, ended=frozenset(over), entries=entries or {})


def reported(known: Known, entries: Mapping[Key, Entry], *, now: float) -> dict[JobId, JobState]:
    """Return what the queue tells of a submission's jobs; nothing of those it does not know."""
    found: dict[JobId, JobState] = {}
    parts = _parts(known, entries)
    continued = (known.ids.get(CONTINUE, ""), None)
    waiting = continued in entries and entries[continued].state in ALIVE
    refused = continued in entries and entries[continued].word == "FAILED"
    for job, (by, each) in parts.items():
        if told := [entry for entry in each if entry is not None]:
            best = min(told, key=lambda entry: _RANK[entry.state])
            found[job] = _of_entry(best, by, now) if by or waiting else _halfway(known)
        elif waiting and not by:
            reason = f"waits for room in the queue; Slurm job {continued[0]} submits it"
            found[job] = JobState(state=State.QUEUED, reason=reason)
        elif refused and not by:  # its log, found by this name, has Slurm's words
            found[job] = JobState(state=State.LOST, reason="not submitted", by=NOT_SUBMITTED)
    return found


# A job's state is that of its most active part.
_RANK: Final = {
    state: rank
    for rank, state in enumerate(
        (State.RUNNING, State.QUEUED, State.FAILED, State.LOST, State.SKIPPED)
    )
}


def _parts(
    known: Known, entries: Mapping[Key, Entry]
) -> dict[JobId, tuple[Batch | None, list[Entry | None]]]:
    """Return per job the id others wait for, and what is known of each of its parts."""
    children = defaultdict(list)
    for (array, _), entry in entries.items():
        children[array].append(entry)
    found: dict[JobId, tuple[Batch | None, list[Entry | None]]] = {}
    for row in known.rows:
        id_ = known.ids.get(row.call, "")
        before = found.get(row.job, (None, []))[1]
        # The last call that has the job is the one others wait for: gather comes after scatter.
        found[row.job] = (known.awaited(row), [*before, entries.get((id_, row.index))])
    for job, ids in known.children.items():
        if job in found:
            found[job][1].extend(
                entry for id_ in ids for entry in children[id_] if entry.state in ALIVE
            )
    return found


def _of_entry(entry: Entry, by: Batch | None, now: float) -> JobState:
    match entry.state:
        case State.RUNNING:
            since = now - entry.elapsed_s
            return JobState(state=State.RUNNING, by=by, since=since, where=entry.node)
        case State.QUEUED:
            return JobState(state=State.QUEUED, reason=entry.reason, by=by)
        case _:
            reason = REASONS.get(entry.word, entry.word)
            # A bundle fails with any of its jobs; what has no marker was skipped or cut off.
            inside = by is not None and by.bundle and entry.word == "FAILED"
            return JobState(state=State.LOST if inside else entry.state, reason=reason, by=by)


def _halfway(known: Known) -> JobState:
    """Return what to say of a scatter that is held for ever, since its gather is not there."""
    reason = f"held: submission {known.submission} stopped halfway; its submit.sh continues"
    return JobState(state=State.QUEUED, reason=reason)


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


def _any_alive(known: Known, entries: Mapping[Key, Entry]) -> bool:
    ids = known.all_ids
    return any(array in ids and entry.state in ALIVE for (array, _), entry in entries.items())
