"""Declared outputs that were deleted after their job ended, and the jobs that can remake them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from repx import graph, launch
from repx.model import SELF, STEP_PREFIX
from repx.store import FAIL, SUCCESS, as_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from repx.model import Job, JobId, Lab
    from repx.store import Store

_STEP_FAILED: Final = re.compile(r"step (?P<name>.+) of branch (?P<branch>\d+) failed", re.DOTALL)


def outputs(
    store: Store, jobs: Iterable[Job], *, unchecked: bool = False
) -> dict[JobId, tuple[str, ...]]:
    """Return the names of deleted outputs, by succeeded job.

    Takes at most two round trips for any number of jobs. Outputs that a target allowed to be
    missing do not count. RepX 0.5 does not check outputs and leaves an empty marker: its jobs
    count only if ``unchecked``.
    """
    declared = {job.id: launch.outputs(job.final, f"outputs/{job.id}/out") for job in jobs}
    there = store.present([key for keys in declared.values() for key in keys.values()])
    absent = {
        job: names
        for job, keys in declared.items()
        if (names := [name for name, key in keys.items() if key not in there])
    }
    never = _never_there(store, absent, unchecked=unchecked)
    found = {job: tuple(n for n in absent[job] if n not in names) for job, names in never.items()}
    return {job: names for job, names in found.items() if names}


def inputs(
    store: Store, lab: Lab, jobs: Iterable[Job], kept: Collection[JobId]
) -> dict[JobId, tuple[str, ...]]:
    """Return the deleted outputs of ``kept`` results that the jobs will read, by kept job."""
    kept = frozenset(kept)
    read: dict[JobId, set[str]] = {}
    for job in jobs if kept else ():
        for executable in job.executables.values():
            for source in executable.inputs:
                if source.job_id in kept and source.job_id and source.source_output:
                    read.setdefault(source.job_id, set()).add(source.source_output)
    found = outputs(store, (lab.jobs[job] for job in read), unchecked=True) if read else {}
    wanted = {job: tuple(n for n in names if n in read[job]) for job, names in found.items()}
    return {job: names for job, names in wanted.items() if names}


def of_runs(
    store: Store, lab: Lab, jobs: Iterable[Job], running: Collection[JobId]
) -> dict[JobId, tuple[str, ...]]:
    """Return, of the last jobs of runs that jobs read as a whole, the outputs that are gone.

    Outputs of ``running`` jobs do not count, since these jobs make them again.
    """
    runs = {source.source_run for job in jobs for source in job.entry.inputs if source.source_run}
    read = {
        job
        for run in runs & lab.runs.keys()
        for job in graph.finals(lab.needs, lab.runs[run].jobs)
        if job not in running
    }
    return outputs(store, (lab.jobs[job] for job in sorted(read))) if read else {}


def _never_there(
    store: Store, jobs: Collection[JobId], *, unchecked: bool
) -> dict[JobId, Collection[str]]:
    """Return the outputs that each job did not write, for the jobs whose marker is known."""
    keys = {job: f"outputs/{job}/repx/{SUCCESS}" for job in jobs}
    markers = store.read_many(list(keys.values()))
    said = {job: as_object(markers[key]) for job, key in keys.items() if key in markers}
    return {job: _names(marker) for job, marker in said.items() if marker or unchecked}


def _names(marker: Mapping[str, object]) -> Collection[str]:
    names = marker.get("missing")
    return names if isinstance(names, list) else ()


def makers(store: Store, lab: Lab, failed: Mapping[JobId, str]) -> dict[JobId, JobId]:
    """Return the job whose output is gone, by job that failed for this missing input.

    ``failed`` has the reasons. The store is only read if a reason may be a missing input.
    """
    found = {job: maker for job, why in failed.items() if (maker := _maker(lab.jobs[job], why))}
    phases = {key: job for job, why in failed.items() if (key := _phase_record(job, why))}
    for key, content in store.read_many(list(phases)).items():
        job = phases[key]
        if maker := _maker(lab.jobs[job], str(as_object(content).get("reason"))):
            found[job] = maker
    if not found:
        return {}
    makers = [lab.jobs[maker] for maker in set(found.values())]
    gone = outputs(store, makers, unchecked=True)
    return {job: maker for job, maker in found.items() if maker in gone}


def _phase_record(job: JobId, reason: str) -> str | None:
    """Return the key of the record of the phase that made a scatter-gather job fail."""
    step = _STEP_FAILED.fullmatch(reason)
    if step is not None:
        return f"outputs/{job}/branch-{step['branch']}/{STEP_PREFIX}{step['name']}/repx/{FAIL}"
    return f"outputs/{job}/scatter/repx/{FAIL}" if reason == "scatter failed" else None


def _maker(job: Job, reason: str) -> JobId | None:
    """Return the job that makes the input named in a reason."""
    for executable in job.executables.values():
        for source in executable.inputs:
            made = source.job_id not in (None, SELF)
            if made and reason.startswith(f"missing input: {source.target} ("):
                return source.job_id
    return None
