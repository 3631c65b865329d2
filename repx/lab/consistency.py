"""Whether the parts of a Lab fit together: jobs, outputs, steps, runs and executables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx import graph
from repx.errors import LabError, did_you_mean
from repx.lab.files import Kind
from repx.model import SELF, StageType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.lab.files import LabFiles
    from repx.model import Input, Job, JobId, Lab

_SCATTER_GATHER: Final = ("scatter", "gather")


def check(lab: Lab, files: LabFiles, legacy: frozenset[JobId]) -> None:
    """Raise LabError, with file and job, for the first thing that could not run.

    ``legacy`` are jobs the Lab lists but nothing schedules, so that none may need them.
    """
    for run in lab.runs.values():
        place = files.describe(run.metadata)
        if run.image is not None and files.kind(files.resolve(run.image)) is None:
            raise LabError(f"{place}: image {run.image} is not in the Lab")
        for job_id in run.jobs:
            problem = _problem(lab, lab.jobs[job_id], legacy)
            if problem is not None:
                raise LabError(f"{place}: job {job_id}: {problem}")
    _check_acyclic(lab, files)
    _check_groups(lab, files)
    _check_executables(lab, files)


def _problem(lab: Lab, job: Job, legacy: frozenset[JobId]) -> str | None:
    if job.stage_type is StageType.SCATTER_GATHER and job.executables:
        problem = _steps_problem(job)
        if problem is not None:
            return problem
    for executable in job.executables.values():
        for source in executable.inputs:
            if source.job_id is not None:
                problem = _source_problem(lab, job, source, legacy)
                if problem is not None:
                    return problem
    return None


def _source_problem(lab: Lab, job: Job, source: Input, legacy: frozenset[JobId]) -> str | None:
    producer = lab.jobs.get(job.id if source.job_id == SELF else source.job_id or "")
    if producer is None:
        reason = "of a stage type nothing runs" if source.job_id in legacy else "not in the Lab"
        return f"input '{source.target}' needs job {source.job_id}, which is {reason}"
    if source.source_output is None:
        return None
    simple = producer.stage_type is StageType.SIMPLE
    name = "main" if simple else "scatter" if source.job_id == SELF else "gather"
    outputs = producer.executables[name].outputs if name in producer.executables else {}
    if isinstance(outputs.get(source.source_output), str):
        return None
    known = ", ".join(outputs) or "none"
    return (
        f"input '{source.target}' needs output '{source.source_output}' of "
        f"job {producer.id}, whose outputs are: {known}"
    )


def _steps_problem(job: Job) -> str | None:
    absent = [name for name in _SCATTER_GATHER if name not in job.executables]
    if absent or not job.steps:
        return f"has no executable '{absent[0] if absent else 'step-*'}'"
    deps = {name: step.deps for name, step in job.steps.items()}
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
    run_of = {job_id: run for run in lab.runs.values() for job_id in run.jobs}
    needs: Mapping[JobId, tuple[JobId, ...]] = {
        job_id: job.needs for job_id, job in lab.jobs.items()
    }
    cycle = graph.find_cycle(needs)
    if cycle:
        place = files.describe(run_of[cycle[0]].metadata)
        raise LabError(f"{place}: jobs need each other in a circle: {' -> '.join(cycle)}")
    cycle = graph.find_cycle({name: tuple(run.dependencies) for name, run in lab.runs.items()})
    if cycle:
        place = files.describe(lab.runs[cycle[0]].metadata)
        raise LabError(f"{place}: runs depend on each other in a circle: {' -> '.join(cycle)}")


def _check_groups(lab: Lab, files: LabFiles) -> None:
    for group, runs in lab.groups.items():
        for index, run in enumerate(runs):
            if run not in lab.runs:
                raise LabError(
                    f"{files.describe(lab.metadata)}: field `groups.{group}[{index}]`: "
                    f"there is no run '{run}'",
                    hint=did_you_mean(run, lab.runs),
                )


def _check_executables(lab: Lab, files: LabFiles) -> None:
    """Find executables that are missing; those listed are checked with their hash."""
    for run in lab.runs.values():
        for job_id in run.jobs:
            for name, executable in lab.jobs[job_id].executables.items():
                path = executable.path
                if path not in lab.files and files.kind(files.resolve(path)) is not Kind.FILE:
                    raise LabError(
                        f"{files.describe(run.metadata)}: job {job_id}: "
                        f"executable '{name}' is missing: {path}"
                    )
