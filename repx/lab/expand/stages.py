"""The stages of a blueprint as data: executables, parameters and input mappings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from repx.lab.expand.text import compact, holes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Executable:
    """One program of a stage."""

    name: str
    script: str
    identity: str | None
    inputs: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]
    resources: Mapping[str, Any]
    deps: Sequence[str]

    def binary(self, pname: str) -> str:
        """Return the file name below ``jobs/<id>/bin``."""
        return pname if self.name == "main" else f"{pname}-{self.name}"


@dataclass(frozen=True)
class Stage:
    """One stage; ``key`` names it in its pipeline."""

    key: str
    pname: str
    version: str
    type: str
    parameters: Mapping[str, Any]
    mappings: Sequence[Mapping[str, Any]]
    resources: Mapping[str, Any]
    executables: Sequence[Executable]
    image: str | None = None
    cases: Cases | None = None

    def case(self, values: Mapping[str, Any]) -> Stage:
        """Return the stage for some values of its parameters."""
        found: Stage | Cases = self.cases or self
        while isinstance(found, Cases):
            found = found.branches[compact([values[name] for name in found.on])]
        return found

    @property
    def producers(self) -> list[str]:
        """Return the keys of the stages that this one reads, each once."""
        found = (each["stage"] for each in self.mappings if each.get("stage") is not None)
        return list(dict.fromkeys(found))

    @property
    def scripts(self) -> list[str]:
        """Return the store names of the scripts, by executable."""
        return [each.script for each in self.executables]

    @property
    def dynamic(self) -> set[str]:
        """Return the parameters that the pname, an output or a resource depends on."""
        resources = [self.resources, *(each.resources for each in self.executables)]
        texts = [self.pname]
        for each in self.executables:
            texts += [text for text in each.outputs.values() if isinstance(text, str)]
        found: set[str] = set()
        for hints in resources:
            rules = hints.get("when") or []
            for rule in [hints, *rules]:
                texts += [text for text in rule.values() if isinstance(text, str)]
                found.update(rule.get("if", ()))
        found.update(*map(holes, texts))
        return found if self.cases is None else found | self.cases.names()


@dataclass(frozen=True)
class Cases:
    """Stages, or further cases, by the values of some parameters as compact JSON."""

    on: Sequence[str]
    branches: Mapping[str, Stage | Cases]

    def stages(self) -> Iterator[Stage]:
        """Yield the stage of every case."""
        for branch in self.branches.values():
            if isinstance(branch, Cases):
                yield from branch.stages()
            else:
                yield branch

    def names(self) -> set[str]:
        """Return every parameter that a case depends on."""
        found = set(self.on)
        for branch in self.branches.values():
            found |= branch.names() if isinstance(branch, Cases) else branch.dynamic
        return found


def leaves(stage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a stage of a blueprint: the stage itself, or each of its variants."""
    if "variants" not in stage:
        yield stage
        return
    trees = [stage["variants"]]
    while trees:
        tree = trees.pop()
        if "leaf" in tree:
            yield tree["leaf"]
        else:
            trees += [branch for _, branch in reversed(tree["cases"])]


def stage_of(raw: Mapping[str, Any]) -> Stage:
    """Return the stage that a blueprint describes; its scripts are already rendered."""
    if "variants" in raw:
        return _with_cases(_branch(raw["variants"]))
    executables = []
    for name, each in sorted(raw["executables"].items()):
        executables.append(
            Executable(
                name=name,
                script=each["script"]["name"],
                identity=each["script"].get("identity"),
                inputs=each.get("inputs") or [],
                outputs=each.get("outputs") or {},
                resources=each.get("resources") or {},
                deps=each.get("deps") or [],
            )
        )
    return Stage(
        key=raw["key"],
        pname=raw["pname"],
        version=raw["version"],
        type=raw["stage_type"],
        parameters=raw.get("parameters") or {},
        mappings=raw.get("input_mappings") or [],
        resources=raw.get("resources") or {},
        executables=executables,
        image=raw.get("image"),
    )


def _branch(tree: Mapping[str, Any]) -> Stage | Cases:
    if "leaf" in tree:
        return stage_of(tree["leaf"])
    return Cases(tree["on"], {compact(values): _branch(each) for values, each in tree["cases"]})


def _with_cases(found: Stage | Cases) -> Stage:
    """Return a stage that stands for all its cases, with the input mappings of all."""
    if isinstance(found, Stage):
        return found
    stages = list(found.stages())
    mappings = [mapping for stage in stages for mapping in stage.mappings]
    return replace(stages[0], mappings=mappings, cases=found)
