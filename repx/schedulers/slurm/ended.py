"""How jobs ended: what the queue forgets is asked of accounting, found in logs, written down."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from repx import submissions
from repx.errors import CommandError, CommandNotFoundError, StorageError
from repx.schedulers.numbers import number
from repx.schedulers.slurm import answers, attempts, folder, queue, reasons
from repx.schedulers.slurm.answers import QueueAnswer
from repx.schedulers.slurm.folder import ENDED, UNSEEN
from repx.status import ALIVE, JobState, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.model import JobId
    from repx.schedulers.contract import Answer
    from repx.schedulers.slurm.folder import Known
    from repx.schedulers.slurm.queue import Entry, Key
    from repx.store import Store

_ASK_S: Final = 60
_LOOK_AGAIN_S: Final = 600  # a controller that has lost its state may get it back
_STATES: Final = frozenset(map(str, State))


def told(store: Store, known: Sequence[Known], answer: Answer) -> dict[JobId, JobState]:
    """Return the states, with reasons from logs, bundles and, of what has ended, accounting."""
    found: dict[JobId, JobState] = {}
    entries = answer.entries if isinstance(answer, QueueAnswer) else {}
    for each in known:
        states = {row.job: answer.jobs[row.job] for row in each.rows if row.job in answer.jobs}
        states |= _marked_meanwhile(store, states)
        if each.submission in answer.ended:
            found |= _closed(store, each, states, entries.get(each.submission, {}))
        else:
            if each.unseen:
                with suppress(StorageError):
                    store.remove(_key(each, UNSEEN))
            own = entries.get(each.submission, {})
            states |= _missing(store, each, states, own)
            states |= attempts.expected(store, each, states, own)
            found |= reasons.within_bundles(store, each, reasons.explained(store, each, states))
    return found


def _key(known: Known, name: str) -> str:
    return f"{submissions.FOLDER}/{known.submission}/{name}"


def _closed(
    store: Store, known: Known, states: Mapping[JobId, JobState], entries: Mapping[Key, Entry]
) -> dict[JobId, JobState]:
    """Return how the jobs of a submission ended that has nothing in the queue any more.

    It is closed, and not asked about again, when a marker, the queue or accounting told the end
    of each job, or when the cluster that had them was asked again later and still knew none.
    """
    known = answers.adopted(known, entries)
    found = dict(states)
    dark = _without_marker(store, [row.job for row in known.rows if row.job not in found])
    if dark:
        recalled = answers.reported(known, _recall(store, known, entries), now=0)
        found |= {job: recalled[job] for job in dark & recalled.keys()}
    submitted = {row.job: known.awaited(row) for row in known.rows if row.call in known.ids}
    unknown = [job for job in dark - found.keys() if job in submitted]
    if unknown and (reason := _unaskable(store, known)):
        return found | {
            job: JobState(state=State.QUEUED, reason=reason, by=submitted[job]) for job in unknown
        }
    for job in unknown:
        reason = "Slurm no longer knows it"
        found[job] = JobState(state=State.LOST, reason=reason, by=submitted[job])
    found = reasons.explained(store, known, found)
    complete = all(row.call in known.ids for row in known.rows)
    if (complete and not unknown) or _was_unseen_before(store, known):
        _write_down(store, known, found)
    return found


def _marked_meanwhile(store: Store, states: Mapping[JobId, JobState]) -> dict[JobId, JobState]:
    """Return the jobs that left a marker after the look at markers and before that at the queue."""
    ended = queue.REASONS["COMPLETED"]
    doubtful = [job for job, said in states.items() if said.reason == ended]
    keys = {f"outputs/{job}/repx/SUCCESS": job for job in _without_marker(store, doubtful)}
    found = store.read_many(list(keys)) if keys else {}
    return {keys[key]: JobState(state=State.SUCCEEDED) for key in found}


def _missing(
    store: Store, known: Known, states: Mapping[JobId, JobState], entries: Mapping[Key, Entry]
) -> dict[JobId, JobState]:
    """Return the elements that Slurm has forgotten while it still has others of their array."""
    arrays = {array for array, _ in entries}
    rows = {
        row.job: row for row in known.rows if row.job not in states and known.id_of(row) in arrays
    }
    dark = _without_marker(store, list(rows))
    if not dark:
        return {}
    recalled = answers.reported(known, _recall(store, known, entries), now=0)
    gone = {
        job: JobState(
            state=State.LOST, reason="no longer in the queue", by=known.awaited(rows[job])
        )
        for job in dark
    }
    return gone | {job: recalled[job] for job in dark & recalled.keys()}


def _without_marker(store: Store, jobs: Sequence[JobId]) -> set[JobId]:
    return set(jobs) - store.markers(jobs).keys() if jobs else set()


def _unaskable(store: Store, known: Known) -> str:
    """Return why the queue that was asked cannot know the jobs; nothing where it can."""
    if not known.home:
        return ""
    config = _said(store, queue.CONFIG)
    if not known.cluster and queue.parse_cluster(config) != known.home:
        return f"cluster {known.home} has it, which cannot be asked from here"
    hidden = known.user and queue.hides_jobs(config)
    if hidden and _said(store, queue.WHO).strip() not in ("root", known.user):
        return f"user {known.user} has it, whose jobs Slurm hides from you"
    return ""


def _said(store: Store, words: tuple[str, ...]) -> str:
    """Return what a command says, nothing where it cannot be run."""
    with suppress(CommandError, CommandNotFoundError):
        return store.place.run(words, timeout_s=_ASK_S, check=False).stdout
    return ""


def _was_unseen_before(store: Store, known: Known) -> bool:
    """Return whether this machine looked in vain a while ago, too; note that it does now."""
    first, _, host = known.unseen.partition(" ")
    seen = number(first)
    if host == os.uname().nodename and seen is not None:
        return time.time() - seen > _LOOK_AGAIN_S
    with suppress(StorageError):  # looking needs no right to write
        note = f"{int(time.time())} {os.uname().nodename}"
        store.write(_key(known, UNSEEN), note.encode())
    return False


def _write_down(store: Store, known: Known, found: Mapping[JobId, JobState]) -> None:
    """Close a submission: keep how its jobs without a marker ended, since Slurm forgets it.

    The first line says how long submitted.tsv was then: if it has grown, this is out of date.
    """
    ended = [job for job, state in found.items() if state.state not in ALIVE]
    lines = "".join(
        f"{job}\t{found[job].state}\t{found[job].reason}\n"
        for job in sorted(_without_marker(store, ended))
    )
    with suppress(StorageError):
        store.write(_key(known, ENDED), f"{known.size}\n{lines}".encode())


def _recall(store: Store, known: Known, entries: Mapping[Key, Entry]) -> dict[Key, Entry]:
    """Ask accounting for what the queue has forgotten; elements of arrays go one by one."""
    arrays = {array for array, _ in entries}
    keys = {(known.ids[row.call], row.index) for row in known.rows if row.call in known.ids}
    ids = sorted({id_ for id_, _ in keys - entries.keys()} | (known.all_ids - arrays))
    if not ids:
        return {}
    words = queue.sacct_argv(ids, _day_before(known.submission), known.cluster)
    try:
        answer = store.place.run(words, timeout_s=_ASK_S, check=False)
    except (CommandError, CommandNotFoundError):
        return {}
    told = queue.parse_sacct(answer.code, answer.stdout)
    # What accounting takes for alive it has not heard the end of: the queue would know it.
    return {key: entry for key, entry in told.items() if entry.state not in ALIVE}


def _day_before(submission: str) -> str:
    """Return a day before which nothing was submitted, wherever sacct's clock stands."""
    with suppress(ValueError):
        day = date.fromisoformat(f"{submission[:4]}-{submission[4:6]}-{submission[6:8]}")
        return (day - timedelta(days=1)).isoformat()
    return "now-30days"


def record(store: Store, submission: str) -> str | None:
    """Return what ``_write_down`` wrote, without its first line; None where it is out of date."""
    where = f"{submissions.FOLDER}/{submission}"
    if store.read(f"{where}/submitted.tsv") is None or folder.is_open(store, submission):
        return None
    return (store.read_text(f"{where}/{ENDED}") or "").partition("\n")[2]


def remembered(store: Store) -> dict[JobId, JobState]:
    """Return how jobs ended that left no marker, as it was seen then."""
    found: dict[JobId, JobState] = {}
    keys = [f"{submissions.FOLDER}/{name}/{ENDED}" for name in submissions.ids(store)]
    keys.insert(0, submissions.RECORD)
    for content in store.read_many(keys).values():
        for line in content.decode(errors="replace").splitlines():
            job, _, rest = line.partition("\t")
            state, _, reason = rest.partition("\t")
            if state in _STATES:
                found[job] = JobState(state=State(state), reason=reason)
    return found
