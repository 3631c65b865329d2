"""The outputs that feed inputs: between stages of a pipeline, and between steps of a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repx.errors import did_you_mean
from repx.lab.definition import WORK_ITEM, WORKER_OUTPUTS
from repx.lab.expand import BlueprintError, ordered
from repx.model import STEP_PREFIX, StageType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repx.lab.definition import Definition, Pointer, Program, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One input and the output that feeds it; ``producer`` is a stage's key or a step's name."""

    input: str
    producer: str
    output: str


def pipelines(definition: Definition) -> dict[str, dict[str, tuple[Feed, ...]]]:
    """Return the inputs' feeds by pipeline and stage; notes mistakes."""
    return {name: _pipeline(definition, name, raw) for name, raw in definition.pipelines.items()}


def _pipeline(definition: Definition, name: str, raw: Any) -> dict[str, tuple[Feed, ...]]:  # noqa: ANN401  # either form
    at: Pointer = ("pipelines", name)
    places = {key: (*at, index if isinstance(raw, list) else key) for index, key in enumerate(raw)}
    stages = {
        key: definition.stages[key]
        for key, place in places.items()
        if definition.known(place, f"there is no stage '{key}'", key, definition.stages)
    }
    wired = {}
    for key, stage in stages.items():
        wires = _Wires(definition, stage.fed, f"stage '{key}' of pipeline '{name}'", places[key])
        outputs = {other: stages[other].outputs for other in stages}
        if isinstance(raw, list):
            del outputs[key]
            wires.by_name_alone(outputs)
        else:
            wires.listed(raw[key] or (), outputs, (*at, key))
        wired[key] = wires.complete(outputs)
    _check_cycle(definition, at, wired)
    return wired


def steps(definition: Definition, stage: Stage) -> dict[str, tuple[Feed, ...]]:
    """Return the feeds from other steps, by step; notes mistakes."""
    found = {
        each.step: each for each in stage.programs.values() if each.name.startswith(STEP_PREFIX)
    }
    wired = {}
    for name, step in found.items():
        own = [each for each in step.inputs if each != WORK_ITEM and each not in stage.inputs]
        wires = _Wires(definition, own, f"step '{name}' of stage '{stage.key}'", step.at)
        outputs = {other: found[other].outputs for other in found}
        wires.listed(step.deps, outputs, (*step.at, "deps"), may_feed_nothing=True)
        wired[name] = wires.complete(outputs)
    if stage.type is StageType.SCATTER_GATHER and found:
        _check_shape(definition, stage, found)
    return wired


def deps_of(step: Program) -> tuple[str, ...]:
    """Return the names of the steps that a step depends on, each once."""
    names = (dep if isinstance(dep, str) else dep[0] for dep in step.deps)
    return tuple(dict.fromkeys(names))


def sink(stage: Stage) -> Program | None:
    """Return the only step that no other step needs, None if there are none or several."""
    found = [each for each in stage.programs.values() if each.name.startswith(STEP_PREFIX)]
    needed = {dep for step in found for dep in deps_of(step)}
    last = [step for step in found if step.step not in needed]
    return last[0] if len(last) == 1 else None


class _Wires:
    """The feeds of one stage or step, found one after another. Used once."""

    def __init__(
        self, definition: Definition, inputs: Sequence[str], who: str, at: Pointer
    ) -> None:
        self._definition = definition
        self._inputs = inputs
        self._who = who
        self._at = at
        self._feeds: dict[str, Feed] = {}

    def by_name_alone(self, outputs: Mapping[str, Mapping[str, object]]) -> None:
        """Feed each input from the only stage that has an output of the same name."""
        for name in self._inputs:
            producers = [key for key, theirs in outputs.items() if name in theirs]
            if len(producers) > 1:
                self._definition.error(
                    self._at,
                    f"{self._who}: {' and '.join(map(repr, producers))} both have an output "
                    f"'{name}', say which in a mapping: [{producers[0]}, {name}]",
                )
            if producers:
                self._feeds[name] = Feed(input=name, producer=producers[0], output=name)

    def listed(
        self,
        deps: Sequence[str | list[str]],
        outputs: Mapping[str, Mapping[str, object]],
        at: Pointer,
        *,
        may_feed_nothing: bool = False,
    ) -> None:
        """Feed the inputs that a list of dependencies names, then those named like an output."""
        plain: list[tuple[Pointer, str]] = []
        for index, dep in enumerate(deps):
            producer, *rest = [dep] if isinstance(dep, str) else dep
            place = (*at, index)
            message = f"{self._who} cannot read '{producer}', which is not there"
            if not self._definition.known(place, message, producer, outputs):
                continue
            if not rest:
                plain.append((place, producer))
            elif self._definition.known(
                place, f"'{producer}' has no output '{rest[0]}'", rest[0], outputs[producer]
            ):
                self._feed(place, Feed(input=rest[-1], producer=producer, output=rest[0]))
        for place, producer in plain:
            shared = [name for name in self._inputs if name in outputs[producer]]
            for name in shared:
                self._feed(place, Feed(input=name, producer=producer, output=name))
            if not shared and not may_feed_nothing:
                self._definition.error(
                    place,
                    f"{self._who}: no output of '{producer}' ({', '.join(outputs[producer])}) is "
                    f"one of its inputs ({', '.join(self._inputs) or 'none'}), write "
                    f"[{producer}, OUTPUT, INPUT]",
                )

    def _feed(self, place: Pointer, feed: Feed) -> None:
        message = f"{self._who} has no input '{feed.input}'"
        if not self._definition.known(place, message, feed.input, self._inputs):
            return
        before = self._feeds.setdefault(feed.input, feed)
        if before != feed:
            self._definition.error(
                place,
                f"{self._who}: input '{feed.input}' is fed twice, by '{before.producer}' and by "
                f"'{feed.producer}'",
            )

    def complete(self, outputs: Mapping[str, Mapping[str, object]]) -> tuple[Feed, ...]:
        """Return the feeds in the order of the inputs; notes inputs without a feed."""
        owners = {output: key for key, theirs in outputs.items() for output in theirs}
        for name in self._inputs:
            if name not in self._feeds:
                near = did_you_mean(name, owners)
                hint = f", '{owners[name]}' has it" if name in owners else f", {near}"
                self._definition.error(
                    self._at,
                    f"{self._who}: nothing provides its input '{name}'" + (hint if near else ""),
                )
        return tuple(self._feeds[name] for name in self._inputs if name in self._feeds)


def _check_cycle(definition: Definition, at: Pointer, wired: Mapping[str, Sequence[Feed]]) -> None:
    needs = {key: [feed.producer for feed in feeds] for key, feeds in wired.items()}
    try:
        ordered(needs, "stages")
    except BlueprintError as error:
        definition.error(at, str(error))


def _check_shape(definition: Definition, stage: Stage, found: Mapping[str, Program]) -> None:
    """Note cycles, and missing or wrong first and last steps."""
    for message in _shape_problems(stage, found):
        definition.error((*stage.at, "steps"), f"stage '{stage.key}': {message}")


def _shape_problems(stage: Stage, found: Mapping[str, Program]) -> Iterator[str]:
    needs = {name: [dep for dep in deps_of(step) if dep in found] for name, step in found.items()}
    try:
        ordered(needs, "steps")
    except BlueprintError as error:
        yield str(error)
        return
    if not any(WORK_ITEM in step.inputs for name, step in found.items() if not needs[name]):
        yield f"no step without 'deps' has the input '{WORK_ITEM}'"
    last = sink(stage)
    if last is None:
        needed = {dep for deps in needs.values() for dep in deps}
        ends = ", ".join(name for name in found if name not in needed)
        yield f"one step must come last, but nothing needs any of: {ends}"
    elif len(last.outputs) != 1:
        yield (
            f"step '{last.step}' comes last, so it must have exactly one output for "
            f"'{WORKER_OUTPUTS}', not {len(last.outputs)}"
        )
