"""Results that stand on a job which has run again since: who they are, kept in the store.

Before jobs run on which results stand, ``stale/<submission>.json`` notes their markers and those
of the results. A job is stale while its own marker is still that one and the marker of something it
stands on is another. No clock is asked, and where there never were such results there is nothing
to read.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from repx import graph, waiting
from repx.places import look
from repx.status import JobState, State
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from repx.model import JobId, Lab
    from repx.plan import Plan
    from repx.store import Store

log = logging.getLogger(__name__)

FOLDER: Final = look.STALE

Record: TypeAlias = "Mapping[str, Mapping[JobId, str]]"  # jobs, because: markers by job
_READ: Final[dict[tuple[str, str], Record]] = {}  # by place and path


def note(store: Store, lab: Lab, made: Plan, submission: str) -> None:
    """Note, before a plan starts, what will stand on jobs that run again; drop what is settled."""
    before = _records(store)
    markers = _markers(store, (job for record in before.values() for job in record["jobs"]))
    settled = [
        key
        for key, record in before.items()
        if all(markers.get(job) != text for job, text in record["jobs"].items())
    ]
    if settled:
        store.remove(*settled)
    if made.outdated:
        above = graph.closure(waiting.gated(lab, (), waiting.ANY), made.outdated)
        again = [task.job.id for task in made.tasks if task.job.id in above]
        markers = _markers(store, (*again, *made.outdated))
        record = {
            "jobs": {job: markers[job] for job in made.outdated if job in markers},
            "because": {job: markers.get(job, "") for job in again},
        }
        store.write(f"{FOLDER}/{submission}.json", json.dumps(record).encode())


def states(store: Store, lab: Lab, reported: Mapping[JobId, JobState]) -> dict[JobId, JobState]:
    """Return the states of the jobs that are stale, of those that were reported as succeeded."""
    return {
        job: JobState(state=State.STALE, reason=culprit)
        for job, culprit in culprits(store, lab).items()
        if job in reported and reported[job].state is State.SUCCEEDED
    }


def culprits(store: Store, lab: Lab, jobs: Collection[JobId] | None = None) -> dict[JobId, JobId]:
    """Return jobs of a Lab whose results are of before, each with a job that ran again since.

    Where ``jobs`` are given, the others are not looked at.
    """
    records = _records(store)
    asked = _noted(records, "jobs", lab.jobs if jobs is None else jobs)
    if not asked:
        return {}
    needs = waiting.gated(lab, (), waiting.ANY)
    above = graph.closure(needs, asked)
    markers = _markers(store, asked | _noted(records, "because", above))
    unchanged, changed = set(), set()
    for record in records.values():
        mine, again = record["jobs"], record["because"]
        unchanged |= {job for job in asked & mine.keys() if markers.get(job) == mine[job]}
        changed |= {job for job in above & again.keys() if markers.get(job, "") != again[job]}
    around = {node: needs[node] for node in above}
    culprit = graph.downstream(around, changed)
    return {job: culprit[job] for job in unchanged & culprit.keys()}


def _noted(records: Mapping[str, Record], part: str, jobs: Collection[JobId]) -> set[JobId]:
    """Return those of the jobs that records name. Cheap for one job and for all of them."""
    return {job for record in records.values() for job in jobs if job in record[part]}


def _records(store: Store) -> dict[str, Record]:
    """Return the records of a store. One that was read before is not read again: none changes."""
    keys = [f"{FOLDER}/{name}" for name in store.names(FOLDER) if name.endswith(".json")]
    known = {key: (store.place.name, store.path(key)) for key in keys}
    for key, content in store.read_many([key for key in keys if known[key] not in _READ]).items():
        record = _parsed(content)
        if record is None:
            log.warning("cannot read %s; passed over", store.path(key))
        else:
            _READ[known[key]] = record
    return {key: _READ[name] for key, name in known.items() if name in _READ}


def _parsed(content: bytes) -> Record | None:
    try:
        record: Any = json.loads(content)
        return {part: dict(record[part]) for part in ("jobs", "because")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _markers(store: Store, jobs: Iterable[JobId]) -> Mapping[JobId, str]:
    """Return the text of each job's success: another one means that the job ran again."""
    keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in jobs}
    texts = store.read_many(list(keys))
    return {keys[key]: text.decode(errors="replace") for key, text in texts.items()}
