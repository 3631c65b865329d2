"""The runs that a job waits for, and the needs of a Lab with these runs as nodes (gates)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx import graph
from repx.model import DependencyType
from repx.status import GATE

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from repx.model import Job, JobId, Lab, RunName


HARD: Final = frozenset((DependencyType.HARD,))
ANY: Final = frozenset(DependencyType)


def gated(
    lab: Lab, known: Container[JobId], kinds: Container[DependencyType] = HARD
) -> Mapping[str, tuple[str, ...]]:
    """Return the Lab's needs, with gates for runs that jobs wait for, except ``known`` jobs.

    A run's gate needs the run's final jobs, which no other job of the run needs.
    """
    if not any(run.dependencies for run in lab.runs.values()):
        return lab.needs
    needs: dict[str, tuple[str, ...]] = dict(lab.needs)
    run_of = primary_runs(lab)
    for name, run in run_of.items():
        if name in known or not lab.runs[run].dependencies:
            continue
        found = upstream_runs(lab, lab.jobs[name], run_of)
        runs = [upstream for upstream, kind in found.items() if kind in kinds]
        needs[name] += tuple(f"{GATE}{upstream}" for upstream in runs)
        for upstream in runs:
            if f"{GATE}{upstream}" not in needs:
                needs[f"{GATE}{upstream}"] = graph.finals(lab.needs, lab.runs[upstream].jobs)
    return needs


def primary_runs(lab: Lab) -> dict[JobId, RunName]:
    """Return each job's primary run: its first run without dependencies, else its first run."""
    run_of: dict[JobId, RunName] = {}
    for run in sorted(lab.runs.values(), key=lambda run: bool(run.dependencies)):
        for job in run.jobs:
            run_of.setdefault(job, run.name)
    return run_of


def upstream_runs(
    lab: Lab, job: Job, run_of: Mapping[JobId, RunName]
) -> dict[RunName, DependencyType]:
    """Return the runs a job waits for: those of its inputs and, for first jobs, its run's.

    A first job needs no other job with the same primary run.
    """
    run = run_of[job.id]
    if not lab.runs[run].dependencies:
        return {}
    found = {
        source.source_run: source.dependency_type or DependencyType.HARD
        for source in job.entry.inputs
        if source.source_run is not None and source.source_run in lab.runs
    }
    if not any(run_of[need] == run for need in job.needs):
        found = {**lab.runs[run].dependencies, **found}
    found.pop(run, None)
    return found


def hard_upstreams(lab: Lab, job: Job, run_of: Mapping[JobId, RunName]) -> list[RunName]:
    """Return the runs that must succeed before a job starts."""
    upstreams = upstream_runs(lab, job, run_of)
    return [name for name, kind in upstreams.items() if kind is DependencyType.HARD]
