"""The unit of work of a worker: one unit, in one branch, in one attempt."""

from __future__ import annotations

import sys

from repx.runner.dag import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from repx.runner.dag import Dag

MAIN: Final = "main"
STEP: Final = "step-"
# The kinds of failure by reason, as named in `retries: {on: ...}`.
KINDS: Final = {"timeout": "timeout", "out of memory": "oom"}
FAILURE: Final = "exit"
MORE_HELPS: Final = frozenset(KINDS.values())  # the next attempt gets the next rung


class Unit:
    """A unit that may start, and the resources it asks for.

    Mutable: ``attempt`` counts from 1, ``rung`` is the place in the ladder of resources,
    ``given_gpus`` are the GPUs that a running unit has for itself.
    """

    __slots__ = (
        *("attempt", "branch", "given_gpus", "ladder", "name", "node", "order", "retries"),
        *("rung", "task"),
    )

    def __init__(self, dag: Dag, node: int, asks: list[list[dict[str, Any]]]) -> None:
        """Take the unit of ``node`` in the graph; ``asks`` are the plan's ladders of resources."""
        self.task, index, self.branch = dag.placed(node)
        task = dag.tasks[self.task]
        unit = task["units"][index]
        self.node, self.name = node, str(unit["unit"])
        self.ladder: list[dict[str, Any]] = asks[unit["ask"]]
        self.retries: dict[str, Any] = task["retries"]
        self.attempt, self.rung = 1, 0
        self.given_gpus: tuple[str, ...] = ()
        # Branches run in order, after the first and before the last unit of the job.
        last = self.branch == WHOLE and node == dag.last[self.task]
        self.order = (self.task, sys.maxsize if last else self.branch, index)

    @property
    def ask(self) -> dict[str, Any]:
        """Return the resources of this attempt; the last rung of the ladder repeats."""
        rung: dict[str, Any] = self.ladder[min(self.rung, len(self.ladder) - 1)]
        return rung

    @property
    def cpus(self) -> int:
        """Return the cores that this attempt asks for."""
        return int(self.ask["cpus"] or 1)

    @property
    def mem(self) -> int:
        """Return the bytes of memory that this attempt asks for, 0 for none."""
        return int(self.ask["mem"] or 0)

    @property
    def gpus(self) -> int:
        """Return the GPUs that this attempt asks for."""
        return int(self.ask.get("gpus") or 0)

    @property
    def limit_s(self) -> float | None:
        """Return the time limit in seconds, None for no limit."""
        limit: float | None = self.ask["time"]
        return limit

    @property
    def whole_job(self) -> bool:
        """Tell whether the unit is the only one of its job."""
        return self.name == MAIN

    @property
    def words(self) -> list[str]:
        """Return the words of the unit's name: none, the phase, or ``step NAME BRANCH``."""
        if self.whole_job:
            return []
        if self.branch == WHOLE:
            return [self.name]
        return ["step", self.name[len(STEP) :], str(self.branch)]

    @property
    def label(self) -> str | None:
        """Return the name of the phase in events, None for a whole job."""
        return " ".join(self.words) or None

    @property
    def part(self) -> str:
        """Return the unit's folder below its job's, with a slash at the end, or an empty text."""
        if self.branch != WHOLE:
            return f"branch-{self.branch}/{self.name}/"
        return "scatter/" if self.name == "scatter" else ""

    def may_retry(self, reason: str) -> bool:
        """Tell whether a failure with this reason is retried."""
        on = self.retries["on"]
        return self.attempt <= self.retries["n"] and KINDS.get(reason, FAILURE) in on

    def retry(self, reason: str) -> None:
        """Go on to the next attempt; after a lack of memory or time, it asks for more."""
        self.attempt += 1
        self.rung += KINDS.get(reason, FAILURE) in MORE_HELPS
