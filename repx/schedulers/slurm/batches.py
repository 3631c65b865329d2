"""A Plan as calls of sbatch: what each runs, what it waits for, what it asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from repx import graph
from repx.errors import OutOfReachError
from repx.model import DependencyType
from repx.schedulers.slurm import arrays, bundles, directives
from repx.schedulers.slurm.arrays import Array, Group, Node, NodeId, Reference
from repx.status import Batch
from repx.target import Resources, Retries

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.plan import Plan, Task, Unit
    from repx.schedulers.slurm.bundles import BundlePlan
    from repx.schedulers.slurm.directives import Directive
    from repx.target import Target

# A script lists its jobs, and every element of the array gets a copy of it.
_LARGEST_ARRAY: Final = 10_001
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]+")


class Kind(StrEnum):
    """What a Slurm job does; each has a template ``sbatch-<kind>.sh.j2``."""

    JOBS = "jobs"
    SCATTER = "scatter"
    STEP = "step"
    GATHER = "gather"
    BUNDLE = "bundle"
    JOIN = "join"
    CONTINUE = "continue"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Rung:
    """What jobs get that are tried again with more: limits, and how sbatch is asked for them."""

    directives: tuple[Directive, ...]
    limit_s: int
    warning_s: int


@dataclass(frozen=True, slots=True)
class SubmissionSpec:
    """What jobs have in common that share an array.

    ``limit_s`` is the time limit, 0 when there is none; a job is ended ``warning_s`` before it.
    ``rungs`` are for attempts after one that lacked memory or time.
    """

    kind: Kind
    title: str
    directives: tuple[Directive, ...] = ()
    limit_s: int = 0
    warning_s: int = 0
    retries: Retries = field(default_factory=Retries)
    rungs: tuple[Rung, ...] = ()
    forced: bool = False
    runtimes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    bundle: int | None = None


_JOIN: Final = SubmissionSpec(Kind.JOIN, "join")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scatter-gather job; ``needs`` are places of earlier steps."""

    name: str
    needs: tuple[int, ...]
    spec: SubmissionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of sbatch. ``name`` is that of its script and of its line in submitted.tsv.

    ``jobs`` maps indices to jobs, and only index 0 where it is no array. ``conditions`` are as
    submit.sh takes them. ``required`` says per index which jobs must have succeeded although
    Slurm's dependency cannot tell; ``@FILE`` stands for the lines of a file. ``partner`` is
    the gather that a scatter steers, or the call that this one submits again. Slurm leaves it in
    the queue, when it can no longer start, where it is ``kept``.
    """

    name: str
    spec: SubmissionSpec
    jobs: Mapping[int, JobId]
    conditions: tuple[str, ...]
    required: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    partner: str = ""
    kept: bool = False

    @property
    def is_array(self) -> bool:
        """Return whether it has more than one element."""
        return len(self.jobs) > 1

    @property
    def size(self) -> int:
        """Return how many jobs it is for Slurm: a bundle is one, whatever runs in it."""
        return max(1, len(self.jobs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """All calls in the order of submission, the plans of bundles, lists of jobs by file."""

    calls: tuple[Call, ...]
    bundle_plans: tuple[BundlePlan, ...]
    lists: Mapping[str, tuple[JobId, ...]]


def make(plan: Plan, target: Target, *, max_array_size: int, watched: bool = False) -> Batches:
    """Return the calls that run a plan; ``watched``: what fails may be tried again by others.

    Raises InputError for options that cannot be asked of Slurm, SchedulerError when the plan
    waits for a job that Slurm cannot wait for.
    """
    drawing = _Drawing(plan, target, watched=watched)
    # One place in the queue is for the job that submits what is left.
    at_once = max(1, (target.slurm.max_submit or _LARGEST_ARRAY) - 1)
    made = arrays.compile(
        drawing.nodes(),
        drawing.groups,
        max_size=min(max_array_size, at_once),
        placed=drawing.placed,
    )
    return Batches(
        calls=tuple(_calls(made, drawing)),
        bundle_plans=tuple(drawing.bundle_plans),
        lists=drawing.lists,
    )


_Key: TypeAlias = tuple[Hashable, ...]


class _Drawing:
    """The graph of Slurm jobs behind a plan. Mutable while it is drawn.

    A scatter-gather job is two nodes and a bundle is one. What ran inside a bundle has an end
    of its own that Slurm does not know, so who waits for it waits for any end of the bundle and
    then looks for itself (``required``).
    """

    def __init__(self, plan: Plan, target: Target, *, watched: bool) -> None:
        self.bundle_plans = bundles.cut(plan, target.slurm.bundles)
        self.groups: list[Group] = []
        self.placed: dict[NodeId, Reference] = {}
        self.foreign: dict[NodeId, Node] = {}
        self.lists: dict[str, tuple[JobId, ...]] = {}
        self.jobs: dict[NodeId, JobId] = {}
        self.required: dict[NodeId, tuple[str, ...]] = {}
        self._plan = plan
        self._watched = watched
        self._target = target
        self._bundle_of = {
            task.job.id: number
            for number, inside in enumerate(self.bundle_plans)
            for task in inside.tasks
        }
        self._scattered = {task.job.id for task in plan.tasks if len(task.units) > 1}
        self._specs: dict[_Key, SubmissionSpec] = {}
        self._node_of: dict[JobId, tuple[NodeId, bool]] = {}
        self._behind = [self._gate(number) for number in range(len(plan.gates))]

    def nodes(self) -> list[Node]:
        """Return the nodes in topological order."""
        found = list(self._nodes())
        found = [*self.foreign.values(), *found]
        if not self.bundle_plans:
            return found
        by_id = {node.id: node for node in found}
        edges: dict[NodeId, tuple[NodeId, ...]] = {
            f"group\0{number}": tuple(name for name in group.nodes if name in by_id)
            for number, group in enumerate(self.groups)
        }
        for node in found:
            held = (f"group\0{number}" for number in node.groups)
            before = (name for name in (*node.needs, *node.ends) if name in by_id)
            edges[node.id] = (*before, *held)
        return [by_id[name] for name in graph.order(edges) if name in by_id]

    def _nodes(self) -> Iterator[Node]:
        for number, inside in enumerate(self.bundle_plans):
            yield self._bundle(number, inside)
        for task in self._plan.tasks:
            if task.job.id not in self._bundle_of:
                yield from self._job(task)

    def _bundle(self, number: int, inside: BundlePlan) -> Node:
        name = f"bundle\0{number}"
        awaited = dict.fromkeys(need for task in inside.tasks for need in task.needs)
        held = dict.fromkeys(number for task in inside.tasks for number in task.gates)
        for gate in held:
            awaited |= dict.fromkeys(self._plan.gates[gate].jobs)
        ends = dict.fromkeys(self._where(job)[0] for job in awaited)
        ends.pop(name, None)
        after = dict.fromkeys(id_ for task in inside.tasks for id_ in task.units[0].resources.after)
        needs = self._foreign(tuple(after))
        spec = self._bundle_spec(number, inside)
        return Node(id=name, key=spec, needs=needs, ends=tuple(ends))

    def _foreign(self, ids: tuple[str, ...]) -> tuple[NodeId, ...]:
        """Return the node of a Slurm job that waits for jobs of others, for all that do."""
        if not ids:
            return ()
        name = f"after\0{' '.join(ids)}"
        if name not in self.foreign:
            for each in ids:
                array, _, index = each.partition("_")
                self.placed[f"id\0{each}"] = Reference(array, int(index) if index else None)
            needs = tuple(f"id\0{each}" for each in ids)
            self.foreign[name] = Node(id=name, key=_JOIN, needs=needs)
        return (name,)

    def _job(self, task: Task) -> Iterator[Node]:
        job = task.job.id
        where = [(need, *self._where(need)) for need in task.needs]
        needs = tuple(dict.fromkeys(node for _, node, certain in where if certain))
        needs += self._foreign(task.units[0].resources.after)
        ends = tuple(dict.fromkeys(node for _, node, certain in where if not certain))
        behind = [self._behind[number] for number in task.gates]
        required = [need for need, _, certain in where if not certain or need in self.placed]
        required += [f"@{file}" for _, file in behind if file]
        held = tuple(group for groups, _ in behind for group in groups)
        scattered = job in self._scattered
        first = f"scatter\0{job}" if scattered else job
        if required:
            self.required[first] = tuple(required)
        self.jobs[first] = job
        yield Node(id=first, key=self._spec(task, scattered), needs=needs, ends=ends, groups=held)
        if scattered:
            self.jobs[f"gather\0{job}"] = job
            yield Node(id=f"gather\0{job}", key=self._gather_spec(task), needs=(first,))

    def _where(self, job: JobId) -> tuple[NodeId, bool]:
        """Return the node to wait for, and whether its success is that of the job."""
        if job not in self._node_of:
            self._node_of[job] = self._found(job)
        return self._node_of[job]

    def _found(self, job: JobId) -> tuple[NodeId, bool]:
        if job in self._bundle_of:
            return f"bundle\0{self._bundle_of[job]}", False
        if job not in self._plan.alive:
            return (f"gather\0{job}" if job in self._scattered else job), True
        by = self._plan.alive[job]
        if not isinstance(by, Batch):
            raise OutOfReachError(job, str(by or ""), "Slurm")
        node = f"placed\0{by.id}" if by.bundle else job
        self.placed[node] = Reference(by.id, by.index)
        # Where nothing takes a failure on, any end is waited for: Slurm would wait for ever.
        return node, not by.bundle and (not self._watched or bool(by.again))

    def _gate(self, number: int) -> tuple[tuple[int, ...], str]:
        """Return the groups behind a gate, and the file of jobs to look for oneself."""
        gate = self._plan.gates[number]
        certain: dict[NodeId, None] = {}
        uncertain: dict[NodeId, None] = {}
        look: list[JobId] = []
        hard = gate.type is DependencyType.HARD
        for job in gate.jobs:
            node, sure = self._where(job)
            (certain if hard and sure else uncertain)[node] = None
            if hard and (not sure or node in self.placed):
                look.append(job)
        found = []
        for nodes, ok in ((certain, True), (uncertain, False)):
            if nodes:
                found.append(len(self.groups))
                self.groups.append(Group(nodes=tuple(nodes), ok=ok))
        file = f"gates/{number}.list" if look else ""
        if look:
            self.lists[file] = tuple(look)
        return tuple(found), file

    # --- specs: equal ones are the same object, since few differ among many jobs -----------

    def _spec(self, task: Task, scattered: bool) -> SubmissionSpec:  # noqa: FBT001  # one of two kinds
        kind = Kind.SCATTER if scattered else Kind.JOBS
        key = (kind, task.run, task.job.stage, *_traits(task))
        if key not in self._specs:
            steps = self._steps(task) if scattered else ()
            title = f"{_title(task)}.scatter" if scattered else _title(task)
            self._specs[key] = self._new(kind, title, task, task.units[0], steps)
        return self._specs[key]

    def _gather_spec(self, task: Task) -> SubmissionSpec:
        key = (Kind.GATHER, task.run, task.job.stage, *_traits(task))
        if key not in self._specs:
            steps = self._steps(task)[-1:]
            title = f"{_title(task)}.gather"
            self._specs[key] = self._new(Kind.GATHER, title, task, task.units[-1], steps)
        return self._specs[key]

    def _steps(self, task: Task) -> tuple[Step, ...]:
        steps = [unit for unit in task.units if unit.phase.per_branch]
        places = {unit.phase.name: place for place, unit in enumerate(steps)}
        return tuple(
            Step(
                name=unit.phase.step,
                needs=tuple(places[need] for need in unit.phase.needs if need in places),
                spec=self._new(Kind.STEP, f"{_title(task)}.{unit.phase.step}", task, unit),
            )
            for unit in steps
        )

    def _new(
        self,
        kind: Kind,
        title: str,
        task: Task,
        unit: Unit,
        steps: tuple[Step, ...] = (),
    ) -> SubmissionSpec:
        resources = unit.resources
        warning_s, signal = directives.warning(self._target, resources.time_s)
        asked = directives.of_resources(self._target, resources)
        requeue = directives.requeue(self._target, task.retries)
        return SubmissionSpec(
            kind=kind,
            title=title,
            directives=(*asked, *signal, requeue),
            limit_s=resources.time_s or 0,
            warning_s=warning_s,
            retries=task.retries,
            rungs=tuple(self._rung(each, (*asked, *signal)) for each in unit.ladder[1:]),
            forced=task.forced,
            runtimes=unit.runtimes,
            steps=steps,
        )

    def _rung(self, resources: Resources, first: Collection[Directive]) -> Rung:
        warning_s, signal = directives.warning(self._target, resources.time_s)
        asked = (*directives.of_resources(self._target, resources), *signal)
        more = tuple(each for each in asked if each not in first)
        return Rung(directives=more, limit_s=resources.time_s or 0, warning_s=warning_s)

    def _bundle_spec(self, number: int, inside: BundlePlan) -> SubmissionSpec:
        first = inside.tasks[0].units[0].resources
        resources = Resources(
            cpus=inside.cpus,
            mem_bytes=inside.mem_bytes,
            time_s=inside.time_s,
            partition=first.partition,
            sbatch_opts=first.sbatch_opts,
            slurm=first.slurm,
        )
        warning_s, signal = directives.warning(self._target, inside.time_s)
        asked = directives.of_resources(self._target, resources)
        return SubmissionSpec(
            kind=Kind.BUNDLE,
            title=f"bundle.{inside.bundle}",
            # Requeued, a bundle goes on where it stopped, and who waits for it keeps waiting.
            directives=(*asked, *signal, ("--requeue", None)),
            limit_s=inside.time_s or 0,
            warning_s=warning_s,
            bundle=number,
        )


def _title(task: Task) -> str:
    return f"{task.run}.{task.job.stage}"


def _traits(task: Task) -> tuple[Hashable, ...]:
    units = ((unit.phase.name, id(unit.resources), unit.runtimes) for unit in task.units)
    return task.retries, task.forced, *units


def _calls(made: Sequence[Array], drawing: _Drawing) -> Iterator[Call]:
    width = len(str(len(made)))
    specs = [array.key if isinstance(array.key, SubmissionSpec) else _JOIN for array in made]
    names = [
        f"{number:0{width}d}-{_UNSAFE.sub('_', spec.title)[:80]}"
        for number, spec in enumerate(specs, start=1)
    ]
    gathers = {
        drawing.jobs[node]: name
        for array, spec, name in zip(made, specs, names, strict=True)
        if spec.kind is Kind.GATHER
        for node in array.elements.values()
    }
    for array, spec, name in zip(made, specs, names, strict=True):
        elements = array.elements
        if len(elements) == 1:
            elements = {0: next(iter(elements.values()))}
        jobs = {i: drawing.jobs[node] for i, node in elements.items() if node in drawing.jobs}
        yield Call(
            name=name,
            spec=spec,
            jobs=jobs,
            conditions=tuple(_conditions(array, names)),
            required={
                i: drawing.required[node]
                for i, node in elements.items()
                if node in drawing.required
            },
            partner=gathers[next(iter(jobs.values()))] if spec.kind is Kind.SCATTER else "",
        )


def _conditions(array: Array, names: Sequence[str]) -> Iterator[str]:
    by_condition: dict[str, list[str]] = {}
    for dependency in array.dependencies:
        text = _reference(dependency.on, names)
        by_condition.setdefault(dependency.condition, []).append(text)
    for condition, texts in by_condition.items():
        yield f"{condition}={','.join(texts)}"


def _reference(on: Reference, names: Sequence[str]) -> str:
    if isinstance(on.array, str):
        return on.array if on.index is None else f"{on.array}_{on.index}"
    return names[on.array] if on.index is None else f"{names[on.array]}[{on.index}]"


def jobs_of(call: Call, bundle_plans: Sequence[BundlePlan]) -> Iterable[tuple[int, JobId]]:
    """Return the jobs a call runs, with the index of the element that does."""
    if call.spec.bundle is not None:
        return ((0, task.job.id) for task in bundle_plans[call.spec.bundle].tasks)
    return call.jobs.items()
