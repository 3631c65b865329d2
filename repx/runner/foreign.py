"""Jobs that other runners will run, and their results."""

from __future__ import annotations

import contextlib
import os

from repx.runner import locks, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from repx.runner.store import Store

LOOKS: Final = 3  # checks without a runner after which a job counts as ended


class ForeignJobs:
    """Jobs of other runners that this runner waits for. Mutable."""

    def __init__(self, store: Store, submissions: str, own: str, jobs: Iterable[str]) -> None:
        """Watch ``jobs``; ``own`` is this runner's folder, whose plan is ignored."""
        self.store, self.submissions, self.own = store, submissions, own
        self.jobs = set(jobs)
        self.promised: dict[str, str] = {}
        self.searched = False  # for plans of other runners, during this check
        self.absences: dict[str, int] = dict.fromkeys(self.jobs, 0)

    def ended(self) -> Iterator[tuple[str, bool]]:
        """Yield each job that has ended since the last call, and whether it succeeded."""
        self._forget_the_dead()
        self.searched = False
        for job in sorted(self.jobs):
            record = self.store.record(job)
            if self.store.succeeded(job, forced=False):
                self.jobs.discard(job)
                yield job, True
            elif not locks.held(f"{record}/lock") and not self._pending(job, record):
                # The job may be between two attempts or just about to start: check again.
                self.absences[job] += 1
                if self.absences[job] == LOOKS:
                    self.jobs.discard(job)
                    yield job, False

    def _pending(self, job: str, record: str) -> bool:
        """Tell whether a live runner still has the job in its queue."""
        if job not in self.promised and not self.searched:
            self._find_promises()
        folder = self.promised.get(job)
        if folder is None:
            return False
        with contextlib.suppress(OSError):
            planned_at = os.stat(f"{folder}/plan.json").st_mtime_ns
            return os.stat(f"{record}/FAIL").st_mtime_ns < planned_at
        return True

    def _forget_the_dead(self) -> None:
        """Forget the plans of runners that have ended."""
        folders = set(self.promised.values())
        dead = {folder for folder in folders if not locks.held(f"{folder}/agent.lock")}
        if dead:
            kept = {job: folder for job, folder in self.promised.items() if folder not in dead}
            self.promised = kept

    def _find_promises(self) -> None:
        self.searched = True
        with contextlib.suppress(OSError):
            for name in os.listdir(self.submissions):
                folder = f"{self.submissions}/{name}"
                if os.path.realpath(folder) != self.own and locks.held(f"{folder}/agent.lock"):
                    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                        for task in plan.load(folder)["tasks"]:
                            if task["job"] in self.jobs:
                                self.promised[task["job"]] = folder
