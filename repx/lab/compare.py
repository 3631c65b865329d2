"""Why a Lab has jobs that another Lab lacks: the changes between the two, job by job."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from repx import graph
from repx.errors import LabError
from repx.lab import script_changes
from repx.lab.jobs import outline
from repx.lab.order import comparable
from repx.model import stage_of, value_text

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

    from repx.lab.load import OpenLab
    from repx.model import Executable, Job, JobId, Lab, RunName

    Values = Mapping[str, object]

_VALUE_SHOWN: Final = 60
_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a job is new; ``cause`` is the wording for jobs downstream: "its script changed"."""

    text: str
    cause: str
    stage: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two Labs; repeated look-ups are cached."""

    opened: OpenLab

    @property
    def lab(self) -> Lab:
        """Return the Lab."""
        return self.opened.lab

    def text(self, path: str) -> str:
        """Return a script's text; empty if the script cannot be read."""
        try:
            return self.opened.files.read(path).decode(errors="replace")
        except LabError:
            return ""

    @cached_property
    def stages(self) -> dict[str, list[JobId]]:
        """Return the jobs by stage."""
        found: dict[str, list[JobId]] = {}
        for job in self.lab.jobs:
            found.setdefault(stage_of(job), []).append(job)
        return found

    @cached_property
    def runs(self) -> dict[RunName, frozenset[JobId]]:
        """Return the jobs of every run."""
        return {run.name: frozenset(run.jobs) for run in self.lab.runs.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """The jobs of one stage of one Lab by all their parameters; their values and scripts."""

    jobs: Mapping[Hashable, JobId]
    values: Mapping[str, Mapping[Hashable, object]]
    scripts: Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StageChange:
    """The changes of parameters, by name, that are the same for all jobs of a stage."""

    replaced: Mapping[str, str]
    gone: Sequence[str]
    varying: Sequence[str]


def reasons(old: Side, new: Side, jobs: Iterable[JobId]) -> dict[JobId, str]:
    """Return the reason for each of the new Lab's jobs that the old Lab lacks."""
    fresh = [job for job in jobs if job not in old.lab.jobs]
    comparison = _Comparison(old, new)
    return {job: comparison.reason(job).text for job in comparison.ordered(fresh)}


class _Comparison:
    """Two Labs. Mutable: findings about stages, scripts and jobs are cached."""

    def __init__(self, old: Side, new: Side) -> None:
        self._old = old
        self._new = new
        self._labels: dict[str, dict[JobId, Values]] = {"old": {}, "new": {}}
        self._stages: dict[tuple[str, str], _Stage] = {}
        self._changes: dict[str, _StageChange] = {}
        self._reasons: dict[JobId, Reason] = {}
        self._scripts: dict[tuple[str, str], tuple[str, ...]] = {}

    def ordered(self, fresh: Collection[JobId]) -> list[JobId]:
        """Return the jobs, upstream ones first, and find the reason of each."""
        needs = self._new.lab.needs
        reached = [job for job in graph.closure(needs, fresh) if job not in self._old.lab.jobs]
        members = set(reached)
        order = graph.order(
            {job: tuple(need for need in needs[job] if need in members) for job in reached}
        )
        for job in order:
            self._reasons[job] = self._found(job)
        wanted = set(fresh)
        return [job for job in order if job in wanted]

    def reason(self, job: JobId) -> Reason:
        """Return why the old Lab lacks a job."""
        return self._reasons[job]

    def _found(self, job_id: JobId) -> Reason:
        stage = stage_of(job_id)
        if stage not in self._old.stages:
            return Reason(text=f"new stage {stage}", cause="it is new", stage=stage)
        job = self._new.lab.jobs[job_id]
        before, after = self._stage("old", stage), self._stage("new", stage)
        labels = self._labels["new"][job_id]
        twin_id = before.jobs.get(_label_key(labels))
        twin = self._old.lab.jobs[twin_id or self._old.stages[stage][0]]
        found = {"its script changed": self._script(twin, job, before)}
        if twin_id is None:
            if stage not in self._changes:
                self._changes[stage] = _stage_change(before, after)
            change = _parameter_change(labels, before, self._changes[stage])
            found["its parameters changed"] = change
        else:
            found["its file changed"] = _file_change(twin, job)
        told = {cause: text for cause, text in found.items() if text}
        if not told:
            return self._upstream(twin, job)
        return Reason(text="; ".join(told.values()), cause=" and ".join(told), stage=stage)

    # --- scripts ----------------------------------------------------------------------------

    def _script(self, twin: Job, job: Job, before: _Stage) -> str:
        """Return the changes of scripts that no old job of the stage had, or an empty text."""
        names: dict[str, None] = {}
        changed = False
        for name, executable in job.executables.items():
            digest = self._new.lab.files.get(executable.path, "")
            if digest in before.scripts.get(name, ()) or name not in twin.executables:
                continue
            changed = True
            names.update(dict.fromkeys(self._script_change(twin.executables[name], executable)))
        if not changed:
            return ""
        listed = ", ".join([*names][:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        versions = self._old.lab.repx_version, self._new.lab.repx_version
        if not listed and versions[0] != versions[1]:
            listed = f"built by repx {versions[1]} instead of {versions[0]}"
        return f"script changed: {listed}" if listed else "script changed"

    def _script_change(self, one: Executable, other: Executable) -> tuple[str, ...]:
        key = (self._old.lab.files.get(one.path, ""), self._new.lab.files.get(other.path, ""))
        if key not in self._scripts:
            declared = _declared(one, other)
            found = script_changes.of(self._old, one.path, self._new, other.path)
            ours = found == (script_changes.OURS,)  # follow from the declarations
            self._scripts[key] = tuple(declared) if declared and ours else (*declared, *found)
        return self._scripts[key]

    # --- parameters -------------------------------------------------------------------------

    def _stage(self, side: str, stage: str) -> _Stage:
        if (side, stage) not in self._stages:
            self._stages[side, stage] = self._new_stage(side, stage)
        return self._stages[side, stage]

    def _new_stage(self, side: str, stage: str) -> _Stage:
        here = self._old if side == "old" else self._new
        labels = self._labels[side]
        _label(here.lab, here.stages[stage], labels)
        values: dict[str, dict[Hashable, object]] = {}
        jobs: dict[Hashable, JobId] = {}
        scripts: dict[str, set[str]] = {}
        for job in here.stages[stage]:
            jobs[_label_key(labels[job])] = job
            for name, value in labels[job].items():
                values.setdefault(name, {})[_key(value)] = value
            for name, path in outline(here.lab.jobs, job)[1].items():
                scripts.setdefault(name, set()).add(here.lab.files.get(path, ""))
        return _Stage(jobs=jobs, values=values, scripts=scripts)

    # --- upstream ---------------------------------------------------------------------------

    def _upstream(self, twin: Job, job: Job) -> Reason:
        """Return the reason of a job that differs from its twin by its inputs."""
        stage = job.stage
        for need in job.needs:
            found = self._reasons.get(need)
            if found is not None:
                text = f"input changed: upstream {found.stage} ({found.cause})"
                return Reason(text=text, cause=found.cause, stage=found.stage)
        for source in job.entry.inputs:
            run = source.source_run
            if run is not None and self._old.runs.get(run) != self._new.runs.get(run):
                cause = "its jobs changed"
                return Reason(text=f"input changed: run {run} ({cause})", cause=cause, stage=run)
        if twin.name != job.name:
            text = f"version changed: {twin.name} → {job.name}"
            return Reason(text=text, cause="its version changed", stage=stage)
        return Reason(text="its inputs are wired anew", cause="its wiring changed", stage=stage)


def _label(lab: Lab, jobs: Iterable[JobId], labels: dict[JobId, Values]) -> None:
    """Add the jobs' labels: their own parameters over those of their upstream jobs."""
    stack = list(jobs)
    while stack:
        job = stack[-1]
        missing = [need for need in lab.needs[job] if need not in labels]
        if job in labels or missing:
            stack.extend(missing)
        else:
            merged: dict[str, object] = {}
            for need in lab.needs[job]:
                merged.update(labels[need])
            merged.update(outline(lab.jobs, job)[0])
            labels[job] = merged
        if not missing:
            stack.pop()


def _declared(one: Executable, other: Executable) -> list[str]:
    """Return which declared inputs and outputs changed."""
    parts = []
    inputs = [{source.target for source in each.inputs} for each in (one, other)]
    if inputs[0] != inputs[1]:
        parts.append("its inputs")
    if one.outputs != other.outputs:
        parts.append("its outputs")
    return parts


def _file_change(twin: Job, job: Job) -> str:
    """Return the files among the parameters whose content changed under the same name."""
    changed = [name for name in job.params if job.params[name] != twin.params.get(name)]
    listed = ", ".join(_shown(job.shown[name]) for name in changed)
    return f"file changed: {listed}" if listed else ""


def _stage_change(before: _Stage, after: _Stage) -> _StageChange:
    shared = [name for name in after.values if name in before.values]
    found = {name: _replacement(name, before.values[name], after.values[name]) for name in shared}
    return _StageChange(
        replaced={name: change for name, change in found.items() if change},
        gone=[name for name in before.values if name not in after.values],
        varying=[name for name, values in after.values.items() if len(values) > 1],
    )


def _parameter_change(labels: Values, before: _Stage, change: _StageChange) -> str:
    """Return the parameters, values or combination that no job of the stage had before."""
    new = [name for name in labels if name not in before.values]
    unknown = [
        name
        for name, value in labels.items()
        if name in before.values and _key(value) not in before.values[name]
    ]
    parts = [f"new parameter {name}={_shown(labels[name])}" for name in new]
    parts += [f"parameter {name} is gone" for name in change.gone]
    parts += [change.replaced[name] for name in unknown if name in change.replaced]
    added = [name for name in unknown if name not in change.replaced]
    if not parts and not added:  # known values in a new combination
        added = [name for name in labels if name in change.varying]
    if added:
        listed = ", ".join(f"{name}={_shown(labels[name])}" for name in added)
        parts.append(f"new combination: {listed}")
    return ", ".join(parts)


def _replacement(
    name: str, before: Mapping[Hashable, object], after: Mapping[Hashable, object]
) -> str:
    """Return ``parameter x: 1 → 2`` if one value replaced another; else nothing."""
    gone = [value for key, value in before.items() if key not in after]
    new = [value for key, value in after.items() if key not in before]
    if len(gone) != 1 or len(new) != 1:
        return ""
    return f"parameter {name}: {_shown(gone[0])} → {_shown(new[0])}"


def _key(value: object) -> Hashable:
    """Return a key that is equal for equal JSON values; ``true``, 1 and 1.0 all differ."""
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return (type(value), value)


def _label_key(labels: Values) -> Hashable:
    return tuple([(name, _key(labels[name])) for name in sorted(labels)])


def _shown(value: object) -> str:
    text = value_text(value)
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}..."


# --- two whole Labs -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Jobs of one stage that are new for the same reason; ``values`` are by parameter."""

    stage: str
    reason: str
    jobs: tuple[JobId, ...]
    values: Mapping[str, Sequence[object]]


def grouped(lab: Lab, reason_of: Mapping[JobId, str]) -> list[Group]:
    """Return the jobs by stage and reason, in the order of first occurrence."""
    found: dict[tuple[str, str], list[JobId]] = {}
    for job, reason in reason_of.items():
        found.setdefault((stage_of(job), reason), []).append(job)
    return [
        Group(stage=stage, reason=reason, jobs=tuple(jobs), values=_values(lab, jobs))
        for (stage, reason), jobs in found.items()
    ]


def gone(old: Lab, new: Lab) -> Counter[str]:
    """Return, by stage, the number of jobs of the old Lab that the new Lab lacks."""
    return Counter(stage_of(job) for job in old.jobs if job not in new.jobs)


def _values(lab: Lab, jobs: Collection[JobId]) -> dict[str, list[object]]:
    labels: dict[JobId, Values] = {}
    _label(lab, jobs, labels)
    found: dict[str, dict[Hashable, object]] = {}
    for job in jobs:
        for name, value in labels[job].items():
            found.setdefault(name, {})[_key(value)] = value
    return {name: sorted(values.values(), key=comparable) for name, values in sorted(found.items())}
