"""The results of a plan's jobs: numbers, and events for the journal."""

from __future__ import annotations

import time

from repx.runner import table
from repx.runner.dag import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from repx.runner.dag import Dag
    from repx.runner.events import Journal
    from repx.runner.store import Store
    from repx.runner.units import Unit

UNMARKED_MOST: Final = 1000  # most jobs listed in one event


class Tally:
    """Counts jobs as they end, each once, and notes events. Mutable."""

    def __init__(self, dag: Dag, journal: Journal) -> None:
        """Count the tasks of a graph."""
        self.dag, self.journal = dag, journal
        self.names: list[str] = [task["job"] for task in dag.tasks]
        self.succeeded = 0
        self.failed: set[int] = set()
        self.reasons: dict[int, str] = {}  # why a task's last attempt failed
        self.skipped = 0
        self.steps = self.ended_steps = 0  # of scatter-gather jobs
        self.stopped_runs: set[str] = set()
        self.waits: set[int] = set()  # tasks whose wait was reported

    # --- numbers

    def all_succeeded(self) -> bool:
        """Tell whether every job has succeeded."""
        return self.succeeded == len(self.names)

    def totals(self, store: Store, *, interrupted: bool) -> dict[str, object]:
        """Return the numbers for the last event, and reasons of failed jobs without a marker."""
        unmarked = {
            self.names[task]: self.reasons[task]
            for task in sorted(self.failed & self.reasons.keys())[:UNMARKED_MOST]
            if not store.has_marker(self.names[task])
        }
        return {
            **({"unmarked": unmarked} if unmarked else {}),
            "ok": self.succeeded,
            "failed": len(self.failed),
            "skipped": self.skipped,
            "reason": "interrupted" if interrupted else "done",
        }

    def progress(self) -> str:
        """Return the progress of the plan as text."""
        ended = self.succeeded + len(self.failed) + self.skipped
        steps = f", {self.ended_steps} of {self.steps} steps" if self.steps else ""
        return f"{ended} of {len(self.names)} ended, {len(self.failed)} failed{steps}"

    def summary(self) -> str:
        """Return the result of the plan as text."""
        left = len(self.names) - self.succeeded - len(self.failed) - self.skipped
        rest = f", {left} not started" if left else ""
        numbers = f"{self.succeeded} succeeded, {len(self.failed)} failed, {self.skipped} skipped"
        return f"{numbers}{rest}"

    def title(self, unit: Unit) -> str:
        """Return a unit's name for messages."""
        return " ".join([self.names[unit.task], *unit.words])

    # --- events

    def note_start(self, unit: Unit) -> None:
        """Note that a unit was given to a worker."""
        job = self.names[unit.task]
        self.journal.add("start", job=job, phase=unit.label, attempt=unit.attempt)

    def note_wait(self, unit: Unit, holder: str) -> None:
        """Note, once per job, the holder of the lock that the job waits for."""
        if unit.task not in self.waits:
            self.waits.add(unit.task)
            job = self.names[unit.task]
            self.journal.add("wait", job=job, phase=unit.label, because=holder)
            self.journal.say(f"{self.title(unit)} waits: another process has it ({holder})")

    def note_end(
        self,
        unit: Unit,
        *,
        ok: bool,
        reason: str,
        began: float | None = None,
        used: dict[str, Any] | None = None,
    ) -> None:
        """Note the end of a unit's attempt; print a failure."""
        used = used or {}
        self.journal.add(
            "end",
            job=self.names[unit.task],
            phase=unit.label,
            ok=ok,
            reason=reason,
            wall_s=round(time.monotonic() - began, 3) if began is not None else 0.0,
            cpu_s=used.get("cpu_s", 0.0),
            rss_bytes=used.get("rss_bytes"),
        )
        if not ok:
            self.reasons[unit.task] = reason
            self.journal.say(f"{self.title(unit)}: {reason}")

    def note_steps(self, task: int, count: int) -> None:
        """Note how many steps a scatter-gather job has to do."""
        if count:
            self.steps += count
            self.journal.add("steps", job=self.names[task], count=count)

    def note_done(self, task: int) -> None:
        """Note that a whole job has already succeeded, in another runner."""
        self.succeeded += 1
        job = self.names[task]
        self.journal.add("end", job=job, phase=None, ok=True, reason="done already")

    def note_skipped(self) -> None:
        """Note the jobs that are skipped, and the job that failed."""
        skipped, self.dag.skipped = self.dag.skipped, []
        for node, culprit in skipped:
            task, *_ = self.dag.placed(node)
            if node == self.dag.first[task]:
                self.skipped += 1
                self.journal.add("skip", job=self.names[task], because=self._name(culprit))

    def count(self, unit: Unit) -> None:
        """Count a unit's job if the end of the unit ends the job."""
        self.ended_steps += unit.branch != WHOLE
        if self.dag.state[unit.node] == table.FAILED:
            self.failed.add(unit.task)
        elif unit.node == self.dag.last[unit.task]:
            self.succeeded += 1

    def _name(self, node: int) -> str:
        place = self.dag.place[node]
        if place is not None:
            return self.names[place[0]]
        return next((job for job, each in self.dag.foreign.items() if each == node), "")

    # --- stopped runs and cancelled jobs

    def stopped(self, unit: Unit) -> bool:
        """Tell whether the run of a unit was stopped."""
        return self.dag.tasks[unit.task]["run"] in self.stopped_runs

    def stop_run(self, culprit: Unit) -> list[int]:
        """Stop the culprit's run: no more of its units start; return the run's tasks."""
        run = self.dag.tasks[culprit.task]["run"]
        if run in self.stopped_runs:
            return []
        self.stopped_runs.add(run)
        members = [i for i, task in enumerate(self.dag.tasks) if task["run"] == run]
        nodes = [node for task in members for node in self.dag.nodes[task]]
        self.dag.end_all(nodes, table.STOP, culprit.node)
        return members

    def cancel(self, task: int) -> None:
        """End a job as cancelled; its running units have already been told to end."""
        states = {self.dag.state[node] for node in self.dag.nodes[task]}
        alone = len(self.dag.tasks[task]["units"]) == 1
        if states <= table.ENDED or (alone and states == {table.RUNNING}):
            return
        self.journal.add("end", job=self.names[task], phase=None, ok=False, reason="cancelled")
        self.failed.add(task)
        self.dag.end_all(self.dag.nodes[task], table.CANCEL)
