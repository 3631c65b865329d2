"""A Plan as a submission folder: the one owner of quoting.

Every ``{{ value }}`` of a template is quoted for the shell unless it is a ``Raw``, and only this
module makes those. Templates hold no decisions; what they show is computed here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx import assets, launch, plan_file, progress
from repx.errors import InputError, RenderError
from repx.launch import BRANCH
from repx.runtimes.rooms import NO_ROOMS

if TYPE_CHECKING:
    import jinja2

    from repx.launch import Launch
    from repx.model import Lab, RunName
    from repx.plan import Plan, Task, Unit
    from repx.runtimes.rooms import Room
    from repx.target import Target

SHELL_LIBRARY: Final = ("lib.sh", "rare.sh", "scatter-gather.sh")

_SCRIPT: Final = 0o755
_TEXT: Final = 0o644
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRETTY: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
_BRANCH_IN_JSON: Final = json.dumps(BRANCH)[1:-1]
_ESCAPE: Final = re.compile(r"\\(?:u....|.)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Raw(str):
    """Text that is shell code already and must not be quoted again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """One file of a submission folder: path inside it, text, mode bits."""

    path: str
    text: str
    mode: int


def environment(templates: str | None = None) -> jinja2.Environment:
    """Return the template environment; ``templates`` is a site's folder that comes first.

    A site's template of the same name replaces ours, and reaches ours as ``repx/<name>``, so
    ``{% extends "repx/job.sh.j2" %}`` overrides single blocks. Raises InputError without it.
    """
    import jinja2

    if templates and not Path(templates).is_dir():
        message = f"templates: there is no folder {templates}"
        raise InputError(message, hint="correct `templates:` of the target, or remove it")

    ours = jinja2.FileSystemLoader(assets.path("templates"))
    site = [jinja2.FileSystemLoader(templates)] if templates else []
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*site, ours, jinja2.PrefixLoader({"repx": ours})]),
        undefined=jinja2.StrictUndefined,
        finalize=quote,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        autoescape=False,  # noqa: S701 -- shell, not HTML; `finalize` does the quoting
    )
    made.filters["comment"] = comment
    return made


def quote(value: object) -> str:
    """Quote a value of a template for the shell, unless it is shell code already."""
    if isinstance(value, Raw):
        return value
    if value is None:
        message = "a template shows a value that is None"
        raise RenderError(message)
    return shlex.quote(str(value))


def comment(value: object) -> Raw:
    """Return a value as the text of a comment: one line, whatever it holds."""
    return Raw(_CONTROL.sub("?", str(value)))


def fill(made: jinja2.Environment, name: str, **context: object) -> str:
    """Return the template ``name`` filled in. Raises RenderError naming template and line."""
    import jinja2

    try:
        return made.get_template(name).render(**context)
    except jinja2.TemplateSyntaxError as error:
        message = f"{error.filename or error.name}:{error.lineno}: {error.message}"
        raise RenderError(message) from error
    except jinja2.TemplateNotFound as error:
        raise RenderError(f"{name}: there is no template '{error.name}'") from error
    except jinja2.TemplateError as error:
        message = f"{name}: {error.message or type(error).__name__}"
        hint = "look at the templates folder named in the target's profile"
        raise RenderError(message, hint=hint) from error


def submission(
    plan: Plan,
    lab: Lab,
    target: Target,
    *,
    submission_id: str,
    artifact: Callable[[str], str],
    rooms: Mapping[RunName, Room] = NO_ROOMS,
) -> Iterator[RenderedFile]:
    """Yield the files that every submission folder has.

    ``artifact`` gives the absolute path on the target of a file of the Lab, ``rooms`` what the
    jobs of isolated runs run in. Lazy, so that 100,000 scripts are never in memory together.
    Raises LabError where the Lab contradicts itself.
    """
    made = environment(target.templates)
    document = plan_file.document(plan, lab, target, submission_id=submission_id)
    yield RenderedFile(path="plan.json", text=json.dumps(document), mode=_TEXT)
    for name in SHELL_LIBRARY:
        yield _shipped(f"templates/{name}", name)
    readme = fill(
        made,
        "submission-readme.j2",
        plan=plan,
        lab=lab,
        target=target,
        submission=submission_id,
    )
    yield RenderedFile(path="README", text=readme, mode=_TEXT)
    yield from job_scripts(made, plan, lab, target, artifact=artifact, rooms=rooms)


def _shipped(asset: str, path: str) -> RenderedFile:
    return RenderedFile(path=path, text=assets.path(asset).read_text(encoding="utf-8"), mode=_TEXT)


# --- jobs/<job>.sh ---------------------------------------------------------------------------


def job_scripts(
    made: jinja2.Environment,
    plan: Plan,
    lab: Lab,
    target: Target,
    *,
    artifact: Callable[[str], str],
    rooms: Mapping[RunName, Room] = NO_ROOMS,
) -> Iterator[RenderedFile]:
    """Yield one wrapper per task of the plan."""
    common: dict[str, object] = {
        "store": target.base_path,
        "scheduler": target.scheduler.value,
        "input_wait_s": target.input_wait_s,
        "host_tools": _host_tools(lab, target),
        "environment": _environment(target),
    }
    for task in progress.through(plan.tasks, "writing scripts:"):
        room = rooms.get(task.run)
        text = fill(
            made,
            "job.sh.j2",
            **common,
            job=task.job.id,
            run=task.run,
            forced=Raw("1" if task.forced else ""),
            parameters=_json(task.job.params),
            room=room.key if room else "",
            **_programs(task, lab, target.base_path, artifact, room),
        )
        yield RenderedFile(path=f"jobs/{task.job.id}.sh", text=text, mode=_SCRIPT)


def _host_tools(lab: Lab, target: Target) -> str:
    return f"{target.base_path}/artifacts/host-tools/{lab.host_tools}/bin" if lab.host_tools else ""


def _environment(target: Target) -> dict[Raw, str]:
    for name in target.environment:
        if not _ENVIRONMENT_NAME.fullmatch(name):
            message = f"target '{target.name}': '{name}' cannot be the name of a variable"
            raise InputError(message, hint="use letters, digits and _, not a digit first")
    return {Raw(name): value for name, value in target.environment.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One executable of a job as its script sees it; every field is shell code."""

    executable: Raw
    command: Raw
    inputs: Raw
    needs: Raw
    outputs: Raw
    isolated: Mapping[Raw, Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a scatter-gather job; ``later`` are the steps that depend on it."""

    name: str
    later: Raw
    program: Program


def _programs(
    task: Task, lab: Lab, base: str, artifact: Callable[[str], str], room: Room | None
) -> dict[str, object]:
    """Return what the template needs to know of the job's programs."""
    launches = launch.of_job(lab, base, task.job, artifact)
    programs = [_program(unit, it, room) for unit, it in zip(task.units, launches, strict=True)]
    if len(programs) == 1:
        return {"phases": False, "main": programs[0]}
    steps = [
        Step(name=unit.phase.step, later=_words(_later(task, unit.phase.name)), program=program)
        for unit, program in zip(task.units, programs, strict=True)
        if unit.phase.per_branch
    ]
    (sink,) = task.units[-1].phase.needs
    return {
        "phases": True,
        "scatter": programs[0],
        "steps": steps,
        "step_names": _words([step.name for step in steps]),
        "sink": task.unit(sink).phase.step,
        "worker_outs": _spliced_json(next(it.outputs for it in launches if it.phase == sink)),
        "gather": programs[-1],
    }


def _program(unit: Unit, it: Launch, room: Room | None) -> Program:
    return Program(
        executable=_spliced(it.executable),
        command=_words(it.words),
        inputs=_spliced_json(it.inputs),
        needs=_words(_pairs(it.inputs)),
        outputs=_words(_pairs(it.outputs)),
        isolated={Raw(name): _words(words) for name, words in _isolated(unit, it, room)},
    )


def _isolated(unit: Unit, it: Launch, room: Room | None) -> Iterable[tuple[str, tuple[str, ...]]]:
    return room.words(it, unit.resources) if room else ()


def _later(task: Task, step: str) -> list[str]:
    """Return the steps that depend on ``step``, directly or not."""
    found = {step}
    for unit in task.units:
        if unit.phase.per_branch and found.intersection(unit.phase.needs):
            found.add(unit.phase.name)
    return sorted(task.unit(name).phase.step for name in found - {step})


def _json(value: object) -> str:
    return _PRETTY.encode(value)


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [word for pair in values.items() for word in pair]


def _words(values: Iterable[str]) -> Raw:
    return Raw(" ".join(map(_spliced, values)))


def _spliced(value: str) -> Raw:
    """Quote a value; where it holds the branch's number, leave it to the shell's ``branch``."""
    return Raw('"$branch"'.join(shlex.quote(part) for part in value.split(BRANCH)))


def _spliced_json(value: object) -> Raw:
    text = _json(value)
    if _BRANCH_IN_JSON in text:
        text = _ESCAPE.sub(lambda found: found[0].replace(_BRANCH_IN_JSON, BRANCH), text)
    return _spliced(text)
