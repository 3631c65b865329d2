"""What an answer of squeue tells of the jobs of submissions. Pure."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from repx.schedulers.contract import Answer
from repx.schedulers.slurm import queue
from repx.schedulers.slurm.folder import AGAIN, CONTINUE, Known
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
    """Beside the jobs' states, what the queue told of each submission word by word."""

    entries: Mapping[str, Mapping[Key, Entry]] = field(default_factory=dict)
    answered: bool = True


def read(known: Sequence[Known], said: Completed) -> QueueAnswer:
    """Return what the queue tells; where it did not answer, every job is taken as queued."""
    entries = queue.parse_squeue(said.code, said.stdout, said.stderr)
    if entries is None:
        log.warning(
            "Slurm does not answer; what was submitted is taken as queued: %s", said.stderr.strip()
        )
        unanswered = {job: state for each in known for job, state in _unanswered(each).items()}
        return QueueAnswer(jobs=unanswered, answered=False)
    found: dict[JobId, JobState] = {}
    own = _by_submission(entries)
    now = time.time()
    for each in known:
        found |= reported(each, own[each.submission], now=now)
    over = {each.submission for each in known if not _any_alive(own[each.submission])}
    return QueueAnswer(jobs=found, ended=frozenset(over), entries=own)


def joined(told: Sequence[QueueAnswer]) -> QueueAnswer:
    """Return the answers of several clusters as one."""
    return QueueAnswer(
        jobs={job: state for each in told for job, state in each.jobs.items()},
        ended=frozenset().union(*(each.ended for each in told)),
        entries={name: own for each in told for name, own in each.entries.items()},
        answered=all(each.answered for each in told),
    )


def _by_submission(entries: Mapping[Key, Entry]) -> dict[str, dict[Key, Entry]]:
    """Return the jobs of each submission: those with its comment, whatever ids it wrote down."""
    found: dict[str, dict[Key, Entry]] = defaultdict(dict)
    for key, entry in entries.items():
        ours, _, rest = entry.comment.partition(":")
        if ours == "repx":
            found[rest.partition(":")[0]][key] = entry
    return found


def adopted(known: Known, entries: Mapping[Key, Entry]) -> Known:
    """Return what is known with the ids that Slurm has and submit.sh could not write down."""
    calls = {row.call for row in known.rows} - known.ids.keys()
    found = {
        name: array
        for (array, _), entry in entries.items()
        if (name := entry.comment.removeprefix(known.prefix)) in calls and entry.word != "CANCELLED"
    }
    return replace(known, ids={**known.ids, **found}) if found else known


def reported(known: Known, entries: Mapping[Key, Entry], *, now: float) -> dict[JobId, JobState]:
    """Return what the queue tells of a submission's jobs; nothing of those it does not know."""
    known = adopted(known, entries)
    found: dict[JobId, JobState] = {}
    parts = _parts(known, entries)
    continued = (known.ids.get(CONTINUE, ""), None)
    waiting = continued in entries and entries[continued].state in ALIVE
    refused = continued in entries and entries[continued].word == "FAILED"
    tried = any_watcher(known, entries)
    alive = Counter(id_ for (id_, _), entry in entries.items() if entry.queued)
    for job, (by, each) in parts.items():
        if told := [entry for entry in each if entry is not None]:
            best = min(told, key=lambda entry: _RANK[entry.state])
            state = _of_entry(best, by, now) if by or waiting else _halfway(known)
            if tried and best.word == "PENDING" and best.state is State.SKIPPED:
                state = JobState(state=State.QUEUED, reason="waits for another attempt", by=by)
            if state.by and state.state in ALIVE and job in known.children:
                state = replace(state, reason=_progress(known.children[job], alive))
            found[job] = replace(state, forced=job in known.forced)
        elif waiting and not by:
            reason = f"waits for room in the queue; Slurm job {continued[0]} submits it"
            forced = job in known.forced
            found[job] = JobState(state=State.QUEUED, reason=reason, forced=forced)
        elif refused and not by:  # its log, found by this name, has Slurm's words
            found[job] = JobState(state=State.LOST, reason="not submitted", by=NOT_SUBMITTED)
    return found


def _progress(children: Mapping[str, int], alive: Mapping[str, int]) -> str:
    """Return how many steps of a scatter-gather job have ended, of those that were submitted."""
    total = sum(children.values())
    return f"{total - sum(alive[id_] for id_ in children)} of {total} steps ended"


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
        id_ = known.id_of(row)
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
            paused = "suspended" if entry.word in ("SUSPENDED", "STOPPED") else ""
            return JobState(
                state=State.RUNNING, reason=paused, by=by, since=since, where=entry.node
            )
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
            forced=row.job in known.forced,
        )
        for row in known.rows
        if row.call in known.ids
    }


def any_watcher(known: Known, entries: Mapping[Key, Entry]) -> bool:
    """Return whether some Slurm job is there that submits again what fails."""
    return any(
        entry.comment.endswith(AGAIN) and entry.state in ALIVE
        for entry in (entries.values() if known.tries else ())
    )


def _any_alive(entries: Mapping[Key, Entry]) -> bool:
    return any(entry.queued for entry in entries.values())
