"""One JSON object of a Lab's metadata to one object of the model (format sections 2.1 to 2.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Final

from repx.lab.fields import FieldError, Object, each, optional, required, texts, wrong
from repx.lab.files import fault
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

LEGACY_STAGES: Final = frozenset({"worker", "gather"})
_RESERVED_RUNS: Final = frozenset({"missing", "pending", "top"})
_STAGE_TYPES: Final[Mapping[str, StageType]] = {str(kind): kind for kind in StageType}
_DEPENDENCIES: Final[Mapping[str, DependencyType]] = {str(kind): kind for kind in DependencyType}
_NAME: Final = re.compile(r"[^/\x00-\x1f\x7f]+")
_MAX_NAME_BYTES: Final = 200  # file systems allow 255; names get prefixes and suffixes
_MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``lab/lab-metadata.json``: where the rest is and what each file must hash to."""

    id: str
    version: str
    metadata: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The root metadata: the runs' files, producers first, and the groups of run names."""

    repx_version: str
    git_hash: str
    runs: tuple[str, ...]
    groups: Mapping[str, tuple[RunName, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetadata:
    """One run's file. ``dependencies`` are keyed by the other run's metadata path."""

    name: RunName
    image: str | None
    dependencies: Mapping[str, DependencyType]
    jobs: Mapping[JobId, Job]
    legacy: frozenset[JobId]


def manifest(obj: Object) -> Manifest:
    """Read the manifest. Raises FieldError, as all functions here."""
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
    )


def run(obj: Object) -> RunMetadata:
    """Read one run's metadata; jobs of the legacy stage types are only named."""
    run_name = name("name", required(obj, "name", str))
    if run_name in _RESERVED_RUNS:
        raise FieldError("name", f"'{run_name}' is reserved and cannot name a run")
    image = optional(obj, "image", str)
    required(obj, "jobs", dict)
    jobs = each(obj, "jobs", job)
    needed = optional(obj, "dependencies", dict) or {}
    return RunMetadata(
        name=run_name,
        image=None if image is None else path("image", image),
        dependencies={key: _dependency(f"dependencies.{key}", needed[key]) for key in needed},
        jobs={job_id: made for job_id, made in jobs.items() if made is not None},
        legacy=frozenset(job_id for job_id, made in jobs.items() if made is None),
    )


def job(job_id: str, obj: Object) -> Job | None:
    """Read one job; None for the stage types of old Labs that nothing ever schedules."""
    job_id = intern(name("id", job_id))
    if job_id == SELF:
        raise FieldError("id", f"'{SELF}' is reserved and cannot name a job")
    stage_type = optional(obj, "stage_type", str) or StageType.SIMPLE
    if stage_type in LEGACY_STAGES:
        return None
    if stage_type not in _STAGE_TYPES:
        raise wrong("stage_type", "'simple' or 'scatter-gather'", stage_type)
    params = required(obj, "params", dict)
    _shallow("params", params)
    return Job(
        id=job_id,
        name=intern(optional(obj, "name", str) or job_id.partition("-")[2] or job_id),
        stage_type=_STAGE_TYPES[stage_type],
        params=params,
        executables=each(obj, "executables", _executable),
        hints=_hints(obj) or _NO_HINTS,
    )


def name(field: str, value: str) -> str:
    """Check that a name can be one component of a path on any machine."""
    if not _NAME.fullmatch(value) or value in {".", ".."}:
        raise wrong(field, "a name without '/' and control characters", value)
    if len(value) > _MAX_NAME_BYTES or len(value.encode()) > _MAX_NAME_BYTES:
        raise wrong(field, f"a name of at most {_MAX_NAME_BYTES} bytes", value)
    return value


def path(field: str, value: str) -> str:
    """Check that a path is relative and stays inside the Lab, links aside."""
    problem = fault(value)
    if problem is not None:
        raise FieldError(field, f"the path {value!r} {problem}")
    return value


def _listed(entries: list[object]) -> dict[str, str]:
    files: dict[str, str] = {}
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise wrong(f"files[{index}]", "an object", entry)
        try:
            place = path("path", required(entry, "path", str))
            digest = intern(required(entry, "sha256", str))
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


def _executable(_name: str, obj: Object) -> Executable:
    inputs = optional(obj, "inputs", list)
    return Executable(
        path=path("path", required(obj, "path", str)),
        inputs=tuple(map(_input, range(len(inputs)), inputs)) if inputs else (),
        outputs=_outputs(obj),
        hints=_hints(obj),
        deps=tuple(step.removeprefix(STEP_PREFIX) for step in texts(obj, "deps")),
    )


def _input(index: int, obj: object) -> Input:
    if type(obj) is not dict:
        raise wrong(f"inputs[{index}]", "an object", obj)
    try:
        dependency = obj.get("dependency_type")
        return Input(
            target=intern(required(obj, "target_input", str)),
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
    value = optional(obj, key, str)
    return None if value is None else intern(value)


def _dependency(field: str, value: object) -> DependencyType:
    if type(value) is not str or value not in _DEPENDENCIES:
        raise wrong(field, "'hard' or 'soft'", value)
    return _DEPENDENCIES[value]


def _outputs(obj: Object) -> Mapping[str, object]:
    outputs = optional(obj, "outputs", dict) or {}
    for key, value in outputs.items():
        if type(value) is not str:
            _shallow(f"outputs.{key}", value)
        elif "\0" in value:
            raise FieldError(f"outputs.{key}", "contains a NUL character")
    if all(type(value) is str for value in outputs.values()):
        return _shared_outputs(tuple(outputs.items()))
    return outputs


@lru_cache(1024)
def _shared_outputs(items: tuple[tuple[str, str], ...]) -> Mapping[str, object]:
    """Return one mapping for all jobs of a stage: they declare the same outputs."""
    return dict(items)


def _hints(obj: Object) -> Hints | None:
    hints = optional(obj, "resource_hints", dict)
    if hints is None:
        return None
    try:
        cpus = optional(hints, "cpus", int)
        if cpus is not None and cpus < 0:
            raise wrong("cpus", "a number of cores", cpus)
        return _shared_hints(
            optional(hints, "mem", str),
            cpus,
            optional(hints, "time", str),
            optional(hints, "partition", str),
            texts(hints, "sbatch_opts"),
        )
    except FieldError as error:
        raise error.within("resource_hints") from None


@lru_cache(1024)
def _shared_hints(
    mem: str | None,
    cpus: int | None,
    time: str | None,
    partition: str | None,
    sbatch_opts: tuple[str, ...],
) -> Hints:
    """Return one object for all jobs of a stage: they ask for the same."""
    return Hints(mem=mem, cpus=cpus, time=time, partition=partition, sbatch_opts=sbatch_opts)


def _shallow(field: str, value: object) -> None:
    """Refuse what is nested so deep that writing it out again could fail."""
    layer = [value]
    for _ in range(_MAX_DEPTH):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return
    raise FieldError(field, f"nested more than {_MAX_DEPTH} levels deep")


_NO_HINTS: Final = Hints()
