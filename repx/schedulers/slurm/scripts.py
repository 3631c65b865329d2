"""A Plan as Slurm scripts: submit.sh, one script per call of sbatch, and who is in which."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from repx import plan_file, render, runner_code
from repx.model import value_text
from repx.render import Raw, RenderedFile
from repx.schedulers.slurm import again, batches, directives, running
from repx.schedulers.slurm.batches import Call, Kind, SubmissionSpec
from repx.schedulers.slurm.folder import AGAIN, FORCED, TRIES
from repx.target import RetryReason

if TYPE_CHECKING:
    from repx.model import JobId, Lab
    from repx.plan import Plan
    from repx.schedulers.slurm.batches import Batches
    from repx.schedulers.slurm.bundles import BundlePlan
    from repx.schedulers.slurm.directives import Directive
    from repx.target import Retries, Target

DEFAULT_MAX_ARRAY_SIZE: Final = 1000
_SCRIPT: Final = 0o755
_TEXT: Final = 0o644
_LONGEST_COMMENT: Final = 80  # every element of an array gets a copy of its script
_FEW: Final = 100  # jobs that hardly any site refuses
_CONTINUE: Final = SubmissionSpec(Kind.CONTINUE, "continue")


def files(
    plan: Plan,
    lab: Lab,
    target: Target,
    *,
    submission_id: str,
    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE,
) -> Iterator[RenderedFile]:
    """Yield what a Slurm submission has beside what ``render.submission`` gives.

    ``max_array_size`` is the site's, for a target that does not say. Raises what
    ``batches.make`` raises.
    """
    size = target.slurm.max_array_size or max_array_size
    watched = again.of_plan(plan)
    made = batches.make(plan, target, max_array_size=size, watched=watched)
    if target.slurm.max_running:
        calls = running.at_most(made.calls, target.slurm.max_running)
        made = dataclasses.replace(made, calls=tuple(calls))
    if watched:
        made = dataclasses.replace(made, calls=tuple(again.watched(made.calls, plan)))
    params = {task.job.id: task.job.params for task in plan.tasks}
    writer = _Writer(target, made, submission_id, size, params)
    yield writer.as_it_is("slurm.sh")
    yield writer.as_it_is("slurm-job.sh")
    if watched:
        yield writer.as_it_is("again.sh")
        yield _tries(made)
    for call in made.calls:
        yield from writer.scripts(call)
    yield writer.continuation()
    yield writer.submit(len(plan.tasks))
    yield _table(made)
    forced = "".join(f"{task.job.id}\n" for task in plan.tasks if task.forced)
    if forced:
        yield RenderedFile(path=FORCED, text=forced, mode=_TEXT)
    for path, jobs in made.lists.items():
        yield RenderedFile(path=path, text="".join(f"{job}\n" for job in jobs), mode=_TEXT)
    for number, bundle in enumerate(made.bundle_plans):
        folder = f"bundles/{number}"
        document = plan_file.document(
            _inside(plan, bundle), lab, target, submission_id=f"{submission_id}/{folder}"
        )
        yield RenderedFile(path=f"{folder}/plan.json", text=json.dumps(document), mode=_TEXT)


class _Writer:
    """Fills the templates of one submission."""

    def __init__(
        self,
        target: Target,
        made: Batches,
        submission_id: str,
        max_array_size: int,
        params: Mapping[JobId, Mapping[str, object]],
    ) -> None:
        self.made = render.environment(target.templates)
        self._target = target
        self._batches = made
        self._id = submission_id
        self._size = max_array_size
        self._params = params
        self._calls = {call.name: call for call in made.calls}
        self._common = {
            "store": target.base_path,
            "umask": target.umask,
            "submission": submission_id,
            "grace_s": target.input_wait_s,
            "prologue": tuple(map(Raw, prologue(target))),
        }

    def text(self, template: str, path: str, mode: int = _TEXT, **context: object) -> RenderedFile:
        """Return one file made of one template."""
        return RenderedFile(path=path, text=render.fill(self.made, template, **context), mode=mode)

    def as_it_is(self, name: str) -> RenderedFile:
        """Return a file in which nothing is to be filled; a site may have its own."""
        loader = self.made.loader
        text = loader.get_source(self.made, name)[0] if loader else ""
        return RenderedFile(path=name, text=text, mode=_TEXT)

    def scripts(self, call: Call) -> Iterator[RenderedFile]:
        """Yield the script of a call, and of the steps that its jobs submit."""
        if call.spec.kind is Kind.AGAIN:
            of = self._calls[call.partner]
            yield self._again(call.name, of.name, of.spec, of)
            return
        about = _about(call, self._batches.bundle_plans)
        steps = [
            {
                "name": step.name,
                "script": f"sbatch/{call.name}.{number}.sh",
                "again": f"sbatch/{call.name}.{number}.again.sh" if again.tries(step.spec) else "",
                "needs": " ".join(map(str, step.needs)),
            }
            for number, step in enumerate(call.spec.steps)
        ]
        bundle = None if call.spec.bundle is None else self._batches.bundle_plans[call.spec.bundle]
        context: dict[str, object] = {
            "jobs": list(self._elements(call)),
            "required": [(Raw(i), "\n".join(lines)) for i, lines in call.required.items()],
            "steps": [{**step, "number": Raw(number)} for number, step in enumerate(steps)],
            "gather": call.partner,
            "sink": call.spec.steps[-1].name if call.spec.steps else "",
            "array_size": Raw(self._size),
            "throttle": Raw(self._throttle()),
            "forced": Raw("1" if call.spec.forced else ""),
            "bundle": Raw(call.spec.bundle or 0),
            "runner": runner_code.start(self._target.base_path),
            "cpus": Raw(bundle.cpus if bundle else 1),
            "mem_bytes": Raw((bundle and bundle.mem_bytes) or "''"),
        }
        own = (*self._directives(call), _invalid(kept=call.kept))
        yield self._script(call.name, call.spec, own, about, context)
        if call.spec.kind is Kind.SCATTER:
            for step, given in zip(call.spec.steps, steps, strict=True):
                name = given["script"].removeprefix("sbatch/").removesuffix(".sh")
                about = f"Step {step.name} of the jobs of {call.name}; element i is branch i."
                output = (("--output", "logs/%A_%a.out"), _invalid(kept=bool(given["again"])))
                yield self._script(name, step.spec, output, about, {"step": step.name})
                if given["again"]:
                    yield self._again(name + AGAIN, name, step.spec, step=step.name)

    def continuation(self) -> RenderedFile:
        """Return the script that goes on with submit.sh where a limit stopped it."""
        asked = (("--export", "NONE"), *self._site(), ("--time", "01:00:00"), ("--requeue", None))
        spec = dataclasses.replace(_CONTINUE, directives=asked)
        own = (("--output", "logs/continue.out"), _invalid())
        return self._script("continue", spec, own, "Submits what a limit left over.", {})

    def submit(self, jobs: int) -> RenderedFile:
        """Return submit.sh."""
        lines = [Raw(line) for line in self._lines()]
        return self.text(
            "submit.sh.j2",
            "submit.sh",
            _SCRIPT,
            **self._common,
            jobs=Raw(jobs),
            count=Raw(len(self._batches.calls)),
            clusters=str(self._target.slurm.options.get("clusters", "")),
            max_submit=Raw(self._target.slurm.max_submit or "''"),
            calls=lines,
        )

    def _may_reach_limit(self) -> bool:
        calls = self._batches.calls
        some = bool(self._target.slurm.max_submit) or sum(call.size for call in calls) > _FEW
        return some and len(calls) > 1

    def _lines(self) -> Iterator[str]:
        held: dict[str, str] = {}
        for number, call in enumerate(self._batches.calls):
            conditions = "".join(f" {render.quote(each)}" for each in call.conditions)
            yield f"submit {call.name} {call.size}{conditions}"
            if not number and self._may_reach_limit():
                yield "take_place"
            if call.partner:
                held[call.partner] = call.name
            if call.name in held:
                yield f"release {held[call.name]}"

    def _script(
        self,
        name: str,
        spec: SubmissionSpec,
        own: Iterable[Directive],
        about: str,
        context: dict[str, object],
    ) -> RenderedFile:
        always = (
            ("--job-name", "".join(c if c.isprintable() else "?" for c in spec.title)),
            ("--comment", f"repx:{self._id}:{name}"),
            *own,
            ("--open-mode", "append"),
        )
        return self.text(
            f"sbatch-{spec.kind}.sh.j2",
            f"sbatch/{name}.sh",
            _SCRIPT,
            **self._common,
            **context,
            about=about,
            directives=[Raw(directives.line(each)) for each in (*always, *spec.directives)],
            limit_s=Raw(spec.limit_s),
            warning_s=Raw(spec.warning_s),
            retries=Raw(_within_one_job(spec.retries)),
            tries=Raw(again.tries(spec) or ""),
            rungs=[(Raw(rung.limit_s), Raw(rung.warning_s)) for rung in spec.rungs],
        )

    def _again(
        self, name: str, script: str, of: SubmissionSpec, call: Call | None = None, step: str = ""
    ) -> RenderedFile:
        """Return the script of the job that submits what failed of a script's call, or step."""
        asked = (("--export", "NONE"), *self._site(), ("--time", "00:15:00"), ("--requeue", None))
        context: dict[str, object] = {
            "call": script,
            "step": step,
            "jobs": list(self._elements(call)) if call else [],
            "array": Raw("1" if call is None or call.is_array else ""),
            "throttle": Raw(self._throttle()),
            "forced": Raw("1" if of.forced else ""),
            "again_tries": Raw(again.tries(of)),
            "on": " ".join(of.retries.on),
            "options": [
                " ".join(directives.line(each) for each in rung.directives) for rung in of.rungs
            ],
        }
        spec = SubmissionSpec(Kind.AGAIN, of.title + AGAIN, directives=asked)
        about = f"Submits again what failed of {script}; who waits for that waits on."
        own = (("--output", "logs/%j.out"), _invalid())
        return self._script(name, spec, own, about, context)

    def _directives(self, call: Call) -> Iterator[Directive]:
        if call.is_array:
            yield "--array", f"{_ranges(call.jobs)}{self._throttle()}"
        yield "--output", "logs/%A_%a.out" if call.is_array else "logs/%j.out"
        if call.spec.kind in (Kind.SCATTER, Kind.GATHER):
            yield "--hold", None
        if call.spec.kind is Kind.JOIN:
            yield from (("--export", "NONE"), *self._site(), ("--time", "00:05:00"))

    def _elements(self, call: Call) -> Iterator[tuple[Raw, JobId, str]]:
        """Yield the elements of a call: index, job, and the parameters in which they differ."""
        params = [self._params.get(job, {}) for job in call.jobs.values()]
        first = params[0] if params else {}
        names = [name for name in first if any(each.get(name) != first[name] for each in params)]
        for (index, job), each in zip(call.jobs.items(), params, strict=True):
            said = " ".join(f"{name}={value_text(each.get(name))}" for name in names)
            yield Raw(index), job, said[:_LONGEST_COMMENT]

    def _throttle(self) -> str:
        running = self._target.slurm.max_running
        return f"%{running}" if running else ""

    def _site(self) -> Iterator[Directive]:
        """Yield what a job that does next to nothing must still say on this site."""
        for name in ("partition", "account", "qos", "clusters", "reservation"):
            if name in self._target.slurm.options:
                yield f"--{name}", str(self._target.slurm.options[name])


def _invalid(*, kept: bool = False) -> Directive:
    """Return what Slurm does with a job that can no longer start."""
    return "--kill-on-invalid-dep", "no" if kept else "yes"


def prologue(target: Target) -> Iterator[str]:
    """Yield the shell lines that a site needs before anything else, then its modules."""
    yield from target.slurm.prologue
    if target.slurm.modules:
        yield "type module >/dev/null 2>&1 || . /etc/profile"
        yield f"module load {' '.join(map(render.quote, target.slurm.modules))}"


def _within_one_job(retries: Retries) -> int:
    """Return how often a job is tried again within its Slurm job: only after a plain failure.

    One that was ended for its memory or time finds the same limits there.
    """
    return retries.n if RetryReason.EXIT in retries.on else 0


def _about(call: Call, bundle_plans: Iterable[BundlePlan]) -> str:
    size = sum(1 for _ in batches.jobs_of(call, tuple(bundle_plans)))
    match call.spec.kind:
        case Kind.JOIN:
            return "Stands for many others."
        case Kind.BUNDLE:
            return f"{size} jobs, one after another and side by side, in one allocation."
        case _ if call.is_array:
            return f"{size} jobs; element i runs jobs[i]."
        case _:
            return "One job."


def _ranges(indices: Iterable[int]) -> str:
    """Return ascending numbers as --array takes them: ``0-3,7``."""
    found: list[list[int]] = []
    for index in indices:
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)


def _table(made: Batches) -> RenderedFile:
    """Return arrays.tsv: call, index, kind, job; one line per job and call."""
    lines = (
        f"{call.name}\t{index if call.is_array else '-'}\t{_kind(call.spec)}\t{job}\n"
        for call in made.calls
        for index, job in batches.jobs_of(call, made.bundle_plans)
    )
    return RenderedFile(path="arrays.tsv", text="".join(lines), mode=_TEXT)


def _tries(made: Batches) -> RenderedFile:
    """Return tries.tsv: call, how often its jobs may be submitted again, and why."""
    lines = (
        f"{call.name}\t{n}\t{' '.join(call.spec.retries.on)}\n"
        for call in made.calls
        if (n := again.tries(call.spec))
    )
    return RenderedFile(path=TRIES, text="".join(lines), mode=_TEXT)


def _kind(spec: SubmissionSpec) -> str:
    return spec.kind if spec.bundle is None else f"{spec.kind}:{spec.bundle}"


def _inside(plan: Plan, bundle: BundlePlan) -> Plan:
    """Return the part of a plan that one bundle runs; what it waits for has ended by then."""
    inside = {task.job.id for task in bundle.tasks}
    held = sorted({number for task in bundle.tasks for number in task.gates})
    places = {number: place for place, number in enumerate(held)}
    gates = tuple(plan.gates[number] for number in held)
    awaited: set[JobId] = {need for task in bundle.tasks for need in task.needs}
    awaited.update(job for gate in gates for job in gate.jobs)
    tasks = tuple(
        dataclasses.replace(task, gates=tuple(places[number] for number in task.gates))
        for task in bundle.tasks
    )
    alive = dict.fromkeys(sorted(awaited - inside))
    return dataclasses.replace(plan, tasks=tasks, gates=gates, alive=alive)
