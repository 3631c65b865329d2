"""The order in which jobs are shown: upstream stages first, then by parameters."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from repx import graph
from repx.lab.jobs import parameters
from repx.model import stage_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from repx.model import JobId, Lab

_Key: TypeAlias = tuple[object, ...]
_DIGITS: Final = re.compile(r"[0-9]+")
_WIDTH: Final = 20


def by_parameters(lab: Lab, jobs: Collection[JobId]) -> list[JobId]:
    """Return the jobs by stage; within a stage, by their upstream jobs and parameters."""
    reached = graph.closure(lab.needs, jobs)
    stages: dict[str, list[JobId]] = {}
    for job in reached:
        stages.setdefault(stage_of(job), []).append(job)
    ranks: dict[JobId, int] = {}
    for stage in _stage_order(lab, stages):
        keys = {job: _key(lab, job, ranks) for job in stages[stage]}
        start = len(ranks)
        for place, job in enumerate(sorted(keys, key=keys.__getitem__)):
            ranks[job] = start + place
    wanted = set(jobs)
    return [job for job in ranks if job in wanted]


def _stage_order(lab: Lab, stages: Mapping[str, Collection[JobId]]) -> list[str]:
    """Return the stages so that each comes after those it reads; if there is a cycle, by name."""
    needs = {
        stage: sorted(
            {stage_of(need) for job in stages[stage] for need in lab.needs[job]} - {stage}
        )
        for stage in sorted(stages)
    }
    return sorted(needs) if graph.find_cycle(needs) else list(graph.order(needs))


def _key(lab: Lab, job: JobId, ranks: Mapping[JobId, int]) -> _Key:
    params = parameters(lab.jobs, job)
    needs = sorted(ranks.get(need, -1) for need in lab.needs[job])
    return (needs, [(name, *comparable(params[name])) for name in sorted(params)], job)


def comparable(value: object) -> tuple[int, float, str]:
    """Return a sort key for values of any kind: numbers by size, then text, then the rest.

    Numbers within text sort by size, too: ``part-2`` comes before ``part-10``.
    """
    match value:
        case bool() | None:
            return (2, 0, str(value))
        case int() | float():
            return (0, value, "")
        case str():
            return (1, 0, _DIGITS.sub(lambda match: match[0].zfill(_WIDTH), value))
        case _:
            return (3, 0, json.dumps(value, sort_keys=True))
