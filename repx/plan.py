"""From a Lab, a target and the jobs' states to a plan: the jobs to run, their order and reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from repx import graph, progress, waiting
from repx.model import DependencyType, Job, JobId, Lab, Phase, RunName, stage_of
from repx.status import ALIVE, GATE, ByHand, JobState, Owner, State
from repx.target import Resources, Retries, RuntimeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A run whose end (soft) or success (hard) other jobs wait for.

    ``jobs`` are the jobs to wait for: the run's final jobs, or all jobs if soft. Each is part of
    the plan or alive in another submission; jobs that have already succeeded are left out.
    """

    run: RunName
    type: DependencyType
    jobs: tuple[JobId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One phase of a job that will run: the work of one process.

    ``ladder`` has the resources of each attempt: the first, the second, ...; the last one repeats.
    On a node, the program runs in the first of ``runtimes`` that works there.
    """

    phase: Phase
    ladder: tuple[Resources, ...]
    runtimes: tuple[RuntimeName, ...]

    @property
    def resources(self) -> Resources:
        """Return the resources of the first attempt."""
        return self.ladder[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One job that will run; ``units`` are its phases, in the order of ``Job.phases``.

    ``needs`` are the jobs of this plan (or alive from an earlier plan) that must succeed first,
    ``gates`` are indices into ``Plan.gates``. ``reason`` says why the job runs.
    """

    job: Job
    run: RunName
    reason: str
    units: tuple[Unit, ...]
    needs: tuple[JobId, ...] = ()
    gates: tuple[int, ...] = ()
    retries: Retries = field(default_factory=Retries)
    forced: bool = False

    def unit(self, phase: str) -> Unit:
        """Return the unit of a phase."""
        return next(unit for unit in self.units if unit.phase.name == phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of one submission. ``tasks`` are in topological order, run by run.

    ``fetched`` are jobs whose results are copied instead (job id to the reason, in words).
    ``done`` have succeeded and are kept. ``outdated`` had succeeded, but an upstream job runs
    again; they may run again or be left. ``alive`` are queued or running in another submission
    (job id to its owner): the plan waits for them and does not start them again.
    """

    tasks: tuple[Task, ...]
    gates: tuple[Gate, ...] = ()
    done: tuple[JobId, ...] = ()
    outdated: tuple[JobId, ...] = ()
    fetched: Mapping[JobId, str] = field(default_factory=dict)
    alive: Mapping[JobId, Owner | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The user's request: the named ``jobs``, and whether to run them again.

    Jobs downstream of a job that runs again also run again, unless ``only`` is set.
    ``only_failed`` and ``only_gone`` narrow the jobs to those that failed, and to those whose
    outputs were deleted. With ``remake``, jobs run again if other jobs need their deleted outputs.
    ``remade`` are jobs that run again for deleted outputs, with the reasons.
    """

    jobs: tuple[JobId, ...]
    force: bool = False
    only: bool = False
    only_failed: bool = False
    only_gone: bool = False
    remake: bool = False
    remade: Mapping[JobId, str] = field(default_factory=dict)


class ResourcesOf(Protocol):
    """A function that resolves the resources of a job's phase; equal resources are one object."""

    def __call__(self, job: Job, run: RunName, phase: Phase) -> Resources:
        """Return the resolved resources."""
        ...


Explain: TypeAlias = Callable[[Collection[JobId]], Mapping[JobId, str]]


def make(
    lab: Lab,
    wish: Wish,
    states: Mapping[JobId, JobState],
    *,
    resources: ResourcesOf,
    runtimes: tuple[RuntimeName, ...],
    isolated: bool = False,
    retries: Retries | None = None,
    explain: Explain = lambda _: {},
) -> Plan:
    """Return the plan for the wish, with tasks in topological order, run by run.

    ``runtimes`` serve the jobs that have an image, or all if ``isolated``; others run
    natively. A hard dependency on a run adds the run if it has not succeeded; with a soft one, jobs
    only wait if the run is part of this plan or alive. ``explain`` returns why jobs that never ran
    are new. Raises GraphError for a cycle among jobs and runs.
    """
    run_of = waiting.primary_runs(lab)
    chosen = _choose(lab, wish, states, run_of)
    needed, forced = chosen.needed, chosen.forced
    needed |= _stands_on(lab, chosen.outdated, needed)
    needed |= {job: why for job, why in wish.remade.items() if job in needed}
    needed |= _explained(needed, forced, states, explain)
    alive = {job: states[job].by for job in _alive(lab, states) if job not in needed}
    gates, gates_of = _gates(lab, needed, alive, run_of)
    ladders = _Ladders()

    def task(name: JobId) -> Task:
        job, run = lab.jobs[name], run_of[name]
        isolating = runtimes if isolated or lab.image_of(job, run) else (RuntimeName.NATIVE,)
        asked = [resources(job, run, phase) for phase in job.phases]
        again = asked[0].retries or retries or Retries()
        units = tuple(
            Unit(phase=phase, ladder=ladders.of(first, again), runtimes=isolating)
            for phase, first in zip(job.phases, asked, strict=True)
        )
        return Task(
            job=job,
            run=run,
            reason=needed[name],
            units=units,
            needs=tuple(need for need in job.needs if need in needed or need in alive),
            gates=gates_of.get(name, ()),
            retries=again,
            forced=name in forced,
        )

    order = _order(lab, needed, gates, gates_of, run_of)
    tasks = tuple(map(task, progress.through(order, "planning jobs:")))
    needs = {job for task in tasks for job in task.needs}
    waited = needs.union(chosen.wanted, *(gate.jobs for gate in gates))
    return Plan(
        tasks=tasks,
        gates=gates,
        done=tuple(sorted(chosen.done)),
        outdated=tuple(chosen.outdated),
        alive={job: by for job, by in alive.items() if job in waited},
    )


def fetchable(plan: Plan) -> list[JobId]:
    """Return the jobs whose results may be fetched: jobs that neither are nor need forced jobs.

    A forced job must be computed again because its results, and results made from them, are void.
    """
    anew: set[JobId] = set()
    for task in plan.tasks:
        held = (job for number in task.gates for job in plan.gates[number].jobs)
        if task.forced or not anew.isdisjoint((*task.needs, *held)):
            anew.add(task.job.id)
    return [task.job.id for task in plan.tasks if task.job.id not in anew]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """The choice of jobs: ``needed`` run, with reasons. The success of ``forced`` jobs is void.

    ``outdated`` maps each job with outdated results to an upstream job that runs.
    """

    wanted: tuple[JobId, ...]
    forced: frozenset[JobId]
    needed: dict[JobId, str]
    done: set[JobId]
    outdated: dict[JobId, JobId]


def _choose(
    lab: Lab, wish: Wish, states: Mapping[JobId, JobState], run_of: Mapping[JobId, RunName]
) -> _Choice:
    """Return the choice of jobs, after finding all results that become outdated."""
    wanted = meant_by(lab, wish, states)
    stale = {job for job, said in states.items() if said.state is State.STALE}
    forced = frozenset(wanted if wish.force else ()).union(wish.remade, stale)
    outdated: dict[JobId, JobId] = {}
    while True:
        needed, done = _needed(lab, wanted, forced, states, run_of)
        found = _outdated(lab, needed, states)
        outdated |= found
        beside = found.keys() - set(wanted) if wish.force or wish.remade else ()
        if wish.only or not (beside or found.keys() - forced):
            break
        wanted = (*wanted, *(job for job in found if job in beside))
        forced |= found.keys()
    return _Choice(wanted=wanted, forced=forced, needed=needed, done=done, outdated=outdated)


class _Ladders:
    """A cache of ladders of resources, since many jobs share few ladders. Mutable.

    Equal ladders are one object.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, Retries], tuple[Resources, ...]] = {}

    def of(self, first: Resources, retries: Retries) -> tuple[Resources, ...]:
        key = (id(first), retries)
        if key not in self._made:
            self._made[key] = retries.ladder(first)
        return self._made[key]


def meant_by(lab: Lab, wish: Wish, states: Mapping[JobId, JobState]) -> tuple[JobId, ...]:
    """Return the jobs the user means, and failed jobs downstream of remade jobs."""
    wanted = wish.jobs
    if wish.only_failed:
        wanted = tuple(job for job in wanted if states[job].state in _FAILED)
    if wish.remade and not wish.only:
        below = graph.downstream(lab.needs, wish.remade)
        wanted += tuple(job for job in below if states[job].state in _FAILED and job not in wanted)
    return wanted


_FAILED: Final = (State.FAILED, State.LOST)
_RAN: Final = (*_FAILED, State.RUNNING, State.SUCCEEDED)


def _alive(lab: Lab, states: Mapping[JobId, JobState]) -> Iterable[JobId]:
    return (job for job in lab.jobs if _promised(states[job]))


def _promised(state: JobState) -> bool:
    """Return whether a scheduler is responsible for the job's end.

    A job that runs by hand, or whose scheduler was killed, may end without a marker. This plan's
    runner waits for the job's lock, and then runs the job only if it did not succeed.
    """
    return state.state in ALIVE and not isinstance(state.by, ByHand)


def _reason(state: JobState, *, forced: bool, needed_by: str | None) -> str:
    """Return in words why a job runs."""
    if state.state is State.STALE:
        return f"stale: {stage_of(state.reason)} ran again"
    if forced:
        return "forced"
    match state.state:
        case State.FAILED:
            why = "failed before"
        case State.LOST:
            why = "was interrupted before"
        case State.RUNNING:
            why = "runs"
        case _:
            return f"needed by {needed_by}" if needed_by else "never ran"
    return f"{why} ({state.reason})" if state.reason else why


def _outdated(
    lab: Lab, runs: Collection[JobId], states: Mapping[JobId, JobState]
) -> dict[JobId, JobId]:
    """Return the jobs with results downstream of jobs that run, each with one of the latter.

    This includes jobs that read a run with failed jobs: they lack the results of these jobs.
    """
    if not runs or all(said.state not in _RESULTS for said in states.values()):
        return {}
    below = graph.downstream(waiting.gated(lab, (), waiting.ANY), runs)
    return {
        job: culprit
        for job, culprit in below.items()
        if job not in runs and not job.startswith(GATE) and states[job].state in _RESULTS
    }


_RESULTS: Final = (State.SUCCEEDED, State.STALE)


def _stands_on(
    lab: Lab, outdated: Mapping[JobId, JobId], needed: Container[JobId]
) -> dict[JobId, str]:
    """Return the reasons of outdated jobs that run again."""
    return {
        job: f"{lab.jobs[culprit].stage}, upstream of this job, runs again"
        for job, culprit in outdated.items()
        if job in needed
    }


def _explained(
    needed: Mapping[JobId, str],
    forced: Container[JobId],
    states: Mapping[JobId, JobState],
    explain: Explain,
) -> Mapping[JobId, str]:
    """Return the reasons, if known, why jobs that never ran are new."""
    fresh = [job for job in needed if job not in forced and states[job].state not in _RAN]
    return explain(fresh) if fresh else {}


def _needed(
    lab: Lab,
    wanted: tuple[JobId, ...],
    forced: frozenset[JobId],
    states: Mapping[JobId, JobState],
    run_of: Mapping[JobId, RunName],
) -> tuple[dict[JobId, str], set[JobId]]:
    """Return the jobs that must run, with reasons, and the succeeded jobs that are kept.

    Walks from the wanted jobs to their needs, and stops at jobs that have succeeded or are alive.
    """
    meant = frozenset(wanted)
    needed: dict[JobId, str] = {}
    done: set[JobId] = set()
    seen_runs: set[RunName] = set()
    stack = [(name, "") for name in reversed(wanted)]
    while stack:
        name, user = stack.pop()
        if name in needed or _promised(states[name]):
            continue
        if states[name].state is State.SUCCEEDED and name not in forced:
            done.add(name)
            continue
        needed_by = None if name in meant else user
        needed[name] = _reason(states[name], forced=name in forced, needed_by=needed_by)
        job = lab.jobs[name]
        stack.extend((need, job.stage) for need in job.needs)
        for run in waiting.hard_upstreams(lab, job, run_of):
            if run not in seen_runs:
                seen_runs.add(run)
                stack.extend((member, f"run {run_of[name]}") for member in lab.runs[run].jobs)
    return needed, done


def _gates(
    lab: Lab,
    needed: Mapping[JobId, str],
    alive: Mapping[JobId, Owner | None],
    run_of: Mapping[JobId, RunName],
) -> tuple[tuple[Gate, ...], dict[JobId, tuple[int, ...]]]:
    """Return the gates that have jobs to wait for, and per job the gates it waits for."""
    index: dict[tuple[RunName, DependencyType], int | None] = {}
    gates: list[Gate] = []
    gates_of: dict[JobId, tuple[int, ...]] = {}
    for name in needed:
        found: list[int] = []
        for key in waiting.upstream_runs(lab, lab.jobs[name], run_of).items():
            if key not in index:
                jobs = _waited_for(lab, *key, needed, alive)
                index[key] = len(gates) if jobs else None
                if jobs:
                    gates.append(Gate(run=key[0], type=key[1], jobs=jobs))
            number = index[key]
            if number is not None:
                found.append(number)
        if found:
            gates_of[name] = tuple(found)
    return tuple(gates), gates_of


def _waited_for(
    lab: Lab,
    run: RunName,
    kind: DependencyType,
    needed: Mapping[JobId, str],
    alive: Mapping[JobId, Owner | None],
) -> tuple[JobId, ...]:
    """Return the jobs of a run to wait for: all jobs for its end, the final jobs for success."""
    jobs = lab.runs[run].jobs
    if kind is DependencyType.HARD:
        jobs = graph.finals(lab.needs, jobs)
    return tuple(job for job in jobs if job in needed or job in alive)


def _order(
    lab: Lab,
    needed: Mapping[JobId, str],
    gates: tuple[Gate, ...],
    gates_of: Mapping[JobId, tuple[int, ...]],
    run_of: Mapping[JobId, RunName],
) -> list[JobId]:
    """Return the jobs in topological order, with jobs of one run together if possible."""
    rank = {run: number for number, run in enumerate(lab.runs)}
    by_run = sorted(needed, key=lambda name: rank[run_of[name]])
    edges: dict[str, tuple[str, ...]] = {}
    for name in by_run:
        needs = tuple(need for need in lab.jobs[name].needs if need in needed)
        held = gates_of.get(name)
        edges[name] = (*needs, *(f"{GATE}{number}" for number in held)) if held else needs
    for number, gate in enumerate(gates):
        edges[f"{GATE}{number}"] = tuple(job for job in gate.jobs if job in needed)
    return [name for name in graph.order(edges) if not name.startswith(GATE)]
