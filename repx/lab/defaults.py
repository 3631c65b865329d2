"""Defaults of a pipeline: connected stages agree on each parameter's default or inherit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from repx import graph
from repx.schema import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repx.lab.definition import Definition, Pointer, Run, Stage
    from repx.lab.wiring import Feed

    Json = Any
    Feeds = Mapping[str, Sequence[Feed]]

INHERITED: Final[Mapping[str, object]] = {}  # `n: {}` in lab.yaml


def resolve(definition: Definition, run: Run, feeds: Feeds) -> dict[str, dict[str, Json]]:
    """Return each stage's defaults in one pipeline of a run, inherited ones filled in.

    A job is labelled by its own parameters and by those of its upstream jobs. So if the run leaves
    a parameter to the defaults, connected stages must agree; notes a mistake where they do not.
    """
    stages = {key: definition.stages[key] for key in feeds}
    open_names = _left_to_defaults(run, stages)
    found = {key: dict(stage.parameters) for key, stage in stages.items()}
    for name in sorted(set().union(*open_names.values())):
        users = {key: stages[key] for key in stages if name in open_names[key]}
        own = {key: stage for key, stage in users.items() if _has_own(stage, name)}
        related = _related(feeds, users)
        _check_equal(definition, name, own, related)
        for key, stage in users.items():
            if stage.parameters[name] == INHERITED:
                sources = [
                    users[other].parameters[name] for other in users if other in related[key]
                ]
                given = [value for value in sources if value != INHERITED]
                if not given:
                    _note_orphan(definition, stage, name)
                found[key][name] = next((value for value in given if value is not None), None)
    return found


def _left_to_defaults(run: Run, stages: Mapping[str, Stage]) -> dict[str, set[str]]:
    """Return each stage's parameters for which the run gives no value, or null among others."""
    tables = (run.parameters, *run.zips)
    values = {name: table[name] for table in tables for name in table}
    given = {
        name for name, value in values.items() if not (isinstance(value, list) and None in value)
    }
    return {
        key: {name for name in stage.parameters if given.isdisjoint((name, f"{key}.{name}"))}
        for key, stage in stages.items()
    }


def _has_own(stage: Stage, name: str) -> bool:
    return stage.parameters[name] is not None and stage.parameters[name] != INHERITED


def _related(feeds: Feeds, users: Mapping[str, Stage]) -> dict[str, set[str]]:
    """Return, by stage, the stages whose parameters can occur with its own in one job's label.

    For such a pair, one stage is upstream of the other, or both are upstream of a third.
    """
    needs = {key: tuple(feed.producer for feed in feeds[key]) for key in feeds}
    found: dict[str, set[str]] = {key: set() for key in users}
    for key in feeds:
        together = graph.closure(needs, [key]).intersection(users)
        for one in together:
            found[one] |= together - {one}
    return found


def _check_equal(
    definition: Definition, name: str, own: Mapping[str, Stage], related: Mapping[str, set[str]]
) -> None:
    for first, second in _pairs(list(own)):
        left, right = own[first].parameters[name], own[second].parameters[name]
        if second not in related[first] or _same(left, right):
            continue
        line = definition.doc.place(_place(own[first], name))[0]
        definition.error(
            _place(own[second], name),
            f"parameter '{name}' has the default {shown(right)} in stage '{second}' and "
            f"{shown(left)} in stage '{first}' (line {line}), which are connected: write "
            f"`{name}: {{}}` in one of them to inherit the other's, or give the run a value",
        )


def _note_orphan(definition: Definition, stage: Stage, name: str) -> None:
    definition.error(
        _place(stage, name),
        f"stage '{stage.key}' inherits the default of parameter '{name}', but no stage that it is "
        "connected with has one: write a default",
    )


def _pairs(keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((one, other) for index, other in enumerate(keys) for one in keys[:index])


def _place(stage: Stage, name: str) -> Pointer:
    return (*stage.at, "parameters", name)


def _same(left: Json, right: Json) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
