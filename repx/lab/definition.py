"""The content of lab.yaml: stages, pipelines and runs, each with its place in the file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from repx import document
from repx.config.units import parse_time, slurm_time
from repx.errors import InputError, ProblemsError, did_you_mean
from repx.lab import partial
from repx.model import STEP_PREFIX, StageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from repx.document import Document
    from repx.errors import Problem

Json: TypeAlias = Any
Pointer: TypeAlias = tuple[str | int, ...]

SCHEMA: Final = "lab.schema.json"
WORK_ITEM: Final = "worker__item"
WORKER_OUTPUTS: Final = "worker__outs"
WORK_ITEMS: Final = "work__items"
STORE_BASE: Final = "store__base"
METADATA: Final = "metadata__"
# The format fixes the file's name whatever is declared (docs/lab-format.md, How a job is called).
_SCATTER_OUTPUTS: Final = {WORK_ITEMS: "$out/work_items.json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One executable of a stage: bash lines (``run``) or a program file (``script``)."""

    name: str
    at: Pointer
    inputs: tuple[str, ...]
    outputs: Mapping[str, Json]
    resources: Mapping[str, Json]
    run: str | None
    script: str | None
    files: tuple[str, ...]
    deps: tuple[Json, ...] = ()

    @property
    def step(self) -> str:
        """Return the step's name, without prefix."""
        return self.name.removeprefix(STEP_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage; the pipeline feeds its ``inputs``, other stages may read its ``outputs``."""

    key: str
    at: Pointer
    pname: str
    version: str
    type: StageType
    parameters: Mapping[str, Json]
    inputs: tuple[str, ...]
    outputs: Mapping[str, Json]
    resources: Mapping[str, Json]
    programs: Mapping[str, Program]
    image: str | None = None
    software: Mapping[str, Json] = field(default_factory=dict)

    @property
    def fed(self) -> tuple[str, ...]:
        """Return the inputs that outputs of other stages must feed."""
        return tuple(name for name in self.inputs if name != STORE_BASE and not _run_of(name))

    @property
    def metadata_of(self) -> tuple[str, ...]:
        """Return the runs whose metadata the stage reads."""
        return tuple(run for run in map(_run_of, self.inputs) if run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run; ``parameters`` and ``zips`` hold values as the file writes them."""

    name: str
    at: Pointer
    pipelines: tuple[str, ...]
    parameters: Mapping[str, Json]
    zips: tuple[Mapping[str, Json], ...]
    hash_mode: str
    dependencies: Mapping[str, str]
    image: str | None = None
    software: Mapping[str, Json] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Definition:
    """One lab.yaml. Mutable: checks add to ``errors`` and ``warnings``."""

    doc: Document
    folder: Path
    name: str
    version: str
    stages: Mapping[str, Stage]
    pipelines: Mapping[str, Json]
    runs: Mapping[str, Run]
    groups: Mapping[str, tuple[str, ...]]
    image: str | None = None
    software: Mapping[str, Json] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, at: Pointer, message: str) -> None:
        """Note a mistake; the build will fail."""
        self.errors.append(self.doc.problem(at, message))

    def warn(self, at: Pointer, message: str) -> None:
        """Note a possible mistake."""
        self.warnings.append(self.doc.problem(at, message))

    def known(self, at: Pointer, message: str, name: str, names: Iterable[str]) -> bool:
        """Return whether a name is known, else note the mistake with the closest known name."""
        choices = list(names)
        if name in choices:
            return True
        near = did_you_mean(name, choices)
        listed = f"there is {', '.join(choices)}" if choices else "there is none"
        self.error(at, f"{message}, {near or listed}")
        return False

    def stop(self) -> None:
        """Raise ProblemsError with every mistake noted so far, if any."""
        if self.errors:
            raise ProblemsError(list(dict.fromkeys(self.errors)))


def load(path: Path) -> Definition:
    """Read lab.yaml. Raises InputError or ProblemsError for a file that cannot be read at all.

    Mistakes that the schema finds are noted; parts with mistakes, and the parts that need them,
    are left out, so that the rest can be checked, too.
    """
    if not path.exists():
        raise InputError(
            f"no such file: {path}", hint="`repx init` writes one to start from, in a new folder"
        )
    errors: list[Problem] = []
    doc = document.load(path, problems=errors)
    data = partial.sound(doc, SCHEMA, errors)
    folder = Path(os.path.realpath(path)).parent
    definition = Definition(
        doc=doc,
        folder=folder,
        name=data.get("name", folder.name),
        version=data.get("version", "1.0"),
        stages={key: _stage(key, raw) for key, raw in data["stages"].items()},
        pipelines=data["pipelines"],
        runs={
            name: _run(name, raw, tuple(data["pipelines"])) for name, raw in data["runs"].items()
        },
        groups={name: tuple(runs) for name, runs in data.get("groups", {}).items()},
        image=data.get("image"),
        software=data.get("software", {}),
        errors=errors,
    )
    for stage in definition.stages.values():
        _check_programs(definition, stage)
    return definition


def _stage(key: str, raw: Mapping[str, Json]) -> Stage:
    at: Pointer = ("stages", key)
    parameters = raw.get("parameters", {})
    if isinstance(parameters, list):
        parameters = dict.fromkeys(parameters)
    inputs = tuple(raw.get("inputs", ()))
    scattered = not raw.keys().isdisjoint(("scatter", "steps", "gather"))
    programs = _phases(raw, at, inputs) if scattered else [_program("main", raw, at, inputs)]
    last = programs[-1]
    return Stage(
        key=key,
        at=at,
        pname=raw.get("pname", key),
        version=raw.get("version", "1.0"),
        type=StageType.SCATTER_GATHER if scattered else StageType.SIMPLE,
        parameters=parameters,
        inputs=inputs,
        outputs=last.outputs,
        resources=_resources(raw),
        programs={each.name: each for each in programs},
        image=raw.get("image"),
        software=raw.get("software", {}),
    )


def _phases(raw: Mapping[str, Json], at: Pointer, inputs: tuple[str, ...]) -> list[Program]:
    """Return scatter, the steps and gather; phases missing in the file become empty."""
    scatter = dict(raw.get("scatter", {}))
    example = scatter.get("worker__arg")
    scatter["outputs"] = _SCATTER_OUTPUTS | {"worker__arg": {} if example is None else example}
    steps = raw.get("steps", {})
    return [
        _program("scatter", scatter, (*at, "scatter"), inputs),
        *(
            _program(f"{STEP_PREFIX}{name}", step, (*at, "steps", name), step.get("inputs", ()))
            for name, step in steps.items()
        ),
        _program("gather", raw.get("gather", {}), (*at, "gather"), (*inputs, WORKER_OUTPUTS)),
    ]


def _program(name: str, raw: Mapping[str, Json], at: Pointer, inputs: Iterable[str]) -> Program:
    return Program(
        name=name,
        at=at,
        inputs=tuple(inputs),
        outputs=raw.get("outputs", {}),
        # A simple stage declares its resources for the job, not for its only program.
        resources={} if name == "main" else _resources(raw),
        run=raw.get("run"),
        script=raw.get("script"),
        files=tuple(raw.get("files", ())),
        deps=tuple(raw.get("deps", ())),
    )


def _resources(raw: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the resources of a stage or program, times as Slurm and RepX 0.5 write them."""
    found = _with_slurm_time(raw.get("resources", {}))
    if "when" in found:
        found["when"] = [_with_slurm_time(rule) for rule in found["when"]]
    return found


def _with_slurm_time(fields: Mapping[str, Json]) -> dict[str, Json]:
    time = fields.get("time", "")
    has_units = time[-1:].isalpha() and "{" not in time  # the value may come from a parameter
    return {**fields, "time": slurm_time(parse_time(time))} if has_units else dict(fields)


def _run(name: str, raw: Mapping[str, Json], pipelines: tuple[str, ...]) -> Run:
    dependencies = raw.get("dependencies", {})
    if isinstance(dependencies, list):
        dependencies = dict.fromkeys(dependencies, "hard")
    return Run(
        name=name,
        at=("runs", name),
        pipelines=tuple(raw.get("pipelines", pipelines)),
        parameters=raw.get("parameters", {}),
        zips=tuple(raw.get("zip", ())),
        hash_mode=raw.get("hashMode", "pure"),
        dependencies=dependencies,
        image=raw.get("image"),
        software=raw.get("software", {}),
    )


def _check_programs(definition: Definition, stage: Stage) -> None:
    """Note programs that are missing, or written in two ways at once."""
    raw = definition.doc.data["stages"][stage.key]
    if stage.type is StageType.SCATTER_GATHER:
        for part in ("scatter", "steps", "gather"):
            if part not in raw:
                definition.error(stage.at, f"stage '{stage.key}': '{part}' is missing")
        for wrong in sorted({"run", "script", "files", "outputs"} & raw.keys()):
            message = f"in a scatter-gather stage, '{wrong}' belongs to scatter, a step or gather"
            definition.error((*stage.at, wrong), message)
    for program in stage.programs.values():
        ways = [way for way in ("run", "script") if getattr(program, way) is not None]
        missing = program.at[2:3] and program.at[2] not in raw
        if len(ways) != 1 and not missing:
            where = ".".join(map(str, program.at))
            wanted = "both 'run' and 'script' are" if ways else "neither 'run' nor 'script' is"
            definition.error(program.at, f"{where}: {wanted} given, one of them is needed")


def _run_of(name: str) -> str | None:
    return name.removeprefix(METADATA) if name.startswith(METADATA) else None
