"""One JSON object of a Lab's metadata to one object of the model (docs/lab-format.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING, Final

from repx.lab.fields import FieldError, Object, each, optional, required, texts, wrong
from repx.lab.files import fault, shortened
from repx.model import (
    SELF,
    STEP_PREFIX,
    DependencyType,
    Executable,
    Hints,
    Input,
    Job,
    JobId,
    RunName,
    StageType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

WORK_ITEM_EXAMPLE: Final = "worker__arg"  # among scatter's outputs, but no file
_LEGACY_STAGES: Final = ("worker", "gather")
RESERVED_RUNS: Final = frozenset({"missing", "pending", "top"})
_STAGE_TYPES: Final[Mapping[str, StageType]] = {str(kind): kind for kind in StageType}
_DEPENDENCIES: Final[Mapping[str, DependencyType]] = {str(kind): kind for kind in DependencyType}
_NAME: Final = re.compile(r"[^/\x00-\x1f\x7f]+")
_MAX_NAME_BYTES: Final = 200  # file systems allow 255; names get prefixes and suffixes
_MAX_DEPTH: Final = 64
TOO_DEEP: Final = f"nested more than {_MAX_DEPTH} levels deep"
_MOST_CPUS: Final = 1_000_000
_SHARED: Final = 1024  # size of the caches of equal outputs and hints
_NO_HINTS: Final = Hints()
_TEXT: Final = frozenset({str})
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_PATH_AND_HASH: Final = itemgetter("path", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``lab/lab-metadata.json``: the path of the root metadata and the sha256 of each file."""

    id: str
    version: str
    metadata: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root metadata: the runs' files, producers first, and the groups of run names.

    ``own_names`` maps values that are stored files to their names in the project.
    """

    repx_version: str
    git_hash: str
    runs: tuple[str, ...]
    groups: Mapping[str, tuple[RunName, ...]]
    own_names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetadata:
    """One run's file. ``dependencies`` are keyed by the other run's metadata path.

    ``jobs`` are still JSON; ``job`` makes them. ``legacy`` are jobs with the stage types of old
    Labs, which are never scheduled.
    """

    name: RunName
    image: str | None
    dependencies: Mapping[str, DependencyType]
    jobs: Mapping[JobId, Object]
    legacy: frozenset[JobId]


def manifest(obj: Object) -> Manifest:
    """Read the manifest. Raises FieldError, like all functions here."""
    return Manifest(
        id=name("labId", required(obj, "labId", str)),
        version=required(obj, "lab_version", str),
        metadata=path("metadata", required(obj, "metadata", str)),
        files=_listed(required(obj, "files", list)),
    )


def root(obj: Object) -> Root:
    """Read the root metadata."""
    required(obj, "runs", list)
    runs = texts(obj, "runs")
    groups = optional(obj, "groups", dict) or {}
    return Root(
        repx_version=required(obj, "repx_version", str),
        git_hash=required(obj, "gitHash", str),
        runs=tuple(path(f"runs[{index}]", run) for index, run in enumerate(runs)),
        groups={group: _group(group, groups) for group in groups},
        own_names=_own_names(optional(obj, "own_names", dict) or {}),
    )


def _own_names(names: Object) -> dict[str, str]:
    try:
        return {value: required(names, value, str) for value in names}
    except FieldError as error:
        raise error.within("own_names") from None


def run(obj: Object) -> RunMetadata:
    """Read one run's metadata; of its jobs, only ids and stage types are checked."""
    run_name = name("name", required(obj, "name", str))
    if run_name in RESERVED_RUNS:
        raise FieldError("name", f"'{run_name}' is reserved and cannot name a run")
    image = optional(obj, "image", str)
    jobs = required(obj, "jobs", dict)
    for job_id, value in jobs.items():
        name("jobs", job_id)
        if type(value) is not dict:
            raise wrong(f"jobs.{job_id}", "an object", value)
    if SELF in jobs:
        raise FieldError("jobs", f"'{SELF}' is reserved and cannot name a job")
    legacy = frozenset(key for key in jobs if jobs[key].get("stage_type") in _LEGACY_STAGES)
    needed = optional(obj, "dependencies", dict) or {}
    return RunMetadata(
        name=run_name,
        image=None if image is None else path("image", image),
        dependencies={key: _dependency(f"dependencies.{key}", needed[key]) for key in needed},
        jobs={key: jobs[key] for key in jobs if key not in legacy} if legacy else jobs,
        legacy=legacy,
    )


def job(job_id: JobId, obj: Object, own_names: Mapping[str, str] | None = None) -> Job:
    """Read one job of a run."""
    job_id = intern(job_id)
    stage_type = optional(obj, "stage_type", str) or StageType.SIMPLE
    if stage_type not in _STAGE_TYPES:
        raise wrong("stage_type", "'simple' or 'scatter-gather'", stage_type)
    params = required(obj, "params", dict)
    _shallow("params", params)
    image = optional(obj, "image", str)
    return Job(
        id=job_id,
        name=intern(optional(obj, "name", str) or job_id.partition("-")[2] or job_id),
        stage_type=_STAGE_TYPES[stage_type],
        params=params,
        executables=each(obj, "executables", _executable),
        hints=_hints(obj) or _NO_HINTS,
        image=None if image is None else path("image", image),
        own_names=own_names,
    )


def name(field: str, value: str) -> str:
    """Check that a name can be one component of a path on any machine."""
    if not _NAME.fullmatch(value) or value in {".", ".."}:
        raise wrong(field, "a name without '/' and control characters", value)
    if (len(value) if value.isascii() else len(value.encode())) > _MAX_NAME_BYTES:
        raise wrong(field, f"a name of at most {_MAX_NAME_BYTES} bytes", value)
    return value


def path(field: str, value: str) -> str:
    """Check that a path is relative and stays inside the Lab; links are not followed."""
    problem = fault(value)
    if problem is not None:
        raise FieldError(field, f"the path {shortened(repr(value))} {problem}")
    return value


def _listed(entries: list[object]) -> dict[str, str]:
    """Return the listed files; if any is wrong, check them one by one to name the first."""
    try:
        files = dict(map(_PATH_AND_HASH, entries))  # type: ignore[arg-type]  # checked below
        texts_only = _TEXT.issuperset(map(type, chain(files, files.values())))
        if texts_only and len(files) == len(entries) and not any(map(fault, files)):
            return files
    except (TypeError, KeyError):
        pass
    return _listed_one_by_one(entries)


def _listed_one_by_one(entries: list[object]) -> dict[str, str]:
    files: dict[str, str] = {}
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise wrong(f"files[{index}]", "an object", entry)
        try:
            place = path("path", required(entry, "path", str))
            digest = required(entry, "sha256", str)
        except FieldError as error:
            raise error.within(f"files[{index}]") from None
        if files.setdefault(place, digest) != digest:
            raise FieldError(f"files[{index}]", f"{place} is listed twice, with different hashes")
    return files


def _group(group: str, groups: Object) -> tuple[RunName, ...]:
    try:
        return texts(groups, group)
    except FieldError as error:
        raise error.within("groups") from None


def _executable(key: str, obj: Object) -> Executable:
    name("name", key)
    inputs = optional(obj, "inputs", list)
    return Executable(
        path=path("path", required(obj, "path", str)),
        inputs=tuple(map(_input, range(len(inputs)), inputs)) if inputs else (),
        outputs=_outputs(optional(obj, "outputs", dict) or {}),
        hints=_hints(obj),
        deps=_deps(obj) if "deps" in obj else (),
    )


def _deps(obj: Object) -> tuple[str, ...]:
    return tuple(step.removeprefix(STEP_PREFIX) for step in texts(obj, "deps"))


def _input(index: int, obj: object) -> Input:
    if type(obj) is not dict:
        raise wrong(f"inputs[{index}]", "an object", obj)
    try:
        dependency = obj.get("dependency_type")
        return Input(
            target=intern(_without_nul("target_input", required(obj, "target_input", str))),
            type=_word(obj, "type"),
            job_id=_word(obj, "job_id"),
            source_output=_word(obj, "source_output"),
            source_run=_word(obj, "source_run"),
            dependency_type=_dependency("dependency_type", dependency) if dependency else None,
            source=_word(obj, "source"),
            source_key=_word(obj, "source_key"),
        )
    except FieldError as error:
        raise error.within(f"inputs[{index}]") from None


def _word(obj: Object, key: str) -> str | None:
    """Return an optional text; equal texts are one object."""
    value = obj.get(key)
    return None if value is None else intern(required(obj, key, str))


def _dependency(field: str, value: object) -> DependencyType:
    if type(value) is not str or value not in _DEPENDENCIES:
        raise wrong(field, "'hard' or 'soft'", value)
    return _DEPENDENCIES[value]


def _outputs(outputs: Object) -> Mapping[str, object]:
    try:
        return _shared_outputs(tuple(outputs.items()))
    except TypeError:  # an output that is an unhashable description
        return _checked_outputs(outputs)


@lru_cache(_SHARED)
def _shared_outputs(items: tuple[tuple[str, object], ...]) -> Mapping[str, object]:
    """Return one mapping for all jobs of a stage, since they declare the same outputs."""
    return _checked_outputs(dict(items))


def _checked_outputs(outputs: Object) -> Object:
    for key, value in outputs.items():
        _without_nul("outputs", key)
        if type(value) is str and key != WORK_ITEM_EXAMPLE:
            problem = output_fault(_without_nul(f"outputs.{key}", value))
            if problem is not None:
                raise FieldError(f"outputs.{key}", problem)
    _shallow("outputs", outputs)
    return outputs


@lru_cache(_SHARED)
def output_fault(template: str) -> str | None:
    """Return why an output's template leads out of the job's folder, None if it does not.

    RepX 0.5 allows an empty template, for an output that is no file.
    """
    below = template == "$out" or template.startswith("$out/")
    if template and (not below or ".." in template.split("/")):
        shown = shortened(repr(template))
        return f"{shown} leads out of the job's folder, wanted a path that begins with `$out/`"
    return None


def _without_nul(field: str, value: str) -> str:
    """Return a text; refuse a NUL character, which no argument and no path can hold."""
    if "\0" in value:
        raise FieldError(field, "contains a NUL character")
    return value


def _hints(obj: Object) -> Hints | None:
    hints = optional(obj, "resource_hints", dict)
    if hints is None:
        return None
    try:
        return _shared_hints(tuple(hints.items()))
    except TypeError:  # a list is unhashable
        return _checked_hints(hints)


@lru_cache(_SHARED)
def _shared_hints(items: tuple[tuple[str, object], ...]) -> Hints:
    """Return one object for all jobs of a stage, since they have the same hints."""
    return _checked_hints(dict(items))


def _checked_hints(hints: Object) -> Hints:
    try:
        cpus = optional(hints, "cpus", int)
        if cpus is not None and not 0 <= cpus <= _MOST_CPUS:
            raise wrong("cpus", f"a number of cores, at most {_MOST_CPUS:,}", cpus)
        return Hints(
            mem=optional(hints, "mem", str),
            cpus=cpus,
            time=optional(hints, "time", str),
            partition=optional(hints, "partition", str),
            sbatch_opts=texts(hints, "sbatch_opts"),
        )
    except FieldError as error:
        raise error.within("resource_hints") from None


def _shallow(field: str, value: Object) -> None:
    """Refuse values that are nested too deep to be written again safely."""
    if not _SCALARS.issuperset(map(type, value.values())) and is_deep(value):
        raise FieldError(field, TOO_DEEP)


def is_deep(value: object) -> bool:
    """Return whether a value is nested deeper than metadata may be; ``TOO_DEEP`` says so."""
    layer = [value]
    for _ in range(_MAX_DEPTH):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return True
