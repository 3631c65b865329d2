"""Markers of ended jobs, read as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from repx import repx05
from repx.status import State
from repx.store import FAIL, SUCCESS, as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from repx.model import Job, JobId
    from repx.store import Store

T = TypeVar("T")

STATUSES: Final = (State.SUCCEEDED, State.STALE, State.FAILED, State.PENDING)
_ENDLESS_S: Final = 1e12  # some 30,000 years
OUTCOMES: Final = {SUCCESS: State.SUCCEEDED, FAIL: State.FAILED}
"""SUCCESS first: it wins when both exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The resources that a job asked for when it ran; None where nothing was asked."""

    cpus: int | None = None
    mem_bytes: int | None = None
    time_s: int | None = None
    gpus: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Read a marker's content."""
        return cls(
            cpus=_typed(content.get("cpus"), int),
            mem_bytes=_typed(content.get("mem"), int),
            time_s=_typed(content.get("time"), int),
            gpus=_typed(content.get("gpus"), int),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """How a job ended. Fields that the marker lacks are None: markers of RepX 0.5 are empty.

    ``start`` and ``end`` are seconds since the epoch, ``cpu_s`` seconds of processor time,
    ``rss_bytes`` the peak memory of the largest process, ``asked`` the resources of the job.
    """

    outcome: State
    reason: str = ""
    exit: int | None = None
    start: float | None = None
    end: float | None = None
    cpu_s: float | None = None
    rss_bytes: int | None = None
    asked: Asked | None = None
    host: str | None = None
    attempt: int | None = None
    scheduler: str | None = None

    @classmethod
    def of(cls, outcome: State, content: Mapping[str, Any]) -> Self:
        """Read a marker's content; a field of an unexpected type counts as absent."""
        return cls(
            outcome=outcome,
            reason=_typed(content.get("reason"), str) or "",
            exit=_typed(content.get("exit"), int),
            start=_seconds(content.get("start")),
            end=_seconds(content.get("end")),
            cpu_s=_seconds(content.get("cpu_s")),
            rss_bytes=_typed(content.get("rss_bytes"), int),
            asked=Asked.of(content) if content.keys() & {"cpus", "mem", "time"} else None,
            host=_typed(content.get("host"), str),
            attempt=_typed(content.get("attempt"), int),
            scheduler=_typed(content.get("scheduler"), str),
        )

    @property
    def duration_s(self) -> float | None:
        """Return the wall time in seconds; None when a time is missing or a clock was set back."""
        if self.start is None or self.end is None or self.end < self.start:
            return None
        return self.end - self.start


def read(store: Store, job: Job) -> Marker | None:
    """Return a job's marker, or None while the job has not ended."""
    name = store.mark(job.id)
    if name is not None:
        return Marker.of(OUTCOMES[name], store.marker(job.id, name))
    return _of_phases(store, [job]).get(job.id)


def outcomes(store: Store, jobs: Collection[Job]) -> dict[JobId, State]:
    """Return succeeded or failed for each job that has ended; does not read markers."""
    found = {job: OUTCOMES[name] for job, name in store.markers([j.id for j in jobs]).items()}
    failed = _of_phases(store, [job for job in jobs if job.id not in found])
    return found | dict.fromkeys(failed, State.FAILED)


def read_all(store: Store, jobs: Collection[Job]) -> dict[JobId, Marker]:
    """Return the markers of the jobs that have ended.

    A job of RepX 0.5 without a marker has failed if one of its steps has.
    """
    names = store.markers([job.id for job in jobs])
    keys = {job: f"outputs/{job}/repx/{name}" for job, name in names.items()}
    contents = store.read_many(list(keys.values()))
    found = {
        job: Marker.of(OUTCOMES[names[job]], as_object(contents.get(key)))
        for job, key in keys.items()
    }
    return found | _of_phases(store, [job for job in jobs if job.id not in found])


def _of_phases(store: Store, jobs: Collection[Job]) -> dict[JobId, Marker]:
    """Return markers for jobs without one, made from the markers of their failed steps."""
    several = [job.id for job in jobs if job.is_scatter_gather]
    failed = repx05.failed_phases(store, several)
    return {job: Marker(outcome=State.FAILED, reason=why) for job, why in failed.items()}


def _typed(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None


def _seconds(value: object) -> float | None:
    """Return a time in seconds, or None for a value that is no finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < _ENDLESS_S else None
