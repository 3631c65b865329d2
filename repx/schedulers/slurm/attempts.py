"""What failed and is about to be submitted again counts as queued. Says the same as again.sh."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from repx.schedulers.slurm import answers
from repx.status import ALIVE, JobState, State
from repx.target import RetryReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.model import JobId
    from repx.schedulers.slurm.folder import Known, Row
    from repx.schedulers.slurm.queue import Entry, Key
    from repx.store import Store

_BY_WORD: Final = {
    "OUT_OF_MEMORY": RetryReason.OOM,
    "TIMEOUT": RetryReason.TIMEOUT,
    "NODE_FAIL": RetryReason.NODE_FAIL,
    "BOOT_FAIL": RetryReason.NODE_FAIL,
    "PREEMPTED": RetryReason.PREEMPTED,
}
_BY_MARKER: Final = {
    "out of memory": RetryReason.OOM,
    "timeout": RetryReason.TIMEOUT,
    "preempted": RetryReason.PREEMPTED,
    "cancelled": None,
}


def expected(
    store: Store, known: Known, found: Mapping[JobId, JobState], entries: Mapping[Key, Entry]
) -> dict[JobId, JobState]:
    """Return the jobs that failed and are submitted again by a Slurm job that waits to do so."""
    if not answers.any_watcher(known, entries):
        return {}
    rows = [row for row in known.rows if _may_be(known, row, found, entries)]
    marks = _marks(store, [row.job for row in rows])
    return {row.job: said for row in rows if (said := _said(known, row, marks, entries))}


def _may_be(
    known: Known, row: Row, found: Mapping[JobId, JobState], entries: Mapping[Key, Entry]
) -> bool:
    behind = entries.get((known.behind(row), None))
    if row.call not in known.tries or behind is None or behind.state not in ALIVE:
        return False
    state = found.get(row.job)
    return state is None or state.state not in ALIVE


def _marks(store: Store, jobs: list[JobId]) -> dict[JobId, Mapping[str, Any]]:
    """Return the markers of those that failed."""
    keys = {f"outputs/{job}/repx/FAIL": job for job in jobs}
    found = store.read_many(list(keys)) if keys else {}
    marks: dict[JobId, Mapping[str, Any]] = {}
    for key, content in found.items():
        try:
            mark = json.loads(content)
        except (ValueError, RecursionError):
            continue
        if isinstance(mark, dict):
            marks[keys[key]] = mark
    return marks


def _said(
    known: Known, row: Row, marks: Mapping[JobId, Mapping[str, Any]], entries: Mapping[Key, Entry]
) -> JobState | None:
    """Return what to say of a job that failed for a reason that is tried again."""
    entry = entries.get((known.id_of(row), row.index))
    mark = marks.get(row.job, {})
    attempt = known.attempt(row)
    used = mark.get("attempt", 0) if mark.get("submission") == known.submission else 0
    word = entry.word if entry else ""
    reason = _BY_WORD.get(word)
    if reason is None and used >= attempt:
        reason = _BY_MARKER.get(mark.get("reason", ""), RetryReason.EXIT)
    elif reason is None and word == "FAILED":
        reason = RetryReason.EXIT
    tries = known.tries[row.call]
    if reason is None or reason not in tries.on or max(used, attempt) > tries.n:
        return None
    why = f"{str(reason).replace('_', ' ')}; Slurm job {known.behind(row)} submits it again"
    return JobState(state=State.QUEUED, reason=why, by=known.awaited(row))
