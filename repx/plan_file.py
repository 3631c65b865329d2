"""A Plan as ``plan.json`` (``schemas/plan.schema.json``), for the runner and `repx status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repx.model import Lab
    from repx.plan import Gate, Plan, Task
    from repx.target import Resources, Target

VERSION: Final = 2


def document(plan: Plan, lab: Lab, target: Target, *, submission_id: str) -> dict[str, object]:
    """Return ``plan.json`` as a JSON document."""
    places = {task.job.id: place for place, task in enumerate(plan.tasks)}
    asks = _Asks()
    tasks = [_task(task, plan, places, asks) for task in plan.tasks]
    return {
        "version": VERSION,
        "submission": submission_id,
        "base": target.base_path,
        "lab": lab.id,
        "target": target.name,
        "scheduler": target.scheduler.value,
        "asks": asks.ladders,
        "tasks": tasks,
        "gates": [_gate(gate, plan, places) for gate in plan.gates],
    }


class _Asks:
    """The distinct ladders of resources. Mutable."""

    def __init__(self) -> None:
        self.ladders: list[list[dict[str, int | None]]] = []
        self._places: dict[tuple[tuple[int, int | None, int | None, int], ...], int] = {}

    def place(self, ladder: Iterable[Resources]) -> int:
        """Return the number of a ladder; add the ladder if it is new."""
        key = tuple((each.cpus or 1, each.memory, each.time_s, each.gpus) for each in ladder)
        if key not in self._places:
            self._places[key] = len(self.ladders)
            self.ladders.append(
                [
                    {"cpus": cpus, "mem": mem, "time": time, **({"gpus": gpus} if gpus else {})}
                    for cpus, mem, time, gpus in key
                ]
            )
        return self._places[key]


def _task(task: Task, plan: Plan, places: Mapping[str, int], asks: _Asks) -> dict[str, object]:
    return {
        "job": task.job.id,
        "run": task.run,
        "needs": [places[need] for need in task.needs if need in places],
        "waits": [need for need in task.needs if need not in places and need in plan.alive],
        "gates": list(task.gates),
        "retries": {"n": task.retries.n, "on": list(task.retries.on)},
        "forced": task.forced,
        "reason": task.reason,
        "units": list(_units(task, asks)),
    }


def _units(task: Task, asks: _Asks) -> Iterator[dict[str, object]]:
    """Yield the units of a job, each after those it needs."""
    place_of = {unit.phase.name: place for place, unit in enumerate(task.units)}
    for unit in task.units:
        yield {
            "unit": unit.phase.name,
            "needs": [place_of[need] for need in unit.phase.needs],
            "per_branch": unit.phase.per_branch,
            "ask": asks.place(unit.ladder),
        }


def _gate(gate: Gate, plan: Plan, places: Mapping[str, int]) -> dict[str, object]:
    return {
        "run": gate.run,
        "type": gate.type.value,
        "tasks": [places[job] for job in gate.jobs if job in places],
        "waits": [job for job in gate.jobs if job not in places and job in plan.alive],
    }
