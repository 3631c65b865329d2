"""Check that the parts of a Lab fit together: jobs, outputs, steps, runs and executables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import graph, progress
from repx.errors import LabError, did_you_mean
from repx.lab.files import Kind
from repx.lab.jobs import glance
from repx.model import SELF, STEP_PREFIX, DependencyType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.lab.fields import Object
    from repx.lab.files import LabFiles
    from repx.lab.jobs import Jobs
    from repx.model import Input, Job, JobId, Lab, RunName

_SCATTER_GATHER: Final = ("scatter", "gather")

# In a larger run, checks that concern a single job wait until the job is used.
_FEW_JOBS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Everything that the jobs of a Lab may refer to.

    ``documents`` and ``jobs`` are the same jobs, as JSON and as objects. ``legacy`` are jobs of
    the Lab that are never scheduled. ``listed`` are the files of the manifest.
    """

    files: LabFiles
    listed: Mapping[str, str]
    documents: Mapping[JobId, Object]
    jobs: Jobs
    legacy: frozenset[JobId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The needs of one run's jobs: ``needs`` are jobs by job, ``runs`` the runs of all."""

    needs: Mapping[JobId, tuple[JobId, ...]]
    runs: Mapping[RunName, DependencyType]


def links(scope: Scope, members: Mapping[JobId, Object], place: str) -> Links:
    """Return the needs of one run's jobs. Raises LabError for the first job that could not run.

    ``place`` names the run's metadata in errors.
    """
    needs: dict[JobId, tuple[JobId, ...]] = {}
    runs: dict[RunName, DependencyType] = {}
    many = len(members) > _FEW_JOBS
    for job_id in progress.through(members, "reading jobs:"):
        found = glance(scope.documents, job_id, scope.listed) if many else None
        if found is None:
            job = scope.jobs[job_id]
            problem = _problem(scope, job)
            if problem is not None:
                raise LabError(f"{place}: job {job_id}: {problem}")
            found = job.needs
            for run, kind in _source_runs(job):
                if runs.get(run) is not DependencyType.HARD:
                    runs[run] = kind
        needs[job_id] = found
    return Links(needs=needs, runs=runs)


def check(lab: Lab, files: LabFiles) -> None:
    """Raise LabError for cycles, groups of unknown runs, and missing images."""
    _check_acyclic(lab, files)
    for run in lab.runs.values():
        if run.image is not None and files.kind(files.resolve(run.image)) is None:
            raise LabError(f"{files.describe(run.metadata)}: no image {run.image} in the Lab")
    for group, runs in lab.groups.items():
        for index, name in enumerate(runs):
            if name not in lab.runs:
                where = f"{files.describe(lab.metadata)}: field `groups.{group}[{index}]`"
                hint = did_you_mean(name, lab.runs)
                raise LabError(f"{where}: there is no run '{name}'", hint=hint)


def _source_runs(job: Job) -> list[tuple[RunName, DependencyType]]:
    return [
        (source.source_run, source.dependency_type or DependencyType.HARD)
        for executable in job.executables.values()
        for source in executable.inputs
        if source.source_run is not None
    ]


def _problem(scope: Scope, job: Job) -> str | None:
    """Return why a job could not run, or None if it could."""
    if job.is_scatter_gather and job.executables:
        problem = _steps_problem(job)
        if problem is not None:
            return problem
    for name, executable in job.executables.items():
        path = executable.path
        if path not in scope.listed and scope.files.kind(scope.files.resolve(path)) != Kind.FILE:
            return f"executable '{name}' is missing: {path}"
        for source in executable.inputs:
            problem = _source_problem(scope, job, source)
            if problem is not None:
                return problem
    return None


def _source_problem(scope: Scope, job: Job, source: Input) -> str | None:
    if source.job_id is None:
        return None
    producer = scope.jobs.get(job.id if source.job_id == SELF else source.job_id)
    if producer is None:
        known = source.job_id in scope.legacy
        reason = "of a stage type that nothing runs" if known else "not in the Lab"
        return f"input '{source.target}' needs job {source.job_id}, which is {reason}"
    if source.source_output is None:
        return None
    in_phases = "scatter" if source.job_id == SELF else "gather"
    name = in_phases if producer.is_scatter_gather else "main"
    if name not in producer.executables:
        return f"input '{source.target}' needs job {producer.id}, which has no executable '{name}'"
    outputs = producer.executables[name].outputs
    if isinstance(outputs.get(source.source_output), str):
        return None
    return (
        f"input '{source.target}' needs output '{source.source_output}' of job {producer.id}, "
        f"whose outputs are: {', '.join(outputs) or 'none'}"
    )


def _steps_problem(job: Job) -> str | None:
    absent = [name for name in _SCATTER_GATHER if name not in job.executables]
    deps = {
        name.removeprefix(STEP_PREFIX): executable.deps
        for name, executable in job.executables.items()
        if name.startswith(STEP_PREFIX)
    }
    if absent or not deps:
        return f"has no executable '{absent[0] if absent else 'step-*'}'"
    for name, wanted in deps.items():
        unknown = [step for step in wanted if step not in deps]
        if unknown:
            return f"step '{name}' depends on '{unknown[0]}', which is no step"
    cycle = graph.find_cycle(deps)
    if cycle:
        return f"steps depend on each other in a circle: {' -> '.join(cycle)}"
    sinks = graph.finals(deps, deps)
    if len(sinks) > 1:
        return f"several steps that no other depends on: {', '.join(sinks)}"
    return None


def _check_acyclic(lab: Lab, files: LabFiles) -> None:
    cycle = graph.find_cycle(lab.needs)
    if cycle:
        run = next(run for run in lab.runs.values() if cycle[0] in run.jobs)
        place = files.describe(run.metadata)
        raise LabError(f"{place}: jobs need each other in a circle: {' -> '.join(cycle)}")
    cycle = graph.find_cycle({name: tuple(run.dependencies) for name, run in lab.runs.items()})
    if cycle:
        place = files.describe(lab.runs[cycle[0]].metadata)
        raise LabError(f"{place}: runs depend on each other in a circle: {' -> '.join(cycle)}")
