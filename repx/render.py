"""Render a plan as a submission folder, with values quoted for the shell.

Every ``{{ value }}`` of a template is quoted for the shell unless it is a ``Raw``. Templates
contain no decisions; their values are computed here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from repx import assets, job_file, plan_file, progress
from repx.errors import InputError, RenderError
from repx.runtimes.rooms import NO_ROOMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2

    from repx.model import Lab
    from repx.plan import Plan
    from repx.runtimes.rooms import Room
    from repx.target import Target

SHELL_LIBRARY: Final = (
    "lib.sh",
    "markers.sh",
    "exceptional.sh",
    "batch.sh",
    "scatter-gather.sh",
    "secrets.sh",
    "plain.sh",
)

_SCRIPT: Final = 0o755
_PRIVATE: Final = 0o700
_TEXT: Final = 0o644
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Raw(str):
    """Text that is already shell code and must not be quoted again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """One file of a submission folder: path inside it, text, mode bits."""

    path: str
    text: str
    mode: int


def environment(templates: str | None = None) -> jinja2.Environment:
    """Return the template environment; ``templates`` is a site's folder that is searched first.

    A site's template replaces repx's template of the same name. It can refer to the latter as
    ``repx/<name>``, so ``{% extends "repx/job.sh.j2" %}`` overrides single blocks. Raises
    InputError if the site's folder does not exist.
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
    """Quote a value of a template for the shell, unless it is already shell code."""
    if isinstance(value, Raw):
        return value
    if value is None:
        message = "a template shows a value that is None"
        raise RenderError(message)
    return shlex.quote(str(value))


def comment(value: object) -> Raw:
    """Return a value as the text of a comment, always on one line."""
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
    rooms: Mapping[str | None, Room] = NO_ROOMS,
) -> Iterator[RenderedFile]:
    """Yield the files that every submission folder has.

    ``artifact`` gives the absolute path on the target of a file of the Lab, ``rooms`` what
    isolated jobs run in, by image. Lazy, so that 100,000 scripts are never in memory together.
    Raises LabError if the Lab contradicts itself.
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
    yield from job_scripts(
        made,
        plan,
        lab,
        target,
        submission_id=submission_id,
        artifact=artifact,
        rooms=rooms,
    )


def _shipped(asset: str, path: str) -> RenderedFile:
    return RenderedFile(path=path, text=assets.path(asset).read_text(encoding="utf-8"), mode=_TEXT)


# --- jobs/ ----------------------------------------------------------------------------------


def job_scripts(
    made: jinja2.Environment,
    plan: Plan,
    lab: Lab,
    target: Target,
    *,
    submission_id: str,
    artifact: Callable[[str], str],
    rooms: Mapping[str | None, Room] = NO_ROOMS,
) -> Iterator[RenderedFile]:
    """Yield the job files of a plan; files with a target's `environment:` are private."""
    _check_environment(target)
    mode = _PRIVATE if target.environment else _SCRIPT
    for task in progress.through(plan.tasks, "writing scripts:"):
        files = job_file.of_task(
            task,
            lab,
            target,
            submission_id=submission_id,
            artifact=artifact,
            room=rooms.get(lab.image_of(task.job, task.run)),
        )
        for file in files:
            text = fill(
                made,
                "job.sh.j2",
                job=task.job.id,
                run=task.run,
                what="" if file.unit in ("main", job_file.WHOLE) else f": {file.unit}",
                argument=Raw(" BRANCH" if file.per_branch else ""),
                head=Raw(file.head),
                tail=Raw(job_file.TAIL),
            )
            yield RenderedFile(path=f"jobs/{file.path}", text=text, mode=mode)


def _check_environment(target: Target) -> None:
    for name in (*target.environment, *target.secrets):
        if not _ENVIRONMENT_NAME.fullmatch(name):
            message = f"target '{target.name}': '{name}' cannot be the name of a variable"
            raise InputError(message, hint="use letters, digits and _, not a digit first")
