"""The stages of a blueprint as data: executables, parameters and what feeds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.lab.expand.text import holes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        return found.union(*map(holes, texts))


def stage_of(raw: Mapping[str, Any]) -> Stage:
    """Return the stage that a blueprint describes; its scripts are texts."""
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
    )
