"""The model of a Lab: runs, jobs, executables and their inputs. Data only.

The fields follow ``docs/lab-format.md``, with clearer names where the format's are unclear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from repx import graph
from repx.errors import GraphError, LabError

JobId: TypeAlias = str
RunName: TypeAlias = str

STEP_PREFIX: Final = "step-"
SELF: Final = "self"

_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode  # made once, used for 100,000 values


class StageType(StrEnum):
    """The way a job is executed."""

    SIMPLE = "simple"
    SCATTER_GATHER = "scatter-gather"


class DependencyType(StrEnum):
    """A run's need of an upstream run: success (hard) or only the end (soft)."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Resources as a Lab writes them: text, not yet parsed (``repx.config.resources`` does)."""

    mem: str | None = None
    cpus: int | None = None
    time: str | None = None
    partition: str | None = None
    sbatch_opts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One named input of an executable, and the source of its value.

    The kinds are those of docs/lab-format.md, Input.
    """

    target: str
    type: str | None = None
    job_id: JobId | None = None
    source_output: str | None = None
    source_run: RunName | None = None
    dependency_type: DependencyType | None = None
    source: str | None = None
    source_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """One program of a job: its path in the Lab, its inputs and required outputs.

    ``outputs`` maps a name to a template beginning ``$out/``; values that are not strings
    are descriptions (``worker__arg``), not files. ``deps`` names steps, without prefix.
    """

    path: str
    inputs: tuple[Input, ...] = ()
    outputs: Mapping[str, object] = field(default_factory=dict)
    hints: Hints | None = None
    deps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One program of a job, started on its own: ``main``, or ``scatter``, ``step-<s>``, ``gather``.

    ``needs`` names phases of the same job. A ``per_branch`` phase starts once for each branch
    that scatter makes.
    """

    name: str
    executable: Executable
    needs: tuple[str, ...] = ()
    per_branch: bool = False

    @property
    def step(self) -> str:
        """Return a step's name, without the ``step-`` prefix."""
        return self.name.removeprefix(STEP_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One node of the job graph: a stage with one combination of parameters.

    ``needs`` are the ids of the jobs whose outputs the job reads, each once, sorted. ``own_names``
    maps values that are stored files to their names in the project. ``image`` is a path inside
    the Lab if the job has its own image, different from the run's.
    """

    id: JobId
    name: str
    stage_type: StageType
    params: Mapping[str, object]
    executables: Mapping[str, Executable]
    hints: Hints = field(default_factory=Hints)
    image: str | None = None
    own_names: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    needs: tuple[JobId, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the needs once, since every walk over the graph uses them."""
        found = {
            source.job_id
            for executable in self.executables.values()
            for source in executable.inputs
            if source.job_id is not None and source.job_id != SELF
        }
        object.__setattr__(self, "needs", tuple(sorted(found)))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Return the phases of the job, each after those it needs.

        Gather needs the only step that no other step needs. Raises LabError if a phase is
        missing, or the steps have a cycle or several last steps.
        """
        if not self.is_scatter_gather:
            return (Phase(name="main", executable=self._executable("main")),)
        steps = self._ordered_steps()
        needed = {need for step in steps for need in step.needs}
        last = tuple(step.name for step in steps if step.name not in needed)
        if len(last) != 1:
            message = f"job {self.id}: one step must be the last, but {len(last)} are: {list(last)}"
            raise LabError(message)
        scatter = Phase(name="scatter", executable=self._executable("scatter"))
        gather = Phase(name="gather", executable=self._executable("gather"), needs=last)
        return (scatter, *steps, gather)

    def _ordered_steps(self) -> list[Phase]:
        deps = {
            name: tuple(f"{STEP_PREFIX}{dep}" for dep in executable.deps)
            for name, executable in self.executables.items()
            if name.startswith(STEP_PREFIX)
        }
        try:
            order = graph.order(deps)
        except GraphError as error:
            steps = sorted(name.removeprefix(STEP_PREFIX) for name in deps)
            message = f"job {self.id}: the steps {steps} wait for each other or for no step"
            raise LabError(message) from error
        return [
            Phase(
                name=name,
                executable=self.executables[name],
                needs=deps[name] or ("scatter",),
                per_branch=True,
            )
            for name in order
        ]

    @property
    def shown(self) -> Mapping[str, object]:
        """Return the parameters as users wrote them: files by their own names, not stored paths."""
        if not self.own_names:
            return self.params
        return {name: _own_name(value, self.own_names) for name, value in self.params.items()}

    @property
    def is_scatter_gather(self) -> bool:
        """Return whether the job has more than one phase."""
        return self.stage_type is StageType.SCATTER_GATHER

    @property
    def entry(self) -> Executable:
        """Return the executable that starts first: ``main``, or ``scatter``."""
        return self._executable("scatter" if self.is_scatter_gather else "main")

    @property
    def final(self) -> Executable:
        """Return the executable whose outputs are the job's: ``main``, or ``gather``."""
        return self._executable("gather" if self.is_scatter_gather else "main")

    def _executable(self, name: str) -> Executable:
        if name not in self.executables:
            raise LabError(f"job {self.id} cannot run: it has no executable '{name}'")
        return self.executables[name]

    @property
    def stage(self) -> str:
        """Return the stage's name, ``pname``, as tables show and ``--stage`` selects it."""
        return stage_of(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A named set of jobs; ``metadata`` and ``image`` are paths inside the Lab."""

    name: RunName
    metadata: str
    jobs: tuple[JobId, ...]
    dependencies: Mapping[RunName, DependencyType] = field(default_factory=dict)
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A whole Lab as its metadata describes it.

    ``digest`` is the sha256 of the manifest, which has the sums of all files: no two Labs share it.
    ``files`` maps each listed path to its sha256 (lower-case hex). ``manifest`` is the path
    of the entry point inside the Lab, ``metadata`` that of the root metadata, ``host_tools``
    the only directory below ``host-tools/``. ``needs`` holds every job's ``needs``; reading it is
    far cheaper than making many jobs.
    """

    id: str
    version: str
    repx_version: str
    git_hash: str
    manifest: str
    metadata: str
    host_tools: str | None
    runs: Mapping[RunName, Run]
    groups: Mapping[str, tuple[RunName, ...]]
    jobs: Mapping[JobId, Job]
    files: Mapping[str, str]
    needs: Mapping[JobId, tuple[JobId, ...]] = field(default_factory=dict)
    digest: str = ""

    def image_of(self, job: Job, run: RunName) -> str | None:
        """Return the path of the image for a job: its own, or its run's."""
        return job.image or self.runs[run].image

    def __post_init__(self) -> None:
        """Fill in ``needs`` from the jobs if the caller did not give them."""
        if not self.needs:
            found = {job_id: job.needs for job_id, job in self.jobs.items()}
            object.__setattr__(self, "needs", found)

    def runs_of_jobs(self) -> dict[JobId, tuple[RunName, ...]]:
        """Return the names of the runs that each job belongs to."""
        found: dict[JobId, tuple[RunName, ...]] = {}
        for run in self.runs.values():
            for job in run.jobs:
                found[job] = (*found.get(job, ()), run.name)
        return found


def _own_name(value: object, own_names: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return own_names.get(value, value)
    if isinstance(value, list):
        return [_own_name(inner, own_names) for inner in value]
    if isinstance(value, dict):
        return {name: _own_name(inner, own_names) for name, inner in value.items()}
    return value


def stage_of(job_id: JobId) -> str:
    """Return the stage part of a job id, without hash and version."""
    name = job_id.partition("-")[2] or job_id
    stem, dash, version = name.rpartition("-")
    return stem if dash and ("." in version or version.isdigit()) else name


def value_text(value: object) -> str:
    """Return a parameter's value for people: text unchanged, everything else as JSON."""
    if type(value) is int:  # most values are text, and JSON takes ten times as long
        return str(value)
    return value if isinstance(value, str) else _AS_JSON(value)


def short_id(job_id: JobId) -> str:
    """Return the id for people: the first 12 characters of the hash, then the name."""
    digest, dash, name = job_id.partition("-")
    return f"{digest[:12]}{dash}{name}"
