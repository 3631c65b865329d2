"""A folder in which a job's program can be tried: its inputs and arguments, none of its results."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from repx import engine, launch, render, runtimes, schedulers, transfer
from repx.cli import phases
from repx.errors import InputError
from repx.model import STEP_PREFIX, short_id
from repx.plan import Plan, Task
from repx.store import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repx.lab.load import OpenLab
    from repx.launch import Launch
    from repx.model import Job
    from repx.places import Outgoing
    from repx.store import Store
    from repx.target import RuntimeName, Target

LOCK: Final = "lock"
_SHOWN: Final = 5


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
    place = transfer.places(subject.opened.files)
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


def prepare(subject: Subject, chosen: Launch) -> str:
    """Fill the job's folder below ``debug`` anew and return its path on the target.

    Raises InputError when an input does not exist or another process uses the folder.
    """
    _send(subject)
    _require(subject, chosen)
    key = f"debug/{subject.job.id}"
    if subject.store.locked(f"{key}/{LOCK}"):
        raise in_use(subject.store.path(key))
    subject.store.remove(f"{key}/out")
    subject.store.write_many(_content(key, subject, chosen))
    return subject.store.path(key)


def in_use(folder: str) -> InputError:
    """Return the error for a folder in which somebody else debugs."""
    return InputError(
        f"{folder} is in use by another `repx debug-run`", hint="leave that shell first"
    )


def _send(subject: Subject) -> None:
    """Bring the job's program and the Lab's metadata to the store, as a run would."""
    task = Task(job=subject.job, run=next(iter(subject.opened.lab.runs)), reason="debug", units=())
    files = subject.opened.files
    transfer.send(
        subject.opened.lab, files, Plan(tasks=(task,)), subject.store, transfer.places(files)
    )


def _runtime(subject: Subject) -> RuntimeName:
    runs = (run for run in subject.opened.lab.runs.values() if subject.job.id in run.jobs)
    return engine.runtime(subject.target, runs)


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


def _content(key: str, subject: Subject, chosen: Launch) -> Iterator[Outgoing]:
    """Yield the two JSON files, ``run``, ``prologue.sh`` and the lock."""
    folder = subject.store.path(key)
    here = dataclasses.replace(
        chosen,
        folder=folder,
        inputs_file=f"{folder}/inputs.json",
        parameters_file=f"{folder}/parameters.json",
    )
    words = " ".join(map(render.quote, runtimes.prepared(_runtime(subject), here).run))
    traced = "[[ $- != *x* ]] || export SHELLOPTS  # `bash -x run` traces the program, too"
    prologue = schedulers.of(subject.target).prologue(subject.target)
    for name, text, mode in (
        ("inputs.json", json.dumps(chosen.inputs, indent=2, ensure_ascii=False), 0o644),
        ("parameters.json", json.dumps(subject.job.params, indent=2, ensure_ascii=False), 0o644),
        ("prologue.sh", "\n".join(prologue), 0o644),
        ("run", f"#!/usr/bin/env bash\n{traced}\nexec {words} </dev/null", 0o755),
    ):
        yield f"{key}/{name}", mode, f"{text}\n".encode(), ""
