"""From a definition to a blueprint: stages with their scripts, runs with their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repx import __version__
from repx.lab import checks, defaults, sweeps, wiring
from repx.lab.blueprint import VERSION
from repx.lab.definition import METADATA, STORE_BASE, WORK_ITEM, WORKER_OUTPUTS
from repx.lab.software.provision import NOTHING, Surroundings
from repx.lab.sources import LONGEST_SCRIPT_LABEL, SourceError, reason
from repx.model import STEP_PREFIX, StageType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.lab import blueprint
    from repx.lab.definition import Definition, Program, Run, Stage
    from repx.lab.software.provision import Provisions
    from repx.lab.sources import Sources
    from repx.lab.wiring import Feed

    Mapping_ = dict[str, Any]


def blueprint_of(
    definition: Definition, sources: Sources, provisions: Provisions = NOTHING
) -> blueprint.Blueprint:
    """Return the blueprint of a definition; it is valid only if no mistake was noted.

    ``sources`` starts empty; afterwards it holds all files that the Lab is made from.
    """
    checks.names(definition)
    checks.stages(definition)
    pipelines = wiring.pipelines(definition)
    scripts = _Scripts(definition, sources)
    for stage in definition.stages.values():
        scripts.of(stage, Surroundings())  # stages that no run uses are checked, too
        checks.arrays(definition, stage)
    runs = [
        _run(definition, run, pipelines, scripts, provisions) for run in definition.runs.values()
    ]
    for environment in provisions.environments.values():
        sources.entries[environment["name"]] = environment
    made: blueprint.Blueprint = {
        "version": VERSION,
        "lab_version": definition.version,
        "repx_version": __version__,
        "git_hash": "unknown",
        "groups": {name: list(members) for name, members in definition.groups.items()},
        "files": list(sources.entries.values()),
        "own_names": sources.own_names,
        "runs": runs,
    }
    images = {name: provisions.image_of(definition, run) for name, run in definition.runs.items()}
    named = {name: image for name, image in images.items() if image}
    if named:
        made["images"] = named
    return made


def _run(
    definition: Definition,
    run: Run,
    pipelines: Mapping[str, Mapping[str, Sequence[Feed]]],
    scripts: _Scripts,
    provisions: Provisions,
) -> blueprint.Run:
    chosen = {name: pipelines[name] for name in run.pipelines if name in pipelines}
    stages = {key: definition.stages[key] for feeds in chosen.values() for key in feeds}
    wanted = [len(definition.pipelines.get(name, ())) for name in run.pipelines]
    if [len(chosen.get(name, ())) for name in run.pipelines] == wanted and all(wanted):
        # Otherwise the same missing stage would be noted for each run.
        checks.run(definition, run, stages)
    around = {key: provisions.around(definition, run, stage) for key, stage in stages.items()}
    for key, found in around.items():
        if found.modules and found.image:
            at = (*stages[key].at,)
            definition.warn(at, f"stage '{key}': its image hides the modules of the machine")
    executables = {key: scripts.of(stage, around[key]) for key, stage in stages.items()}
    made: blueprint.Run = {
        "name": run.name,
        "hash_mode": run.hash_mode,
        "inter_run_dep_types": dict(run.dependencies),
        "parameter_axes": sweeps.axes(definition, run, scripts.sources),
        "zip_groups": sweeps.zip_groups(definition, run, scripts.sources),
        "pipelines": [
            _pipeline(definition, run, name, feeds, executables) for name, feeds in chosen.items()
        ],
    }
    for stage in (stage for pipeline in made["pipelines"] for stage in pipeline["stages"]):
        image = around[stage["key"]].image
        if image and stages[stage["key"]].image:  # even if equal to the run's
            stage["image"] = image
    return made


def _pipeline(
    definition: Definition,
    run: Run,
    name: str,
    feeds: Mapping[str, Sequence[Feed]],
    executables: Mapping[str, Mapping[str, blueprint.Executable]],
) -> blueprint.Pipeline:
    parameters = defaults.resolve(definition, run, feeds)
    stages = [
        _stage(definition.stages[key], parameters[key], feeds[key], run, executables[key])
        for key in feeds
    ]
    return {"source": name, "stages": stages}


def _stage(
    stage: Stage,
    parameters: Mapping_,
    feeds: Sequence[Feed],
    run: Run,
    executables: Mapping[str, blueprint.Executable],
) -> blueprint.Stage:
    mappings = _mappings(stage, feeds, run)
    by_input = {mapping["target_input"]: mapping for mapping in mappings}
    wired: dict[str, blueprint.Executable] = {}
    for name, executable in executables.items():
        own = stage.programs[name].inputs
        inputs = executable["inputs"]
        if name in ("main", "scatter"):
            inputs = mappings
        elif name.startswith(STEP_PREFIX):
            inputs = [*inputs, *(by_input[each] for each in own if each in by_input)]
        wired[name] = {**executable, "inputs": inputs}
    return {
        "key": stage.key,
        "pname": stage.pname,
        "version": stage.version,
        "stage_type": str(stage.type),
        "parameters": parameters,
        "input_mappings": mappings,
        "resources": dict(stage.resources),
        "executables": wired,
    }


def _mappings(stage: Stage, feeds: Sequence[Feed], run: Run) -> list[Mapping_]:
    """Return the stage's input mappings (docs/lab-format.md, Input).

    A stage that reads no other stage waits for the runs before its run, so it gets their
    metadata whether or not it declares the input.
    """
    mappings: list[Mapping_] = [
        {
            "type": "intra-pipeline",
            "stage": feed.producer,
            "source_output": feed.output,
            "target_input": feed.input,
        }
        for feed in feeds
    ]
    mappings += [
        {
            "type": "inter-run",
            "source_run": other,
            "dependency_type": kind,
            "target_input": f"{METADATA}{other}",
        }
        for other, kind in run.dependencies.items()
        if not feeds or other in stage.metadata_of
    ]
    if STORE_BASE in stage.inputs:
        mappings.append(
            {"type": "global", "source_value": "store_base", "target_input": STORE_BASE}
        )
    return mappings


class _Scripts:
    """The executables of stages, made once per stage and surroundings. Mutable: a cache."""

    def __init__(self, definition: Definition, sources: Sources) -> None:
        self.sources = sources
        self._definition = definition
        self._made: dict[tuple[str, Surroundings], Mapping[str, blueprint.Executable]] = {}

    def of(self, stage: Stage, around: Surroundings) -> Mapping[str, blueprint.Executable]:
        key = (stage.key, around)
        if key not in self._made:
            made = _Executables(self._definition, stage, self.sources, around)
            self._made[key] = made.all()
        return self._made[key]


class _Executables:
    """The executables of one stage: scripts, outputs and how steps feed each other."""

    def __init__(
        self, definition: Definition, stage: Stage, sources: Sources, around: Surroundings
    ) -> None:
        self._definition = definition
        self._around = around
        self._stage = stage
        self._sources = sources
        self._steps = wiring.steps(definition, stage)

    def all(self) -> dict[str, blueprint.Executable]:
        """Return the executables by name, each with the inputs that come from inside the stage."""
        return {
            name: {
                "script": self._script(program),
                "inputs": self._inputs(program),
                "outputs": dict(program.outputs),
                "resources": dict(program.resources),
                "deps": list(wiring.deps_of(program)),
            }
            for name, program in self._stage.programs.items()
        }

    def _inputs(self, program: Program) -> list[Mapping_]:
        if program.name == "gather":
            last = wiring.sink(self._stage)
            key = next(iter(last.outputs), None) if last else None
            return [
                {
                    "source": "runner:worker_outputs",
                    "source_key": key,
                    "target_input": WORKER_OUTPUTS,
                }
            ]
        found: list[Mapping_] = []
        if program.name.startswith(STEP_PREFIX) and WORK_ITEM in program.inputs:
            found.append({"source": "scatter:work_item", "target_input": WORK_ITEM})
        found += [
            {
                "source": f"step:{feed.producer}",
                "source_output": feed.output,
                "target_input": feed.input,
            }
            for feed in self._steps.get(program.step, ())
            if program.name.startswith(STEP_PREFIX)
        ]
        return found

    def _script(self, program: Program) -> blueprint.Script:
        return {
            "label": self._stage.key[:LONGEST_SCRIPT_LABEL],
            "notes": self._notes(program),
            "body": self._body(program),
        }

    def _notes(self, program: Program) -> list[str]:
        """Return comments that name the script's inputs; they make wiring a part of job ids."""
        notes = [f"Runs in {self._around.image}."] if self._around.image else []
        if program.inputs:
            notes.append(f"Reads {', '.join(program.inputs)}.")
        if self._stage.type is StageType.SCATTER_GATHER:
            notes += [
                f"{feed.input} is {feed.output} of step {feed.producer}."
                for feed in self._steps.get(program.step, ())
            ]
        return notes

    def _body(self, program: Program) -> blueprint.Body:
        language = ""
        files = None
        try:
            if program.script is not None:
                language = self._sources.interpreter(program.script)
            if program.script is not None or program.files:
                files = self._sources.bundle(self._stage.key, program.files, program.script)
        except (SourceError, OSError) as error:
            at = (*program.at, "files" if program.script is None else "script")
            self._definition.error(at, reason(error))
        names = (*program.files, program.script or "")
        self._warn_of_fixed_python(program, language)
        uses_python = "python" in language or any(name.endswith(".py") for name in names)
        body: blueprint.Body = {
            "lines": program.run,
            "program": program.script,
            "files": files,
            "python": self._sources.repx_py() if uses_python else None,
        }
        if self._around.environment:
            body["environment"] = self._around.environment
        if self._around.modules:
            body["modules"] = list(self._around.modules)
        return body

    def _warn_of_fixed_python(self, program: Program, language: str) -> None:
        """Warn of a program that names its Python by path and therefore misses the packages."""
        first = language.partition(" ")[0]
        if self._around.environment and "python" in first.rpartition("/")[2]:
            message = f"'{program.script}' is run by {first}, which has none of the packages that"
            advice = "`software:` names: begin it with `#!/usr/bin/env python3`"
            self._definition.warn((*program.at, "script"), f"{message} {advice}")
