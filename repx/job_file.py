"""The job file of a unit: a head of plain data, and a constant tail.

The head has one assignment a line, ``name=word`` or ``name=(word ...)``, with every word as
``shlex.quote`` writes it and every name beginning with ``repx_``. bash reads it by running the
file, the runner by the same few rules (``repx/runner/jobfile.py``). In the file of a unit that
runs once per branch a word may hold ``"$1"``, which is the branch's number.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from repx import launch
from repx.launch import BRANCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from repx.launch import Launch
    from repx.model import Lab
    from repx.plan import Task, Unit
    from repx.runtimes.rooms import Room
    from repx.target import Resources, Target

Value: TypeAlias = str | Sequence[str]

FORMAT: Final = "1"
WHOLE: Final = "all"  # the unit for the whole of a scatter-gather job
# The path from the folder of a job file to the submission folder.
_ABOVE: Final = {False: "..", True: "../.."}
TAIL: Final = """\
case $0 in /*) repx_here=${0%/*} ;; */*) repx_here=$PWD/${0%/*} ;; *) repx_here=$PWD ;; esac
repx_here=$repx_here/$repx_above
. "$repx_here/lib.sh" && repx_main "$@"\
"""
_PRETTY: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
_BRANCH_IN_JSON: Final = json.dumps(BRANCH)[1:-1]
_ESCAPE: Final = re.compile(r"\\(?:u....|.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """One file below ``jobs/``: its path, its unit, and its head as shell text."""

    path: str
    unit: str
    per_branch: bool
    head: str


def of_task(
    task: Task,
    lab: Lab,
    target: Target,
    *,
    submission_id: str,
    artifact: Callable[[str], str],
    room: Room | None = None,
) -> Iterator[JobFile]:
    """Yield the files of a job: one file, and for a scatter-gather job also one per unit.

    ``room`` isolates its programs. Raises LabError if the Lab contradicts itself.
    """
    job = task.job.id
    launches = launch.of_job(lab, target.base_path, task.job, artifact)
    alone = len(launches) == 1
    common: dict[str, Value] = {
        "format": FORMAT,
        "job": job,
        "store": target.base_path,
        "scheduler": target.scheduler.value,
        "submission": submission_id,
        "forced": "1" if task.forced else "",
        "input_wait_s": str(target.input_wait_s),
    }
    if not alone:
        whole = {
            "folder": launch.home(target.base_path, job),
            "units": [unit.phase.name for unit in task.units],
        }
        data = {**common, "above": _ABOVE[False], "unit": WHOLE, **whole}
        yield JobFile(path=f"{job}.sh", unit=WHOLE, per_branch=False, head=head(data))
    for unit, it in zip(task.units, launches, strict=True):
        data = {
            **common,
            "above": _ABOVE[not alone],
            "unit": unit.phase.name,
            **_program(unit, it, room),
            **_parameters(task, it),
            **_around(lab, target),
            **(_among(task, unit, launches) if not alone else {}),
        }
        name = f"{job}.sh" if alone else f"{job}/{unit.phase.name}.sh"
        yield JobFile(
            path=name, unit=unit.phase.name, per_branch=unit.phase.per_branch, head=head(data)
        )


def head(data: Mapping[str, Value]) -> str:
    """Return data as assignments, one per line."""
    return "\n".join(f"repx_{name}={_shell(value)}" for name, value in data.items())


def _shell(value: Value) -> str:
    if isinstance(value, str):
        return _word(value) if value else ""
    return f"({' '.join(map(_word, value))})"


def _word(value: str) -> str:
    """Quote a word, with ``"$1"`` in place of the branch's number."""
    if BRANCH not in value:
        return shlex.quote(value)
    return '"$1"'.join(shlex.quote(part) for part in value.split(BRANCH))


def _program(unit: Unit, it: Launch, room: Room | None) -> dict[str, Value]:
    """Return a unit's command, runtime, resources, inputs and outputs."""
    words = room.words(it, unit.resources) if room else ()
    return {
        "folder": it.folder,
        "executable": it.executable,
        "command": it.words,
        "room": room.key if room else "",
        **{f"in_{name}": each for name, each in words},
        "asks": [word for resources in unit.ladder for word in _asked(resources)],
        "asked_gpus": str(unit.resources.gpus or ""),
        "needs": _pairs(it.inputs),
        "outputs": _pairs(it.outputs),
        "inputs": _json(it.inputs),
        "inputs_file": it.inputs_file,
    }


def _asked(resources: Resources) -> Iterator[str]:
    yield str(resources.cpus or 1)
    for value in (resources.memory, resources.time_s):
        yield "null" if value is None else str(value)


def _parameters(task: Task, it: Launch) -> dict[str, Value]:
    """Return the parameters; the first unit of a job writes their file."""
    writes = it.phase == task.units[0].phase.name
    return {
        "parameters": _PRETTY.encode(task.job.params) if writes else "",
        "parameters_file": it.parameters_file if writes else "",
    }


def _around(lab: Lab, target: Target) -> dict[str, Value]:
    """Return the settings that the target adds to a program."""
    tools = launch.tools(lab)
    return {
        "environment": _pairs(target.environment),
        "secrets": [
            word
            for name, secret in target.secrets.items()
            for word in (name, secret.kind, secret.source)
        ],
        "path": f"{target.base_path}/{tools}" if tools else "",
        "missing_outputs": target.missing_outputs.value,
        "durability": target.durability.value,
    }


def _among(task: Task, unit: Unit, launches: Sequence[Launch]) -> dict[str, Value]:
    """Return the facts about other units of the job that a unit needs."""
    if unit.phase.per_branch:
        folders = {it.phase: it.folder for it in launches}
        return {"later": [f"{folders[name]}/repx/SUCCESS" for name in _later(task, unit)]}
    if unit is not task.units[-1]:
        return {}
    (sink,) = unit.phase.needs
    element = _json(next(it.outputs for it in launches if it.phase == sink))
    return {"sink": sink, "element": element.split(BRANCH)}


def _later(task: Task, first: Unit) -> list[str]:
    """Return the units of a branch that depend on a unit of this branch, directly or not."""
    found = {first.phase.name}
    for unit in task.units:
        if unit.phase.per_branch and found.intersection(unit.phase.needs):
            found.add(unit.phase.name)
    return sorted(found - {first.phase.name})


def _json(value: object) -> str:
    """Return JSON that keeps ``BRANCH`` in place of the branch's number."""
    text = _PRETTY.encode(value)
    if _BRANCH_IN_JSON in text:
        text = _ESCAPE.sub(lambda found: found[0].replace(_BRANCH_IN_JSON, BRANCH), text)
    return text


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [word for pair in values.items() for word in pair]
