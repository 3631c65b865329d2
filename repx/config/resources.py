"""The resources of each job, and the file or Lab they come from."""

from __future__ import annotations

import logging
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Final, TypeAlias

from repx.config.sbatch_keys import as_keys
from repx.config.units import parse_memory, parse_time
from repx.errors import InputError
from repx.target import Resources, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from repx.model import Hints, Job, Lab, Phase, RunName
    from repx.target import Rules

log = logging.getLogger(__name__)

LAB: Final = "Lab"
_MERGED: Final = ("slurm", "sources", "taken_back")
_MEMORY: Final = frozenset(("mem_bytes", "mem_per_cpu", "mem_per_gpu"))  # only one of them applies
_REPLACED: Final = tuple(each.name for each in fields(Resources) if each.name not in _MERGED)
_Key: TypeAlias = tuple[object, ...]


class Resolver:
    """Resolves the resources of a Lab's jobs on one target; equal resources are one object.

    Mutable: a cache, since in a Lab of 100,000 jobs most jobs have the same resources.
    """

    def __init__(self, lab: Lab, target_name: str, rules: Rules) -> None:
        """Keep the rules that can apply on the target, in order."""
        self._defaults = rules.defaults
        self._rules = tuple(_Matcher(rule) for rule in rules.rules if _on(rule, target_name))
        self._by_id = tuple(rule for rule in self._rules if rule.job)
        self._runs_of = lab.runs_of_jobs() if any(rule.run for rule in self._rules) else {}
        self._known: dict[_Key, Resources] = {}
        self._hints: dict[Hints, Resources] = {}

    def __call__(self, job: Job, run: RunName, phase: Phase) -> Resources:
        """Return the resources of a phase of a job.

        A job belongs to each run that lists it, not only to ``run``.
        """
        runs = self._runs_of.get(job.id, (run,)) if self._runs_of else ()
        hints = phase.executable.hints
        by_id = tuple(rule.job.matches(job.id) for rule in self._by_id)
        key = (job.stage, job.hints, runs, phase.name, hints, by_id)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._resolved(job, runs, phase)
        return known

    def _resolved(self, job: Job, runs: tuple[RunName, ...], phase: Phase) -> Resources:
        asked = self._asked(job, job.hints)
        hints, step = phase.executable.hints, phase.per_branch
        special = self._asked(job, hints) if hints else Resources()
        matching = [each.rule for each in self._rules if each.matches(job, runs)]
        layers = [(rule.resources, rule.origin) for rule in self._defaults]
        layers.append((asked, LAB))
        if not step:
            layers.append((special, LAB))
        layers += [(rule.resources, rule.origin) for rule in matching]
        if step:
            layers.append((special, LAB))
            if matching and matching[-1].steps:
                layers.append((matching[-1].steps, f"{matching[-1].origin} step_resources"))
        return _overlaid(layers)

    def _asked(self, job: Job, hints: Hints) -> Resources:
        """Return a Lab's hints as resources; warn once about invalid hints and ignore them."""
        if hints not in self._hints:
            self._hints[hints] = as_keys(
                Resources(
                    cpus=hints.cpus,
                    mem_bytes=_understood(job, "mem", hints.mem, _lab_memory),
                    time_s=_understood(job, "time", hints.time, parse_time),
                    partition=hints.partition,
                    sbatch_opts=hints.sbatch_opts,
                )
            )
        return self._hints[hints]


class _Globs:
    """Patterns; one of them must match a whole name: ``*`` any text, ``?`` one character."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        translated = ("".join(map(_translated, pattern)) for pattern in patterns)
        self._regex = re.compile("|".join(translated), re.DOTALL)
        self._given = bool(patterns)

    def __bool__(self) -> bool:
        return self._given

    def matches(self, *names: str) -> bool:
        return not self._given or any(self._regex.fullmatch(name) for name in names)


class _Matcher:
    """A rule with its conditions compiled."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.job = _Globs(rule.jobs)
        self.stage = _Globs(rule.stages)
        self.run = _Globs(rule.runs)

    def matches(self, job: Job, runs: tuple[RunName, ...]) -> bool:
        return (
            self.job.matches(job.id) and self.stage.matches(job.stage) and self.run.matches(*runs)
        )


def _translated(char: str) -> str:
    return {"*": ".*", "?": "."}.get(char) or re.escape(char)


def _on(rule: Rule, target_name: str) -> bool:
    return _Globs(rule.targets).matches(target_name)


def _overlaid(layers: Iterable[tuple[Resources, str]]) -> Resources:
    """Return the merged fields of all layers, where later ones win, with their origins."""
    values: dict[str, object] = {}
    slurm: dict[str, str | int | bool] = {}
    sources: dict[str, str] = {}
    for resources, origin in layers:
        given = {name: getattr(resources, name) for name in _REPLACED}
        given = {name: value for name, value in given.items() if value not in (None, ())}
        gone = resources.taken_back | (_MEMORY if _MEMORY.intersection(given) else frozenset())
        for name in gone:
            values.pop(name, None)
            sources.pop(name, None)
        values |= given
        slurm |= resources.slurm
        sources |= dict.fromkeys((*given, *(f"slurm.{name}" for name in resources.slurm)), origin)
    return Resources(**values, slurm=slurm, sources=sources)  # type: ignore[arg-type]  # by name


def _lab_memory(text: str) -> int:
    return parse_memory(text, bare_bytes=True)


def _understood(job: Job, what: str, text: str | None, parse: Callable[[str], int]) -> int | None:
    if text is None:
        return None
    try:
        return parse(text)
    except InputError as error:
        log.warning("job %s: the Lab asks for %s, ignored: %s", job.id, what, error.message)
        return None
