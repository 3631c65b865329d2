"""A folder in which a job's program can be tried: its inputs and arguments, none of its results."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from repx import engine, images, isolation, launch, schedulers, transfer
from repx.cli import phases
from repx.errors import InputError
from repx.lab.software import declared
from repx.model import STEP_PREFIX, short_id
from repx.plan import Plan, Task
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.lab.load import OpenLab
    from repx.launch import Launch
    from repx.model import Job, RunName
    from repx.runtimes.rooms import Room
    from repx.store import Store
    from repx.target import Target

LOCK: Final = "lock"
SHELL: Final = "shell"
_SHOWN: Final = 5
_TRACED: Final = "[[ $- != *x* ]] || export SHELLOPTS  # `bash -x run` traces the program, too"
# For a job that is isolated: inside its runtime `run` is the program, outside it goes in.
_RUN: Final = """#!/bin/sh
if [ "${{REPX_DEBUG-}}" = inside ]; then exec {inside} </dev/null; fi
exec bash {outside} </dev/null"""
# Only bash can load modules; an image may have no bash.
_INSIDE: Final = """#!{interpreter}
export REPX_DEBUG=inside
. "${{0%/*}}/../software.sh"
if [ -e "${{0%/*}}/line" ]; then exec /bin/sh "${{0%/*}}/line"; fi
exec /bin/sh -i"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One job and where it lives."""

    opened: OpenLab
    store: Store
    target: Target
    job: Job


def program(subject: Subject, phase: str | None) -> Launch:
    """Return what to debug; without a phase, what failed.

    A step's phase names its branch, as a person does: ``branch-2/step-fit``. Raises InputError
    for an unknown phase.
    """
    job, store = subject.job, subject.store
    place = transfer.places(subject.opened.lab, subject.opened.files)
    launches = launch.of_job(
        subject.opened.lab, store.root, job, lambda path: store.path(place(path))
    )
    if not job.is_scatter_gather and phase is not None:
        raise InputError(f"job {job.id} has no phases", hint="leave out --phase")
    wanted = phase or phases.failed(store, job.id) or launches[0].phase
    step = phases.STEP.fullmatch(wanted)
    name, branch = (f"{STEP_PREFIX}{step['step']}", step["branch"]) if step else (wanted, "")
    found = next((each for each in launches if each.phase == name), None)
    if found is None or (launch.BRANCH in found.folder) != bool(branch):
        known = (
            f"branch-N/{each.phase}" if launch.BRANCH in each.folder else each.phase
            for each in launches
        )
        message = f"job {job.id} has no phase '{wanted}'"
        raise InputError(message, hint=f"there are: {', '.join(known)}")
    given = {key: path.replace(launch.BRANCH, branch) for key, path in found.inputs.items()}
    return dataclasses.replace(found, phase=wanted, inputs=given)


def prepare(subject: Subject, chosen: Launch, line: str | None) -> tuple[str, bool]:
    """Fill the job's folder below ``debug`` anew and return its path on the target.

    Also returns whether the job is isolated; then ``shell`` opens a shell where its program runs,
    or runs ``line`` there.

    Raises InputError when an input does not exist or another process uses the folder.
    """
    _send(subject)
    _require(subject, chosen)
    key = f"debug/{subject.job.id}"
    if subject.store.locked(f"{key}/{LOCK}"):
        raise in_use(subject.store.path(key))
    # What nodes said may not hold any more.
    subject.store.remove(f"{key}/out", f"{key}/nodes", f"{key}/repx")
    folder = subject.store.path(key)
    here = dataclasses.replace(
        chosen,
        folder=folder,
        inputs_file=f"{folder}/inputs.json",
        parameters_file=f"{folder}/parameters.json",
    )
    room = _room(subject)
    files = chain(_content(subject, here, room), _isolation(subject, here, room, line))
    subject.store.write_many(
        (f"{key}/{name}", mode, f"{text}\n".encode(), "") for name, mode, text in files
    )
    return folder, room is not None


def in_use(folder: str) -> InputError:
    """Return the error for a folder in which somebody else debugs."""
    return InputError(
        f"{folder} is in use by another `repx debug-run`", hint="leave that shell first"
    )


def _send(subject: Subject) -> None:
    """Bring the job's program and the Lab's metadata to the store, as a run would."""
    task = Task(job=subject.job, run=_run(subject), reason="debug", units=())
    files = subject.opened.files
    transfer.send(
        subject.opened.lab,
        files,
        Plan(tasks=(task,)),
        subject.store,
        transfer.places(subject.opened.lab, files),
    )


def _run(subject: Subject) -> RunName:
    runs = subject.opened.lab.runs.values()
    return next(run.name for run in runs if subject.job.id in run.jobs)


def _room(subject: Subject) -> Room | None:
    """Return what the job runs in unless natively; its image is in the store then."""
    image = subject.opened.lab.image_of(subject.job, _run(subject))
    target = subject.store.place.settled(subject.target)
    rooms, used = engine.rooms_of(subject.opened, [image], target)
    images.send(used, subject.store)
    return rooms.get(image)


def _require(subject: Subject, chosen: Launch) -> None:
    """Raise InputError, naming what to run first, if an input does not exist yet."""
    keys = {
        name: path.removeprefix(f"{subject.store.root}/")
        for name, path in chosen.inputs.items()
        if path != subject.store.root
    }
    there = subject.store.files.kinds(list(keys.values()))
    missing = [name for name, key in keys.items() if key not in there]
    if not missing:
        return
    job = subject.job
    done = subject.store.markers(job.needs)
    first = [need for need in job.needs if done.get(need) != SUCCESS]
    words = [short_id(need) for need in first[:_SHOWN]] or [short_id(job.id)]
    more = f" (and {len(first) - _SHOWN} more)" if len(first) > _SHOWN else ""
    listed = "\n".join(f"  {name}: {chosen.inputs[name]}" for name in missing)
    raise InputError(
        f"job {job.id}: inputs are missing:\n{listed}",
        hint=f"run what makes them first: {shlex.join(['repx', 'run', *words])}{more}",
    )


def _content(subject: Subject, here: Launch, room: Room | None) -> Iterator[tuple[str, int, str]]:
    """Yield the two JSON files, ``run``, and what the shell reads before it opens."""
    words = shlex.join(here.words)
    run = f"#!/usr/bin/env bash\n{_TRACED}\nexec {words} </dev/null"
    if room:
        run = _RUN.format(inside=words, outside=shlex.quote(f"{here.folder}/program"))
    prologue = schedulers.of(subject.target).prologue(subject.target)
    yield "inputs.json", 0o644, json.dumps(here.inputs, indent=2, ensure_ascii=False)
    yield "parameters.json", 0o644, json.dumps(subject.job.params, indent=2, ensure_ascii=False)
    lines = [*prologue, *_secrets(subject.target)]
    if room is None:
        lines.append(f". {shlex.quote(here.folder)}/software.sh")
    script = _script(subject, here)
    software = filter(None, (declared.loading_of(script), _packages(subject, script)))
    yield "software.sh", 0o644, "\n".join(software)
    yield "prologue.sh", 0o644, "\n".join(lines)
    yield "run", 0o755, run


def _script(subject: Subject, here: Launch) -> str:
    executable = subject.job.executables[here.phase.rpartition("/")[2]]
    files = subject.opened.files
    return files.read(files.resolve(executable.path)).decode(errors="replace")


def _packages(subject: Subject, script: str) -> str:
    """Return the lines of sh that let the shell find the packages of the job's script."""
    environment = declared.environment_of(script)
    if environment is None:
        return ""
    place = subject.store.path(f"{launch.lab_folder(subject.opened.lab)}/store/{environment}")
    return (
        f"export VIRTUAL_ENV={shlex.quote(place)} PYTHONDONTWRITEBYTECODE=1\n"
        "export PATH=$VIRTUAL_ENV/bin:$PATH\nunset PYTHONHOME PYTHONPATH"
    )


def _secrets(target: Target) -> Iterator[str]:
    """Yield lines of bash that read the target's secrets, which stand in no file of the folder."""
    for name, secret in target.secrets.items():
        if secret.kind == "env":
            yield f'export {name}="${{{secret.source}?is not set; {name} needs it}}"'
        else:
            path = re.sub("^'~/", "~/'", shlex.quote(secret.source))
            yield f"{name}=$(<{path}) && export {name} || exit"


def _isolation(
    subject: Subject, here: Launch, room: Room | None, line: str | None
) -> Iterator[tuple[str, int, str]]:
    """Yield what isolates: ``program`` starts the program so, ``shell`` a shell or ``line``."""
    if room is None:
        return
    for file in isolation.files([room]):
        yield file.path, file.mode, file.text
    inside = dataclasses.replace(
        here,
        executable=f"{here.folder}/repx/inside",
        inputs={**here.inputs, "the folder": here.folder},
    )
    modules = declared.modules_of(_script(subject, here))
    inside_text = _INSIDE.format(interpreter="/usr/bin/env bash" if modules else "/bin/sh")
    yield "repx/inside", 0o755, inside_text
    if line is not None:
        yield "repx/line", 0o644, line
    for name, each in (("program", here), (SHELL, inside)):
        yield name, 0o644, isolation.debug_script(each, room, subject.store.root)
