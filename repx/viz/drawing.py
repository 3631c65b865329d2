"""The contents of a Lab's picture: a box per stage, frames around runs and groups, arrows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from repx.model import value_text
from repx.status import State, counts, of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from repx.model import Job, JobId, Lab, Run, RunName

_LONGEST_NAME = 48
_MOST_VALUES = 5
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Link(StrEnum):
    """The meaning of an arrow: data, or a run that must first succeed (hard) or end (soft)."""

    DATA = "data"
    HARD = "hard"
    SOFT = "soft"


class FrameKind(StrEnum):
    """The content of a frame."""

    GROUP = "group"
    RUN = "run"
    STAGE = "stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box: a stage, or a part of a scatter-gather stage. ``state`` colours it."""

    key: str
    lines: tuple[str, ...]
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A box around boxes: a group of runs, a run, or a scatter-gather stage."""

    key: str
    title: str
    kind: FrameKind
    nodes: tuple[Node, ...] = ()
    frames: tuple[Frame, ...] = ()
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An arrow between two boxes; ``tail`` is the frame it starts at, if it starts at one."""

    source: str
    target: str
    link: Link = Link.DATA
    tail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything in the picture, independent of the output language."""

    frames: tuple[Frame, ...]
    edges: tuple[Edge, ...]
    nodes: tuple[Node, ...] = ()  # boxes outside of all frames


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """The jobs of one run that share a stage; ``enter`` and ``leave`` are keys of boxes."""

    key: str
    name: str
    jobs: tuple[Job, ...]

    @property
    def scatters(self) -> bool:
        return self.jobs[0].is_scatter_gather

    @property
    def enter(self) -> str:
        return f"{self.key}_scatter" if self.scatters else self.key

    @property
    def leave(self) -> str:
        return f"{self.key}_gather" if self.scatters else self.key


_Stages: TypeAlias = Mapping[str, Mapping[str, _Stage]]  # by run and stage name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """The details shown besides the structure."""

    params: bool = False
    states: Mapping[JobId, State] = field(default_factory=dict)


def draw(
    lab: Lab, *, show_params: bool = False, states: Mapping[JobId, State] | None = None
) -> Drawing:
    """Return the picture of a Lab: one box per run and stage, with the number of its jobs.

    ``show_params`` adds parameters with more than one value, ``states`` adds colours.
    """
    style = _Style(params=show_params, states=states or {})
    keys = {name: f"r{number}" for number, name in enumerate(lab.runs)}
    stages = {run.name: _stages(run, lab.jobs, keys[run.name]) for run in lab.runs.values()}
    home = {job: run.name for run in lab.runs.values() for job in run.jobs}
    nested, tags = _nesting(lab.groups)
    frames = {
        name: _run_frame(keys[name], name, tags.get(name, ()), stages[name].values(), style)
        for name in lab.runs
    }
    edges = [
        edge
        for run in lab.runs.values()
        for edge in (*_data_edges(run, lab, stages, home), *_run_edges(run, stages, keys))
    ]
    return Drawing(frames=_grouped(nested, frames), edges=tuple(edges))


def _stages(run: Run, jobs: Mapping[JobId, Job], prefix: str) -> dict[str, _Stage]:
    found: dict[str, list[Job]] = {}
    for job_id in run.jobs:
        job = jobs[job_id]
        found.setdefault(job.stage, []).append(job)
    return {
        name: _Stage(key=f"{prefix}_s{number}", name=name, jobs=tuple(found[name]))
        for number, name in enumerate(sorted(found))
    }


def _run_frame(
    key: str, name: RunName, tags: Sequence[str], stages: Iterable[_Stage], style: _Style
) -> Frame:
    nodes, frames = [], []
    for stage in stages:
        if stage.scatters:
            frames.append(_scatter_gather(stage, style))
        else:
            lines = (_counted(stage), *_details(stage, style))
            nodes.append(Node(key=stage.key, lines=lines, state=_state(stage, style)))
    title = "  ".join([_short(name), *(f"@{_short(tag)}" for tag in tags)])
    return Frame(key=key, title=title, kind=FrameKind.RUN, nodes=tuple(nodes), frames=tuple(frames))


def _scatter_gather(stage: _Stage, style: _Style) -> Frame:
    state = _state(stage, style)
    phases = stage.jobs[0].phases
    parts = [f"step {phase.step}" if phase.per_branch else phase.name for phase in phases]
    keys = _phase_keys(stage)
    return Frame(
        key=stage.key,
        title="\n".join([_counted(stage), *_details(stage, style)]),
        kind=FrameKind.STAGE,
        nodes=tuple(
            Node(key=key, lines=(_short(part),), state=state)
            for key, part in zip(keys.values(), parts, strict=True)
        ),
        state=state,
    )


def _phase_keys(stage: _Stage) -> dict[str, str]:
    names = [phase.name for phase in stage.jobs[0].phases]
    steps = [f"{stage.key}_p{n}" for n in range(len(names) - 2)]
    return dict(zip(names, [stage.enter, *steps, stage.leave], strict=True))


def _counted(stage: _Stage) -> str:
    return f"{_short(stage.name)} (x{len(stage.jobs)})"


def _details(stage: _Stage, style: _Style) -> list[str]:
    """Return the lines below a stage's name: varying parameters, and the jobs' states."""
    lines = list(_varying(stage.jobs)) if style.params else []
    if style.states:
        present = counts(style.states[job.id] for job in stage.jobs)
        lines.append(", ".join(f"{n} {state}" for state, n in present.items() if n))
    return lines


def _varying(jobs: Sequence[Job]) -> Iterator[str]:
    """Yield ``name: value, value`` for parameters with more than one value."""
    shown_of_jobs = [job.shown for job in jobs]
    for name in sorted({name for shown in shown_of_jobs for name in shown}):
        values = {_value(shown[name]): None for shown in shown_of_jobs if name in shown}
        if len(values) > 1:
            shown = sorted(values, key=_natural)
            more = f", … ({len(shown)})" if len(shown) > _MOST_VALUES else ""
            yield f"{_short(name)}: {', '.join(shown[:_MOST_VALUES])}{more}"


def _value(value: object) -> str:
    return _short(value_text(value), 24)


def _natural(text: str) -> tuple[bool, float, str]:
    """Return a sort key: numbers by size, then words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _state(stage: _Stage, style: _Style) -> State | None:
    return of_run(style.states[job.id] for job in stage.jobs) if style.states else None


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    name: str
    runs: frozenset[RunName]


def _nesting(
    groups: Mapping[str, tuple[RunName, ...]],
) -> tuple[list[_Group], dict[RunName, list[str]]]:
    """Return the groups that can be drawn as frames, and per run the other groups as tags.

    Frames cannot overlap: larger groups come first, and a group that crosses them is a tag.
    """
    kept: list[_Group] = []
    tags: dict[RunName, list[str]] = {}
    for name, members in sorted(groups.items(), key=lambda item: (-len(set(item[1])), item[0])):
        group = _Group(name=name, runs=frozenset(members))
        if all(group.runs <= other.runs or not group.runs & other.runs for other in kept):
            kept.append(group)
            continue
        for run in members:
            tags.setdefault(run, []).append(name)
    return kept, tags


def _grouped(groups: Sequence[_Group], runs: Mapping[RunName, Frame]) -> tuple[Frame, ...]:
    """Put the runs into the frames of their groups; larger ``groups`` come first."""
    frames: list[Frame] = []
    left = dict(runs)
    for number, group in enumerate(groups):
        inside = {name: left.pop(name) for name in runs if name in left and name in group.runs}
        if inside:
            smaller = [other for other in groups[number + 1 :] if other.runs <= group.runs]
            frames.append(_group_frame(group, smaller, inside))
    return (*frames, *left.values())


def _group_frame(
    group: _Group, smaller: Sequence[_Group], inside: Mapping[RunName, Frame]
) -> Frame:
    return Frame(
        key=f"g_{next(iter(inside.values())).key}_{len(smaller)}",
        title=f"@{_short(group.name)}",
        kind=FrameKind.GROUP,
        frames=_grouped(smaller, inside),
    )


def _data_edges(
    run: Run, lab: Lab, stages: _Stages, home: Mapping[JobId, RunName]
) -> Iterator[Edge]:
    """Yield one arrow per pair of stages that pass data, and arrows inside scatter-gather."""
    members = frozenset(run.jobs)
    pairs: dict[tuple[str, str], None] = {}
    for stage in stages[run.name].values():
        for job in stage.jobs:
            for need in job.needs:
                source = stages[run.name if need in members else home[need]]
                pairs[source[lab.jobs[need].stage].leave, stage.enter] = None
        if stage.scatters:
            yield from _inner_edges(stage)
    yield from (Edge(source=source, target=target) for source, target in pairs)


def _inner_edges(stage: _Stage) -> Iterator[Edge]:
    """Yield an arrow from each phase to the phases that need it."""
    keys = _phase_keys(stage)
    for phase in stage.jobs[0].phases:
        for need in phase.needs:
            yield Edge(source=keys[need], target=keys[phase.name])


def _run_edges(run: Run, stages: _Stages, keys: Mapping[RunName, str]) -> Iterator[Edge]:
    """Yield an arrow from each upstream run to the stages that wait for that run."""
    for upstream, kind in run.dependencies.items():
        source = _last(stages[upstream])
        if source is not None and upstream != run.name:
            for target in _readers(stages[run.name], upstream):
                yield Edge(source=source, target=target, link=Link(kind), tail=keys[upstream])


def _readers(stages: Mapping[str, _Stage], upstream: RunName) -> list[str]:
    """Return the boxes of stages that name a run as input; if there are none, of first stages."""
    named = [
        stage.enter
        for stage in stages.values()
        if any(source.source_run == upstream for job in stage.jobs for source in job.entry.inputs)
    ]
    return named or [
        stage.enter for stage in stages.values() if not any(job.needs for job in stage.jobs)
    ]


def _last(stages: Mapping[str, _Stage]) -> str | None:
    """Return the box of a stage that no other stage of the run reads."""
    read = {need for stage in stages.values() for job in stage.jobs for need in job.needs}
    ends = [stage.leave for stage in stages.values() if not any(j.id in read for j in stage.jobs)]
    return ends[0] if ends else None
