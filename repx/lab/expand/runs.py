"""The jobs of every run, producers first."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from repx.lab.expand.axes import axes_of
from repx.lab.expand.expansion import Expansion
from repx.lab.expand.order import ordered
from repx.lab.expand.stages import stage_of
from repx.lab.expand.text import LONGEST_NAME, NAME, BlueprintError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.lab.expand.expansion import Table
    from repx.lab.expand.stages import Stage

RESERVED_RUNS = ("missing", "pending", "top")


class RunJobs:
    """The jobs of one run: id to metadata, and id to stage, which has the store's scripts."""

    def __init__(self, raw: Mapping[str, Any], digests: Mapping[str, str]) -> None:
        """Start without jobs; ``digests`` are those of the runs before this one."""
        self.name: str = raw["name"]
        self.params_only = raw.get("hash_mode") == "params-only"
        self.dependencies: Mapping[str, str] = raw.get("inter_run_dep_types") or {}
        self.digests = digests
        self.texts: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}

    def digest_of(self, run: str) -> str:
        """Return the digest of an earlier run. Raises when that run is not a dependency."""
        if run not in self.dependencies:
            raise BlueprintError(f"run {self.name!r} has no dependency on run {run!r}")
        return self.digests[run]

    def add(self, jid: str, text: str, stage: Stage) -> None:
        """Add one job; another pipeline may add the same job again."""
        if jid in self.texts:
            check_same(jid, (self.texts[jid], self.stages[jid]), (text, stage))
        self.texts[jid] = text
        self.stages[jid] = stage

    def digest(self) -> str:
        """Return one digest for all ids of the run."""
        return hashlib.sha256(":".join(sorted(self.texts)).encode()).hexdigest()

    def expand(self, raw: Mapping[str, Any]) -> None:
        """Add the jobs of every pipeline."""
        axes = axes_of(raw)
        for pipeline in raw["pipelines"]:
            stages = [stage_of(each) for each in pipeline["stages"]]
            by_key = {stage.key: stage for stage in stages}
            if len(by_key) < len(stages):
                raise BlueprintError(f"pipeline {pipeline['source']!r} has a stage twice")
            tables: dict[str, Table] = {}
            for key in ordered({each.key: each.producers for each in stages}, "stages"):
                tables[key] = Expansion(by_key[key], self, axes, tables).jobs()
        if not self.texts:
            raise BlueprintError(f"run {self.name!r} has no jobs: its pipelines are empty")


def check_same(jid: str, one: tuple[str, Stage], other: tuple[str, Stage]) -> None:
    """Raise when two jobs with one id differ in their metadata or scripts."""
    if one[0] != other[0] or one[1].scripts != other[1].scripts:
        raise BlueprintError(
            f"two different jobs have the id {jid}: give their stages different pnames, or use the "
            "hash mode 'pure'"
        )


def runs_of(blueprint: Mapping[str, Any]) -> list[RunJobs]:
    """Return every run with its jobs, producers first."""
    by_name: dict[str, Mapping[str, Any]] = {}
    for raw in blueprint["runs"]:
        _check_run_name(raw["name"], by_name, blueprint.get("groups") or {})
        by_name[raw["name"]] = raw
    digests: dict[str, str] = {}
    runs = []
    needs = {name: list(raw.get("inter_run_dep_types") or {}) for name, raw in by_name.items()}
    for name in ordered(needs, "runs"):
        run = RunJobs(by_name[name], digests)
        run.expand(by_name[name])
        digests[name] = run.digest()
        runs.append(run)
    return runs


def _check_run_name(name: str, taken: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    if name in RESERVED_RUNS:
        raise BlueprintError(f"a run cannot be called {name!r}: the word has a meaning of its own")
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise BlueprintError(f"{name!r} cannot be a run's name: use letters, digits and . _ + -")
    if name in taken:
        raise BlueprintError(f"two runs are called {name!r}")
    if name in groups:
        raise BlueprintError(f"a run and a group are both called {name!r}")
