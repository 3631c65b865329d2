"""Jobs grouped by the reason for which they run or are new, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from repx import console
from repx.cli import report
from repx.lab import compare
from repx.model import short_id, value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repx.lab.compare import Group
    from repx.model import JobId, Lab
    from repx.plan import Plan

_VALUES_SHOWN: Final = 4
_VALUE_SHOWN: Final = 30


def planned(lab: Lab, plan: Plan, *, as_json: bool) -> None:
    """Say what would run, in order, and why."""
    if as_json:
        console.json(
            {
                "run": [
                    {"job": task.job.id, "run": task.run, "reason": task.reason}
                    for task in plan.tasks
                ],
                "fetch": [{"job": job, "reason": why} for job, why in plan.fetched.items()],
                "done": list(plan.done),
                "alive": report.owners(plan),
            }
        )
        return
    reasons = {task.job.id: task.reason for task in plan.tasks}
    show(compare.grouped(lab, {**plan.fetched, **reasons}))
    console.note(_plan_line(plan))


def show(groups: Sequence[Group]) -> None:
    """Write a table: how many jobs of which stage, why, and what their parameters are."""
    rows = [
        (_jobs(group.jobs), group.stage, group.reason, _parameters(group.values))
        for group in groups
    ]
    if rows:
        console.table(("jobs", "stage", "why", "parameters"), rows)


def document(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the groups as JSON has them."""
    return [
        {
            "stage": group.stage,
            "reason": group.reason,
            "jobs": list(group.jobs),
            "parameters": {name: list(values) for name, values in group.values.items()},
        }
        for group in groups
    ]


def _jobs(jobs: Sequence[JobId]) -> str:
    """Return the number of jobs; a single one by its id, to be pasted."""
    return short_id(jobs[0]) if len(jobs) == 1 else str(len(jobs))


def _parameters(values: Mapping[str, Sequence[object]]) -> str:
    return "; ".join(f"{name}={_listed(found)}" for name, found in values.items())


def _listed(values: Sequence[object]) -> str:
    texts = [value_text(value) for value in values[:_VALUES_SHOWN]]
    shown = ", ".join(
        text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…" for text in texts
    )
    return shown if len(values) <= _VALUES_SHOWN else f"{shown}, … ({len(values)})"


def _plan_line(plan: Plan) -> str:
    parts = [
        (len(plan.tasks), "would run"),
        (len(plan.fetched), "would be fetched"),
        (len(plan.done), "done already"),
        (len(plan.alive), "queued or running elsewhere"),
    ]
    return ", ".join(f"{count} {words}" for count, words in parts if count) or "no jobs match"
