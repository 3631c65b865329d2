"""Markers of single programs: a job's, or those of each phase of a scatter-gather job."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from repx.results.marker import OUTCOMES, Marker
from repx.store import as_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repx.model import Job, Phase
    from repx.store import Store


def ended(store: Store, jobs: Sequence[Job]) -> Iterator[tuple[Job, Phase, Marker]]:
    """Yield each program of the jobs that has ended, with its phase and its marker.

    Takes three round trips for any number of jobs.
    """
    marked = store.markers([job.id for job in jobs])
    scattered = [job for job in jobs if job.is_scatter_gather]
    below = store.glob(*_patterns(scattered)) if scattered else []
    keys = [f"outputs/{job}/repx/{name}" for job, name in marked.items()]
    contents = store.read_many([*keys, *below])
    of_job = {job.id: job for job in jobs}
    for key, content in contents.items():
        _, job_id, *folders, _, name = key.split("/")
        job = of_job[job_id]
        phase = _phase(job, folders)
        if phase is not None:
            yield job, phase, Marker.of(OUTCOMES[name], as_object(content))


def _patterns(jobs: Sequence[Job]) -> Iterator[str]:
    for job in jobs:
        for phase in job.phases:
            place = f"branch-*/{glob.escape(phase.name)}" if phase.per_branch else phase.name
            for name in OUTCOMES:
                yield f"outputs/{glob.escape(job.id)}/{place}/repx/{name}"


def _phase(job: Job, folders: Sequence[str]) -> Phase | None:
    """Return the phase whose marker is in these folders below a job's; the last for none."""
    phases = job.phases
    if not folders:
        return phases[-1]
    return next((phase for phase in phases if phase.name == folders[-1]), None)
