"""Stale results: an upstream job has run again since. The store keeps records of them.

Before jobs run that have results downstream, ``stale/<submission>.json`` notes the markers of these
jobs and of the results. A job is stale while its own marker is unchanged and the marker of one of
its upstream jobs has changed. This needs no clock, and no reading if there never were such results.
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
_READ: Final[dict[tuple[str, str], Record]] = {}  # by target and path


def note(store: Store, lab: Lab, made: Plan, submission: str) -> None:
    """Record, before a plan starts, the results it makes stale; delete outdated records."""
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
    """Return the states of stale jobs among those that were reported as succeeded."""
    return {
        job: JobState(state=State.STALE, reason=culprit)
        for job, culprit in culprits(store, lab).items()
        if job in reported and reported[job].state is State.SUCCEEDED
    }


def culprits(store: Store, lab: Lab, jobs: Collection[JobId] | None = None) -> dict[JobId, JobId]:
    """Return the stale jobs of a Lab, each with an upstream job that ran again since.

    If ``jobs`` are given, only these are checked.
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
    """Return the jobs that records name, at little cost for one job or for all jobs."""
    return {job for record in records.values() for job in jobs if job in record[part]}


def _records(store: Store) -> dict[str, Record]:
    """Return the records of a store. Each is read once, since records never change."""
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
    """Return the text of each job's SUCCESS: a different text means that the job ran again."""
    keys = {f"outputs/{job}/repx/{SUCCESS}": job for job in jobs}
    texts = store.read_many(list(keys))
    return {keys[key]: text.decode(errors="replace") for key, text in texts.items()}
