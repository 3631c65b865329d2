"""The local scheduler: runs units in the order of the plan and handles their ends."""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import time
from collections import deque

from repx.runner import files, locks, remains, table
from repx.runner.admission import Admission
from repx.runner.dag import WHOLE, Dag
from repx.runner.events import Journal
from repx.runner.foreign import ForeignJobs
from repx.runner.pool import WorkerPool
from repx.runner.signals import wakeups
from repx.runner.store import Store
from repx.runner.tally import Tally
from repx.runner.units import Unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Final

GRACE_S: Final = files.grace_s()  # between TERM and KILL
MARGIN_S: Final = 5.0  # how long a worker may take beyond GRACE_S
LOOK_EVERY_S: Final = 1.0  # interval of checks for locks and jobs of other runners
SAY_EVERY_S: Final = 1.0
DAY_S: Final = 86400.0
FLUSHING_MOST: Final = 8  # units at once that flush their results without holding a slot


class Running:
    """A running unit.

    Mutable: ``told`` is true when the unit was told to end, ``ending`` is the reason (empty for a
    time limit), ``flushing`` is true when the program has ended and its results are being flushed.
    """

    __slots__ = ("began", "ending", "flushing", "told", "unit")

    def __init__(self, unit: Unit) -> None:
        """Note the time, on the monotonic clock, at which a worker got the unit."""
        self.unit, self.began = unit, time.monotonic()
        self.ending, self.told, self.flushing = "", False, False


class Agent:
    """Gives units to workers, waits for events and handles them. Mutable."""

    def __init__(self, folder: str, plan: dict[str, Any], options: argparse.Namespace) -> None:
        """Prepare to run the plan in ``folder``. Raises OSError, KeyError."""
        self.folder, self.asks, self.keep_going = folder, plan["asks"], bool(options.keep_going)
        self.dag = Dag(plan["tasks"], plan["gates"])
        self.store = Store(plan["base"], plan["submission"])
        self.journal = Journal(folder, quiet=options.quiet)
        self.tally = Tally(self.dag, self.journal)
        self.admission = Admission(options.jobs, options.cpus, options.mem, options.devices)
        submissions = f"{plan['base']}/submissions"
        self.foreign = ForeignJobs(self.store, submissions, folder, self.dag.foreign)
        self.pool = WorkerPool(folder, plan["base"], self.journal.log)
        self.locks: dict[int, int] = {}  # by task, only jobs of several units
        self.running: dict[int, Running] = {}
        self.deferred: list[Unit] = []  # units that wait, mostly for another runner's lock
        self.limits: list[tuple[float, int, Running, bool]] = []  # time, pid, unit, whether to kill
        self.look_at = self.said_at = 0.0
        self.cancel_from = files.size(f"{folder}/cancel")
        self.stopping = 0  # the signal that ends everything
        self.signals: deque[int] = deque()

    # --- the loop

    def run(self) -> int:
        """Run everything; return the exit code."""
        self.journal.add("agent-start", pid=os.getpid())
        with wakeups(self.signals, self.pool.answers) as wait:
            while True:
                self._handle_signals()
                self._read_answers()
                self._reap()
                self._look_elsewhere()
                self._enforce_limits()
                self._start_units()
                self._report()
                if not self.running and (self.stopping or not self._anything_left()):
                    break
                wait(self._time_to_next())
            self.pool.close_all(None)
        totals = self.tally.totals(self.store, interrupted=bool(self.stopping))
        self.journal.add("agent-end", **totals)
        self.journal.flush()
        self.journal.say(self.tally.summary())
        if self.stopping:
            return 130
        return 0 if self.tally.all_succeeded() else 1

    def _anything_left(self) -> bool:
        return bool(self.deferred or self.foreign.jobs or self.admission.queues)

    def _time_to_next(self) -> float | None:
        """Return the seconds until the next timed check, None if there is none.

        At most a day: epoll accepts at most 24 days.
        """
        due = [when for when, *_ in self.limits[:1]]
        if self.deferred or self.foreign.jobs:
            due.append(self.look_at)
        return min(max(0.0, min(due) - time.monotonic()), DAY_S) if due else None

    def _report(self) -> None:
        self.journal.flush()
        now = time.monotonic()
        if now - self.said_at >= SAY_EVERY_S and self.running:
            if self.said_at:
                self.journal.say(f"{self.tally.progress()}, {len(self.running)} running")
            self.said_at = now

    # --- starting

    def _start_units(self) -> None:
        while not self.stopping:
            ready, self.dag.ready = self.dag.ready, []
            for node in ready:
                self.admission.push(Unit(self.dag, node, self.asks))
            self.tally.note_skipped()
            unit = self.admission.pop(self._wanted)
            if unit is None:
                return
            if self.admission.too_large(unit):
                self.journal.say(
                    f"{self.tally.title(unit)} asks for more than there is; it runs alone"
                )
            if not self._start(unit):
                self.admission.give_back(unit)

    def _wanted(self, unit: Unit) -> bool:
        """Tell whether a queued unit must still be started."""
        return self.dag.state[unit.node] == table.READY

    def _start(self, unit: Unit) -> bool:
        """Give a unit to a worker; tell whether that worked."""
        try:
            if self._locked(unit):
                self._assign(unit)
                return True
        except OSError as error:
            if error.errno in files.PASSING and self.running:
                self._defer(unit, "")
            else:
                self._could_not_start(unit, str(error))
            return False
        return False

    def _locked(self, unit: Unit) -> bool:
        """Lock a job of several units at its first unit; tell whether to go on. Raises OSError."""
        if unit.whole_job or unit.task in self.locks:
            return True
        job = self.tally.names[unit.task]
        record = self.store.record(job)
        files.refuse_links(os.fsencode(record), os.path.dirname(os.fsencode(record)))
        os.makedirs(record, exist_ok=True)
        lock = locks.take(f"{record}/lock")
        if lock is None:
            self._defer(unit, remains.holder(f"{record}/lock", own=os.getpid()))
            return False
        locks.sign(lock, files.HOST, os.getpid())
        self.locks[unit.task] = lock
        if self.store.succeeded(job, forced=self.dag.tasks[unit.task]["forced"]):
            self._done_already(unit)
            return False
        return True

    def _assign(self, unit: Unit) -> None:
        """Give a unit to a worker. Raises OSError."""
        branch = "" if unit.branch == WHOLE else str(unit.branch)
        job = self.tally.names[unit.task]
        gpus = ",".join(unit.given_gpus)
        words = [str(unit.attempt), str(unit.rung), job, unit.part, unit.name, branch, gpus]
        pid = self.pool.assign(words, self.locks.get(unit.task))
        self.dag.move(unit.node, table.STARTED)
        running = self.running[pid] = Running(unit)
        if unit.limit_s:
            due = running.began + unit.limit_s
            heapq.heappush(self.limits, (due, pid, running, False))
        self.tally.note_start(unit)

    def _defer(self, unit: Unit, holder: str) -> None:
        """Try a unit again later; ``holder`` names the process that has its job, if known."""
        self.dag.move(unit.node, table.SEEN_ELSEWHERE)
        if not self.deferred and not self.foreign.jobs:
            self.look_at = time.monotonic() + LOOK_EVERY_S
        self.deferred.append(unit)
        if holder:
            self.tally.note_wait(unit, holder)

    # --- ending

    def _read_answers(self) -> None:
        for answer in self.pool.read_answers():
            running = self.running.get(answer["pid"])
            if running is None:
                continue
            if answer["outcome"] == "flushing":
                self._flushing(running)
                continue
            self._forget(answer["pid"], running)
            if running.told:
                self.pool.close(answer["pid"])
            else:
                self.pool.release(answer["pid"])
            self._answered(running, answer)

    def _flushing(self, running: Running) -> None:
        """Free the slot of a unit that flushes its results, since flushes run well in parallel."""
        if sum(each.flushing for each in self.running.values()) < FLUSHING_MOST:
            running.flushing = True
            self.admission.give_back(running.unit)

    def _forget(self, worker: int, running: Running) -> None:
        """Note that a worker has finished a unit."""
        del self.running[worker]
        if not running.flushing:
            self.admission.give_back(running.unit)

    def _answered(self, running: Running, answer: dict[str, Any]) -> None:
        unit, outcome = running.unit, answer["outcome"]
        if outcome == "done":
            self._succeeded(running, "", answer)
        elif outcome in ("ended", "already"):
            forced = self.dag.tasks[unit.task]["forced"]
            job, code = self.tally.names[unit.task], answer["code"]
            if code == 0 and self.store.succeeded(job, unit.part, forced=forced):
                self._succeeded(running, "done already" if outcome == "already" else "", answer)
            else:
                reason = self._reason(self.store.record(job, unit.part), code)
                self._failed(running, reason, answer)
        elif running.told:
            self._failed(running, running.ending or "timeout", answer)
        elif outcome == "foreign" or (outcome == "short" and self.running):
            self._defer(unit, answer["because"] if outcome == "foreign" else "")
        else:
            self._failed(running, f"cannot start: {answer['because']}", answer)

    def _reap(self) -> None:
        """Note the workers that have ended, and the failures of the units that they had."""
        while self.pool.pipes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self.pool.close(pid)
            running = self.running.get(pid)
            if running is not None:
                self._forget(pid, running)
                self._end_remains(pid, running.unit)
                code = os.waitstatus_to_exitcode(status)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._failed(running, f"wrapper died: {how}", {})

    def _end_remains(self, worker: int, unit: Unit) -> None:
        """Kill the processes that a killed worker has left."""
        folder = os.fsencode(f"{self.store.record(self.tally.names[unit.task], unit.part)[:-5]}")

        def left() -> list[int]:
            return [*remains.in_session(worker), *remains.marked(folder, parts=False)]

        remains.end(left, 0, time.sleep)

    def _reason(self, record: str, code: int) -> str:
        if code < 0:
            return f"wrapper died: signal {-code}"
        if code == 1:
            return self.store.failure(record) or "failed, for reasons in agent.log"
        if self.store.full():
            return f"no space left on the disk of {self.store.outputs}"
        return f"the job script could not work (exit code {code}): {self.folder}/agent.log"

    def _succeeded(self, running: Running, reason: str, answer: dict[str, Any]) -> None:
        unit = running.unit
        if unit.name == "scatter" and self.dag.state[self.dag.last[unit.task]] == table.WAITING:
            try:
                count = self.store.branches(self.tally.names[unit.task])
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._failed(running, f"scatter's SUCCESS cannot be read: {error}", answer)
                return
            kept = self.store.kept(self.dag.tasks[unit.task])
            self.tally.note_steps(unit.task, self.dag.fan_out(unit.task, count, kept))
        self.tally.note_end(unit, ok=True, reason=reason, began=running.began, used=answer)
        self.dag.end(unit.node, table.ENDED_WELL)
        self._settle(unit)

    def _failed(self, running: Running, reason: str, answer: dict[str, Any]) -> None:
        """Try a unit again, or handle its failure when no attempt is left."""
        unit = running.unit
        self.tally.note_end(unit, ok=False, reason=reason, began=running.began, used=answer)
        ends_all = running.ending or self.stopping or self.tally.stopped(unit)
        if unit.may_retry(reason) and not ends_all:
            unit.retry(reason)
            self.dag.move(unit.node, table.RETRY)
            self.admission.push(unit)
        else:
            self._end_badly(unit, table.ENDED_BADLY, stops=not running.ending)

    def _could_not_start(self, unit: Unit, why: str) -> None:
        self.tally.note_end(unit, ok=False, reason=f"cannot start: {why}")
        self._end_badly(unit, table.COULD_NOT_START)

    def _end_badly(self, unit: Unit, event: str, *, stops: bool = True) -> None:
        self.dag.end(unit.node, event)
        self._settle(unit)
        if stops and not self.keep_going:
            for task in self.tally.stop_run(unit):
                self._release(task)

    def _done_already(self, unit: Unit) -> None:
        """Note that the whole job of a first unit has already succeeded."""
        self.tally.note_done(unit.task)
        self.dag.end_all(reversed(self.dag.nodes[unit.task]), table.SEEN_DONE)
        self._release(unit.task)

    def _settle(self, unit: Unit) -> None:
        self.tally.count(unit)
        self._release(unit.task)

    def _release(self, task: int) -> None:
        """Release the lock of a job when none of its units is left."""
        if not self.dag.open[task] and task in self.locks:
            lock = self.locks.pop(task)
            self.pool.close_all(lock)
            os.close(lock)

    # --- other runners, time, signals

    def _look_elsewhere(self) -> None:
        now = time.monotonic()
        if now < self.look_at:
            return
        deferred, self.deferred = self.deferred, []
        for unit in deferred:
            if self.dag.state[unit.node] == table.FOREIGN:
                self.dag.move(unit.node, table.LOOK_AGAIN)
                self.admission.push(unit)
        for job, ok in self.foreign.ended():
            event = table.SEEN_DONE if ok else table.SEEN_FAILED
            self.dag.end(self.dag.foreign[job], event)
        self.look_at = now + LOOK_EVERY_S

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        while self.limits and self.limits[0][0] <= now:
            _, pid, running, kill = heapq.heappop(self.limits)
            if self.running.get(pid) is not running:
                continue
            if kill:
                self._kill(pid)
            else:
                self._tell_to_end(pid, running, signal.SIGUSR1, "")

    def _kill(self, worker: int) -> None:
        """Kill a worker and its unit's processes; ``_reap`` does the rest."""
        remains.tell([*remains.below(worker), worker], signal.SIGKILL)

    def _tell_to_end(self, pid: int, running: Running, signum: int, why: str) -> None:
        """Ask a worker to end its unit; kill both if that takes too long."""
        running.ending, running.told = why, True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        patience = time.monotonic() + GRACE_S + MARGIN_S
        heapq.heappush(self.limits, (patience, pid, running, True))

    def _handle_signals(self) -> None:
        while self.signals:
            signum = self.signals.popleft()
            if signum == signal.SIGHUP:
                self._cancel_some()
            elif signum != signal.SIGCHLD:
                self._stop(signum)

    def _stop(self, signum: int) -> None:
        if self.stopping == signal.SIGUSR1 and signum != signal.SIGUSR1:
            self.stopping = signum  # Slurm's warning comes before the signal that stops the job
            return
        if self.stopping:
            self.journal.say("killing what still runs")
            for pid in self.running:
                self._kill(pid)
            return
        self.stopping = signum
        self.journal.say(f"stopping; {len(self.running)} running jobs are ended")
        how = signal.SIGUSR1 if signum == signal.SIGUSR1 else signal.SIGTERM
        for pid, running in self.running.items():
            self._tell_to_end(pid, running, how, "stopped")

    def _cancel_some(self) -> None:
        path = f"{self.folder}/cancel"
        try:
            named = set(files.read(path)[self.cancel_from :].decode().splitlines())
        except (OSError, ValueError) as error:
            self.journal.say(f"cannot read {path}: {error}")
            return
        if "*" in named:
            self._stop(signal.SIGTERM)
            return
        for pid, running in self.running.items():
            if self.tally.names[running.unit.task] in named:
                self._tell_to_end(pid, running, signal.SIGTERM, "cancelled")
        for task, job in enumerate(self.tally.names):
            if job in named:
                self.tally.cancel(task)
                self._release(task)
