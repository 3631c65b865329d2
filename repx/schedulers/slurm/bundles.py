"""Which jobs share one Slurm job: connected work, cut so that no bundles wait in a circle."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import graph
from repx.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.plan import Gate, Plan, Task
    from repx.target import Bundle

# A job that more than this many jobs of its bundle feed or read joins what would otherwise be
# separate work, so bundles are cut there.
_JOINT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePlan:
    """The jobs of one Slurm job, in the plan's order, and what it asks for."""

    bundle: str
    tasks: tuple[Task, ...]
    cpus: int
    mem_bytes: int | None
    time_s: int | None


def cut(plan: Plan, bundles: Sequence[Bundle]) -> list[BundlePlan]:
    """Return the plans of all bundles: what each Slurm job runs.

    A plan is made of jobs that depend on each other, or of several such groups where there are
    more of them than the bundle's ``count``. Bundles that wait for each other never do in a circle.
    Raises InputError when a job asks for a bundle that the target does not have.
    """
    by_name = {bundle.name: bundle for bundle in bundles}
    members: dict[str, list[Task]] = defaultdict(list)
    for task in plan.tasks:
        name = task.units[0].resources.bundle
        if name is not None:
            _check(name, by_name, task)
            members[name].append(task)
    if not members:
        return []
    pieces = {name: by_name[name].count or 1 for name in members}
    levels = _Levels(plan, members, pieces)
    return [
        _planned(by_name[name], tasks)
        for name, inside in members.items()
        for level in _by_level(inside, levels)
        for tasks in _shared_out(list(_connected(level, levels)), level, pieces[name])
    ]


def _check(name: str, by_name: Mapping[str, Bundle], task: Task) -> None:
    if name not in by_name:
        raise InputError(
            f"job {task.job.id}: the target has no bundle '{name}'",
            hint=did_you_mean(name, by_name) or "describe it below `slurm: bundle:` of the target",
        )


def _cpus(task: Task) -> int:
    return max(unit.resources.cpus or 1 for unit in task.units)


def _mem_bytes(task: Task) -> int:
    return max(unit.resources.memory or 0 for unit in task.units)


def _time_s(task: Task) -> int | None:
    times = [unit.resources.time_s for unit in task.units]
    return None if None in times else max(time for time in times if time is not None)


def _bundle_cpus(bundle: Bundle, tasks: Iterable[Task]) -> int:
    return bundle.cpus or max(_cpus(task) for task in tasks)


class _Levels:
    """How often a way to each job left a bundle: jobs of one plan are on one level.

    Every edge out of a bundle leads to a higher level, and none leads to a lower one, so no circle
    of bundle_plans can close.
    """

    def __init__(
        self, plan: Plan, members: Mapping[str, Sequence[Task]], pieces: Mapping[str, int]
    ) -> None:
        self._bundle = {task.job.id: name for name, tasks in members.items() for task in tasks}
        self._pieces = pieces
        self._fan_in, self._fan_out = self._fans(members)
        self._gates: dict[tuple[int, str | None], int] = {}
        self.of: dict[JobId, int] = {}
        for task in plan.tasks:
            self.of[task.job.id] = max(self._before(task, plan.gates), default=0)

    def together(self, need: JobId, job: JobId) -> bool:
        """Return whether an edge lies inside one bundle and is not cut."""
        bundle = self._bundle.get(job)
        if bundle is None or self._bundle.get(need) != bundle:
            return False
        joint = self._fan_in[job] > _JOINT or self._fan_out[need] > _JOINT
        return self._pieces[bundle] == 1 or not joint

    def _fans(self, members: Mapping[str, Sequence[Task]]) -> tuple[Counter[JobId], Counter[JobId]]:
        edges = [
            (need, task.job.id)
            for name, tasks in members.items()
            for task in tasks
            for need in task.needs
            if self._bundle.get(need) == name
        ]
        return Counter(job for _, job in edges), Counter(need for need, _ in edges)

    def _before(self, task: Task, gates: Sequence[Gate]) -> Iterator[int]:
        job = task.job.id
        for need in task.needs:
            if need in self.of:
                yield self.of[need] + (need in self._bundle and not self.together(need, job))
        for number in task.gates:
            yield self._gate(number, self._bundle.get(job), gates[number])

    def _gate(self, number: int, bundle: str | None, gate: Gate) -> int:
        """Return the level behind a gate for jobs of one bundle; a single bundle has no gates."""
        key = (number, bundle)
        if key not in self._gates:
            whole = bundle if bundle is not None and self._pieces[bundle] == 1 else None
            self._gates[key] = max(
                (
                    self.of[job] + (self._bundle.get(job) not in (None, whole))
                    for job in gate.jobs
                    if job in self.of
                ),
                default=0,
            )
        return self._gates[key]


def _by_level(tasks: Iterable[Task], levels: _Levels) -> list[list[Task]]:
    found: dict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        found[levels.of[task.job.id]].append(task)
    return [found[level] for level in sorted(found)]


def _connected(tasks: Sequence[Task], levels: _Levels) -> Iterator[list[Task]]:
    """Yield the groups of jobs of one level that depend on each other."""
    by_id = {task.job.id: task for task in tasks}
    needs = {
        job: [need for need in task.needs if need in by_id and levels.together(need, job)]
        for job, task in by_id.items()
    }
    for part in graph.components(needs):
        yield [by_id[job] for job in part]


def _shared_out(
    groups: Sequence[Sequence[Task]], level: Sequence[Task], pieces: int
) -> list[list[Task]]:
    """Return at most ``pieces`` lists of about equal work, each in the plan's order."""
    shares: list[tuple[int, int]] = [(0, number) for number in range(min(pieces, len(groups)))]
    share_of: dict[JobId, int] = {}
    for group in sorted(groups, key=_work, reverse=True):
        work, number = heapq.heappop(shares)
        heapq.heappush(shares, (work + _work(group), number))
        share_of.update((task.job.id, number) for task in group)
    found: dict[int, list[Task]] = defaultdict(list)
    for task in level:
        found[share_of[task.job.id]].append(task)
    return list(found.values())


def _work(tasks: Iterable[Task]) -> int:
    """Return how much work tasks are, in core seconds where they say how long they take."""
    return sum(_cpus(task) * (_time_s(task) or 60) for task in tasks)


def _planned(bundle: Bundle, tasks: Sequence[Task]) -> BundlePlan:
    cpus = _bundle_cpus(bundle, tasks)
    at_once = max(_mem_bytes(task) * max(1, cpus // _cpus(task)) for task in tasks)
    return BundlePlan(
        bundle=bundle.name,
        tasks=tuple(tasks),
        cpus=cpus,
        mem_bytes=bundle.mem_bytes or at_once or None,
        time_s=bundle.time_s,
    )
