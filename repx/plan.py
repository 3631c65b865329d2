"""From a Lab, a target and the states of its jobs to what will run, in which order and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from repx.model import DependencyType, Job, JobId, RunName
from repx.target import Resources, RuntimeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A run whose end (soft) or success (hard) other jobs wait for.

    ``jobs`` are the run's final jobs that are part of the plan or alive elsewhere; those that
    succeeded already are left out.
    """

    run: RunName
    type: DependencyType
    jobs: tuple[JobId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One job that will run.

    ``needs`` are the jobs of this plan (or alive from an earlier one) that must succeed
    first, ``gates`` are indices into ``Plan.gates``. ``reason`` says why the job runs.
    ``phases`` holds the resources of a scatter-gather job's executables by name (``scatter``,
    ``step-<s>``, ``gather``); a simple job has only ``resources``.
    """

    job: Job
    run: RunName
    reason: str
    resources: Resources
    runtime: RuntimeName
    needs: tuple[JobId, ...] = ()
    gates: tuple[int, ...] = ()
    phases: Mapping[str, Resources] = field(default_factory=dict)
    retries: int = 0
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one submission does. ``tasks`` are in topological order, run by run.

    ``done`` have succeeded and are kept; ``alive`` are queued or running for another
    submission (job id to its scheduler's id) and are waited for, not started again.
    """

    tasks: tuple[Task, ...]
    gates: tuple[Gate, ...] = ()
    done: tuple[JobId, ...] = ()
    alive: Mapping[JobId, str] = field(default_factory=dict)
