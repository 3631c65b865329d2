"""The local scheduler: runs one submission folder, alone, with nothing but Python's own library.

    python3 agent.py FOLDER [-j N] [--cpus N] [--mem 4G] [--keep-going] [--quiet]

Starts the folder's job scripts in order of the plan, as many as the limits admit, and waits for
what happens: a child's end, a signal, the next time limit. It never polls, but for locks and jobs
held by other runners, once a second. All it knows is in the folder and the store, so it may be
killed at any moment and started again.

Exit code: 0 every job succeeded, 1 some did not, 130 interrupted, 3 it could not work.

A failed job stops its run: what of the run has not started stays undone, what waits hard for the
run is skipped, running jobs are let run, other runs go on. With --keep-going only the jobs that
need the failed one are skipped.

Signals: INT, TERM end all jobs as cancelled (a second one kills them), USR1 ends them as timed
out, HUP reads FOLDER/cancel (a job id a line, or *).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import gc
import heapq
import json
import os
import resource
import selectors
import signal
import sys
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

GRACE_S = float(os.environ.get("REPX_GRACE_S", "10"))  # between TERM and KILL, as in lib.sh
MARGIN_S = 5.0  # what a wrapper may take longer than that
LOOK_EVERY_S = 1.0  # at locks and jobs of other runners
SAY_EVERY_S = 1.0
DAY_S = 86400.0
LOOKERS_WAITS_S = (0.05, 0.1, 0.2)  # for those that ask whether a lock is held
LOOKS = 3  # until a job that nobody runs is believed to have ended
PATIENCE = 20  # times that a job may be passed over by smaller ones behind it
PLAN_VERSION = 1
MARKER_BYTES = 4096  # a block, which is what the smallest file takes
LOCK_FD = 9  # where wrappers find the lock their job holds
WATCHED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

WAITING, READY, STARTED, OK, FAILED, SKIPPED, STOPPED = range(7)
HOST = os.uname().nodename
UNKNOWN: tuple[float, int | None] = (0.0, None)  # cpu time and memory
COMPACT = json.JSONEncoder(separators=(",", ":"))
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


# --- what may start ------------------------------------------------------------------------


class Graph:
    """Which tasks may start, and which never will, as others end.

    Tasks, jobs of other runners and gates are all nodes. A node is ready when every node it
    waits for has ended well; a soft gate is content with any end. ``ready`` and ``skipped``
    collect news for the caller to take.
    """

    def __init__(self, tasks: list[dict[str, Any]], gates: list[dict[str, Any]]) -> None:
        """Build the graph of a plan's tasks and gates."""
        self.tasks = len(tasks)
        self.outside: dict[str, int] = {}
        self.soft = {self.tasks + i for i, gate in enumerate(gates) if gate["type"] == "soft"}
        size = self.tasks + len(gates)
        self.state = bytearray(size)
        self.left = [0] * size
        self.after: list[list[int] | None] = [None] * size
        self.ready: list[int] = []
        self.skipped: list[tuple[int, int]] = []
        for i, task in enumerate(tasks):
            self._connect(i, task["needs"], task["waits"])
            self._connect(i, [self.tasks + gate for gate in task["gates"]], ())
        for i, gate in enumerate(gates, start=self.tasks):
            self._connect(i, gate["tasks"], gate["waits"])
        for i in range(size):
            if not self.left[i]:
                self._release(i)

    def _connect(self, node: int, nodes: Iterable[int], outsiders: Iterable[str]) -> None:
        for before in nodes:
            self._edge(before, node)
        for job in outsiders:
            self._edge(self._outsider(job), node)

    def _outsider(self, job: str) -> int:
        node = self.outside.get(job)
        if node is None:
            node = self.outside[job] = len(self.state)
            self.state.append(WAITING)
            self.left.append(-1)
            self.after.append(None)
        return node

    def _edge(self, before: int, behind: int) -> None:
        self.left[behind] += 1
        after = self.after[before]
        if after is None:
            self.after[before] = [behind]
        else:
            after.append(behind)

    def _release(self, node: int) -> None:
        if node < self.tasks:
            self.state[node] = READY
            self.ready.append(node)
        else:
            self.end(node, ok=True)

    def end(self, node: int, *, ok: bool, culprit: int | None = None, state: int = 0) -> None:
        """Note that a node ended, and what follows from it for those behind."""
        self.state[node] = state or (OK if ok else FAILED)
        ended = [(node, ok)]
        while ended:
            before, well = ended.pop()
            for behind in self.after[before] or ():
                if self.state[behind] != WAITING:
                    continue
                if well or behind in self.soft:
                    self.left[behind] -= 1
                    if not self.left[behind]:
                        self._release(behind)
                else:
                    self.state[behind] = SKIPPED
                    if behind < self.tasks:
                        self.skipped.append((behind, node if culprit is None else culprit))
                    ended.append((behind, False))

    def stop(self, nodes: Iterable[int], culprit: int) -> None:
        """Give up on those of the tasks that have not started, and on what waits for them."""
        given_up = [node for node in nodes if self.state[node] in (WAITING, READY)]
        for node in given_up:
            self.state[node] = STOPPED
        for node in given_up:
            self.end(node, ok=False, culprit=culprit, state=STOPPED)


class Unit:
    """What one process does: a job, or one phase of a scatter-gather job.

    Mutable: ``attempt``, and ``odd`` when a worker has refused it.
    """

    __slots__ = (
        *("attempt", "branch", "cpus", "limit_s", "mem", "odd", "order", "phase", "step", "task"),
    )

    def __init__(
        self, task: int, ask: dict[str, Any], phase: str | None, rank: int, step: str, branch: int
    ) -> None:
        """Describe a process of ``task`` that asks for what ``ask`` says."""
        self.task, self.phase, self.step, self.branch = task, phase, step, branch
        self.order = (task, branch, rank)
        self.cpus: int = ask["cpus"] or 1
        self.mem: int = ask["mem"] or 0
        self.limit_s: float | None = ask["time"]
        self.attempt = 1
        self.odd = False

    @property
    def words(self) -> list[str]:
        """Return the arguments of the job script."""
        if self.phase == "step":
            return ["step", self.step, str(self.branch)]
        return [self.phase] if self.phase else []

    @property
    def label(self) -> str | None:
        """Return the phase as events name it."""
        return " ".join(self.words) or None


class Admission:
    """Lets units start, first in order first, as far as slots, cores and memory allow.

    Units of one shape share a queue, so that many that do not fit cost as much as one. A smaller
    unit may pass a bigger one only ``PATIENCE`` times. What is larger than the machine runs alone.
    """

    def __init__(self, jobs: int, cpus: int, mem: int) -> None:
        """Allow so many units, cores and bytes at once."""
        self.jobs, self.cpus, self.mem = jobs, cpus, mem
        self.running = self.used_cpus = self.used_mem = 0
        self.queues: dict[tuple[int, int], list[tuple[tuple[int, int, int], Unit]]] = {}
        self.passed: dict[tuple[int, int], int] = {}

    def push(self, unit: Unit) -> None:
        """Queue a unit."""
        # Memory rounded to four bits, so that there are few shapes whatever is asked for.
        shape = (unit.cpus, unit.mem >> max(0, unit.mem.bit_length() - 4))
        shape = (unit.cpus, (unit.mem.bit_length() << 4) + shape[1])
        heapq.heappush(self.queues.setdefault(shape, []), (unit.order, unit))

    def pop(self, wanted: Callable[[Unit], bool]) -> Unit | None:
        """Return the unit to start now, if there is one; forget those no longer wanted."""
        if self.running >= self.jobs:
            return None
        too_big: list[tuple[int, int]] = []
        for shape in self._shapes(wanted):
            if self._fits(self.queues[shape][0][1]):
                for bigger in too_big:
                    self.passed[bigger] = self.passed.get(bigger, 0) + 1
                self.passed.pop(shape, None)
                return self._take(shape)
            if self.passed.get(shape, 0) >= PATIENCE:
                return None
            too_big.append(shape)
        return None

    def _shapes(self, wanted: Callable[[Unit], bool]) -> list[tuple[int, int]]:
        """Return the shapes by their first units."""
        for shape in list(self.queues):
            queue = self.queues[shape]
            while queue and not wanted(queue[0][1]):
                heapq.heappop(queue)
            if not queue:
                del self.queues[shape]
        return sorted(self.queues, key=lambda shape: self.queues[shape][0][0])

    def _fits(self, unit: Unit) -> bool:
        return not self.running or (
            self.used_cpus + unit.cpus <= self.cpus and self.used_mem + unit.mem <= self.mem
        )

    def _take(self, shape: tuple[int, int]) -> Unit:
        unit = heapq.heappop(self.queues[shape])[1]
        self.running += 1
        self.used_cpus += unit.cpus
        self.used_mem += unit.mem
        return unit

    def give_back(self, unit: Unit) -> None:
        """Free what a unit held."""
        self.running -= 1
        self.used_cpus -= unit.cpus
        self.used_mem -= unit.mem

    def too_large(self, unit: Unit) -> bool:
        """Tell whether the unit asks for more than there is."""
        return unit.cpus > self.cpus or unit.mem > self.mem


class Phases:
    """The units of one scatter-gather job, as they become ready."""

    def __init__(self, task: int, plan: dict[str, Any]) -> None:
        """Begin the job that is ``task`` of the plan."""
        self.task, self.plan = task, plan
        self.steps: dict[str, dict[str, Any]] = plan["steps"]
        self.ranks = {step: rank for rank, step in enumerate(self.steps, start=1)}
        self.left: dict[tuple[int, str], int] = {}
        self.open = 0  # steps that have not succeeded
        self.units = 0  # queued, deferred or running
        self.failed = ""  # why the job will fail when its last unit has ended
        self.halted = False  # its run has been stopped

    def scatter(self) -> Unit:
        """Return the unit that comes first."""
        return Unit(self.task, self.plan["scatter"], "scatter", 0, "", -1)

    def branches(self, count: int, done: Callable[[int, str], bool]) -> Iterator[Unit]:
        """Yield what may start after scatter made ``count`` branches; ``done`` steps are kept."""
        self.open = count * len(self.steps)
        for i in range(count):
            kept: set[str] = set()
            for step, ask in self.steps.items():
                waits = sum(dep not in kept for dep in ask["deps"])
                if not waits and done(i, step):
                    kept.add(step)
                elif waits:
                    self.left[i, step] = waits
                else:
                    yield self._step(i, step)
            self.open -= len(kept)
        yield from self._gather()

    def step_ended(self, branch: int, name: str) -> Iterator[Unit]:
        """Yield what may start after a step succeeded."""
        self.open -= 1
        for step, ask in self.steps.items():
            if name in ask["deps"]:
                self.left[branch, step] -= 1
                if not self.left[branch, step]:
                    del self.left[branch, step]
                    yield self._step(branch, step)
        yield from self._gather()

    def _step(self, branch: int, step: str) -> Unit:
        return Unit(self.task, self.steps[step], "step", self.ranks[step], step, branch)

    def _gather(self) -> Iterator[Unit]:
        if not self.open:
            yield Unit(self.task, self.plan["gather"], "gather", 0, "", sys.maxsize)


# --- what is on disk -----------------------------------------------------------------------


class Store:
    """The markers and locks of the jobs below ``base``, and what they mean for one plan."""

    def __init__(self, base: str, plan_path: str) -> None:
        """Look at the store at ``base``. Raises OSError when there is no plan."""
        self.outputs = f"{base}/outputs"
        self.plan_time_ns = os.stat(plan_path).st_mtime_ns

    def record(self, job: str, part: str = "") -> str:
        """Return the folder of a job's own files, or of a part of it (``scatter``)."""
        return f"{self.outputs}/{job}/{part}repx" if part else f"{self.outputs}/{job}/repx"

    def tried(self, job: str) -> bool:
        """Tell whether a job was ever begun."""
        return os.path.lexists(f"{self.outputs}/{job}")

    def succeeded(self, record: str, *, forced: bool) -> bool:
        """Tell whether there is a success, and if ``forced`` one after the plan was made."""
        try:
            made = os.stat(f"{record}/SUCCESS").st_mtime_ns
        except OSError:
            return False
        return not forced or made > self.plan_time_ns

    def failure(self, record: str) -> str:
        """Return why the FAIL marker says that the last attempt failed."""
        try:
            with open(f"{record}/FAIL", encoding="utf-8") as stream:
                return str(json.load(stream)["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def branches(self, job: str) -> int:
        """Return how many branches scatter made."""
        with open(f"{self.record(job, 'scatter/')}/SUCCESS", encoding="utf-8") as stream:
            return int(json.load(stream)["branches"])

    def make(self, folder: str) -> None:
        """Make ``folder``/out and ``folder``/repx. Raises OSError."""
        for path in (f"{folder}/out", f"{folder}/repx"):
            if not os.path.isdir(path):
                os.makedirs(path, exist_ok=True)

    def lock(self, record: str) -> int | None:
        """Return a descriptor that holds the job's lock, or None while another runner has it."""
        lock = os.open(f"{record}/lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            pass  # the file system has no locks
        return lock

    def holder(self, job: str) -> str:
        """Return the host and process that a job's lock names."""
        try:
            with open(f"{self.record(job)}/lock", encoding="utf-8", errors="replace") as stream:
                return stream.read(200).strip()
        except OSError:
            return ""

    def full(self) -> bool:
        """Tell whether there is no room for so much as a marker."""
        space = os.statvfs(self.outputs)
        no_inodes = space.f_files and not space.f_ffree  # some file systems count none
        return bool(no_inodes) or space.f_bavail * space.f_frsize < MARKER_BYTES

    def locked(self, record: str) -> bool:
        """Tell whether something of the job runs."""
        return held(f"{record}/lock")


def held(path: str) -> bool:
    """Tell whether another process holds the lock at ``path`` alone."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(lock)


class Elsewhere:
    """Jobs that other runners have promised to run, and how they came out."""

    def __init__(self, store: Store, submissions: str, own: str, jobs: Iterable[str]) -> None:
        """Watch ``jobs``; ``own`` is this agent's folder, which promises nothing."""
        self.store, self.submissions, self.own = store, submissions, own
        self.jobs = set(jobs)
        self.promised: dict[str, str] = {}
        self.searched = False  # for promises, in this look
        self.doubts: dict[str, int] = dict.fromkeys(self.jobs, 0)

    def ended(self) -> Iterator[tuple[str, bool]]:
        """Yield each job that has ended since the last call, and whether it succeeded."""
        self._forget_the_dead()
        self.searched = False
        for job in sorted(self.jobs):
            record = self.store.record(job)
            if self.store.succeeded(record, forced=False):
                self.jobs.discard(job)
                yield job, True
            elif not self.store.locked(record) and not self._pending(job, record):
                # Between two looks a job may start, end or be tried again: look again.
                self.doubts[job] += 1
                if self.doubts[job] == LOOKS:
                    self.jobs.discard(job)
                    yield job, False

    def _pending(self, job: str, record: str) -> bool:
        """Tell whether an agent that is alive still has the job in its queue."""
        if job not in self.promised and not self.searched:
            self._find_promises()
        folder = self.promised.get(job)
        if folder is None:
            return False
        try:
            failed_at = os.stat(f"{record}/FAIL").st_mtime_ns
        except OSError:
            return True
        return failed_at < os.stat(f"{folder}/plan.json").st_mtime_ns

    def _forget_the_dead(self) -> None:
        """Forget the promises of agents that do not live any more."""
        folders = set(self.promised.values())
        dead = {folder for folder in folders if not held(f"{folder}/agent.lock")}
        if dead:
            kept = {job: folder for job, folder in self.promised.items() if folder not in dead}
            self.promised = kept

    def _find_promises(self) -> None:
        self.searched = True
        with contextlib.suppress(OSError):
            for name in os.listdir(self.submissions):
                folder = f"{self.submissions}/{name}"
                if os.path.realpath(folder) != self.own and held(f"{folder}/agent.lock"):
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        for task in read_plan(folder)["tasks"]:
                            if task["job"] in self.jobs:
                                self.promised[task["job"]] = folder


class Journal:
    """What happened, for others to read: events.jsonl, agent.log, lines on the terminal.

    Mutable: events are kept until they could be written, so a full disk ends nothing.
    """

    def __init__(self, folder: str, *, quiet: bool) -> None:
        """Open the files in ``folder``. Raises OSError."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        self.events = os.open(f"{folder}/events.jsonl", flags, 0o666)
        self.log = os.open(f"{folder}/agent.log", flags, 0o666)
        seen = [self.log]
        if not quiet and not same_file(self.log, 2):
            seen.append(2)
        self.readers = seen
        self.entries: list[dict[str, object]] = []  # noted, and made into lines by `flush`
        self.pending = bytearray()
        size = os.fstat(self.events).st_size
        if size and os.pread(self.events, 1, size - 1) != b"\n":
            self.pending += b"\n"  # what was being written when an agent died

    def add(self, event: str, **members: object) -> None:
        """Note an event; ``flush`` writes it."""
        self.entries.append({"t": round(time.time(), 3), "e": event, **members})

    def flush(self) -> None:
        """Write what is noted; what does not fit stays for the next time."""
        for entry in self.entries:
            self.pending += COMPACT.encode(entry).encode() + b"\n"
        self.entries.clear()
        if not self.pending:
            return
        try:
            written = os.write(self.events, self.pending)
        except OSError:
            return
        del self.pending[:written]

    def say(self, text: str) -> None:
        """Tell people."""
        for reader in self.readers:
            with contextlib.suppress(OSError):
                os.write(reader, f"repx: {text}\n".encode(errors="replace"))


def same_file(one: int, other: int) -> bool:
    """Tell whether two descriptors are the same file."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def read_plan(folder: str) -> dict[str, Any]:
    """Return plan.json. Raises OSError; ValueError, KeyError for another kind of file."""
    with open(f"{folder}/plan.json", encoding="utf-8") as stream:
        plan: dict[str, Any] = json.load(stream)
    if plan["version"] != PLAN_VERSION:
        raise ValueError(f"plan.json has version {plan['version']}, not {PLAN_VERSION}")
    return plan


# --- running -------------------------------------------------------------------------------


class Running:
    """A unit at work.

    Mutable: ``told`` when it was told to end, ``ending`` says why; ``used`` is what a worker says
    of its program's cpu time and memory.
    """

    __slots__ = ("began", "ending", "told", "unit", "used")

    def __init__(self, unit: Unit, began: float) -> None:
        """Note when, on the monotonic clock, a unit's wrapper began."""
        self.unit, self.began, self.ending, self.told = unit, began, "", False
        self.used = UNKNOWN


class Crew:
    """Workers (worker.py), each with one job at a time. Mutable."""

    def __init__(self, folder: str, log: int) -> None:
        """Hire workers for the jobs in ``folder`` as they are needed; they complain to ``log``."""
        beside = os.path.join(os.path.dirname(os.path.realpath(__file__)), "worker.py")
        self.command = [sys.executable, "-I", "-S", beside, folder, str(LOCK_FD)]
        self.log = log
        self.ears, self.mouth = os.pipe()
        os.set_blocking(self.ears, False)
        self.pipes: dict[int, int] = {}  # where each, by its pid, reads what to do
        self.idle: list[int] = []
        self.useless = False  # they end before they have begun
        self.half_line = b""

    def assign(self, job: str, attempt: int) -> int:
        """Give a job to a worker; return its pid. Raises OSError."""
        words = b"%d %b" % (attempt, os.fsencode(job))
        while self.idle:
            pid = self.idle.pop()
            with contextlib.suppress(BrokenPipeError):  # it was killed
                os.write(self.pipes[pid], words)
                return pid
        pid = self._hire()
        os.write(self.pipes[pid], words)
        return pid

    def _hire(self) -> int:
        theirs, ours = os.pipe()
        try:
            pid = os.posix_spawn(
                self.command[0],
                self.command,
                os.environ,
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, theirs, 0),
                    (os.POSIX_SPAWN_DUP2, self.mouth, 1),
                    (os.POSIX_SPAWN_DUP2, self.log, 2),
                ),
                setsid=True,
                setsigmask=WATCHED,  # which it waits for while it runs a job
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self.pipes[pid] = ours
        return pid

    def hear(self) -> Iterator[dict[str, Any]]:
        """Yield what workers have answered."""
        try:
            heard = self.half_line + os.read(self.ears, 1 << 16)
        except BlockingIOError:
            return
        *lines, self.half_line = heard.split(b"\n")
        yield from map(json.loads, lines)

    def release(self, pid: int) -> None:
        """Take note that a worker is idle."""
        self.idle.append(pid)

    def dismiss(self, pid: int) -> None:
        """Let a worker end, or note that it has."""
        pipe = self.pipes.pop(pid, None)
        if pipe is not None:
            os.close(pipe)
        if pid in self.idle:
            self.idle.remove(pid)

    def dissolve(self) -> None:
        """Let all idle workers end, and wait for that."""
        leaving = list(self.idle)
        for pid in leaving:
            self.dismiss(pid)
        for pid in leaving:
            os.waitpid(pid, 0)


class Agent:
    """Starts wrappers, waits for what happens, and draws the consequences. Mutable."""

    def __init__(self, folder: str, plan: dict[str, Any], options: argparse.Namespace) -> None:
        """Prepare to run the plan in ``folder``. Raises OSError."""
        self.folder, self.tasks = folder, plan["tasks"]
        self.names: list[str] = [task["job"] for task in self.tasks]
        self.store = Store(plan["base"], f"{folder}/plan.json")
        self.journal = Journal(folder, quiet=options.quiet)
        self.keep_going: bool = options.keep_going
        self.admission = Admission(options.jobs, options.cpus, options.mem)
        self.graph = Graph(self.tasks, plan["gates"])
        self.elsewhere = Elsewhere(
            self.store, f"{plan['base']}/submissions", folder, self.graph.outside
        )
        self.phases: dict[int, Phases] = {}
        self.locks: dict[int, int] = {}  # of scatter-gather jobs, from scatter to gather
        self.running: dict[int, Running] = {}
        self.deferred: list[Unit] = []  # another runner has the job
        self.held_up: set[int] = set()  # tasks of which that has been told
        self.crew = Crew(folder, self.journal.log)
        self.limits: list[tuple[float, int, Running, bool]] = []  # when, pid, what, kill
        self.look_at = 0.0
        self.said_at = 0.0
        self.stopped_runs: set[str] = set()
        self.cancel_from = file_size(f"{folder}/cancel")
        self.stopping = 0  # the signal that ends everything
        self.signals: deque[int] = deque()
        self.counts = {OK: 0, FAILED: 0, SKIPPED: 0}
        self.bash = find("bash") or "/bin/bash"
        self.environments: dict[int, dict[str, str]] = {}
        self.no_input = os.open(os.devnull, os.O_RDONLY)
        if not os.path.exists(f"/dev/fd/{LOCK_FD}"):  # so that no lock is opened as just this
            os.dup2(self.no_input, LOCK_FD, inheritable=False)

    # --- the loop

    def run(self) -> int:
        """Run everything; return the exit code."""
        self.journal.add("agent-start", pid=os.getpid())
        with wakeups(self.signals, self.crew.ears) as wait:
            while True:
                self._heed_signals()
                self._hear()
                self._reap()
                self._look_elsewhere()
                self._enforce_limits()
                self._start_units()
                self._report()
                if not self.running and (self.stopping or not self._anything_left()):
                    break
                wait(self._time_to_next())
            self.crew.dissolve()
        return self._finish()

    def _anything_left(self) -> bool:
        return bool(self.deferred or self.elsewhere.jobs or self.admission.queues)

    def _time_to_next(self) -> float | None:
        """Return seconds until something is due without being told, None for never.

        Not more than a day: epoll takes no more than 24 of them.
        """
        due = [when for when, *_ in self.limits[:1]]
        if self.deferred or self.elsewhere.jobs:
            due.append(self.look_at)
        return min(max(0.0, min(due) - time.monotonic()), DAY_S) if due else None

    def _finish(self) -> int:
        failed, skipped = self.counts[FAILED], self.counts[SKIPPED]
        done = self.counts[OK] == len(self.tasks)
        self.journal.add(
            "agent-end",
            ok=self.counts[OK],
            failed=failed,
            skipped=skipped,
            reason="interrupted" if self.stopping else "done",
        )
        self.journal.flush()
        left = len(self.tasks) - self.counts[OK] - failed - skipped
        rest = f", {left} not started" if left else ""
        self.journal.say(f"{self.counts[OK]} succeeded, {failed} failed, {skipped} skipped{rest}")
        if self.stopping:
            return 130
        return 0 if done else 1

    def _report(self) -> None:
        self.journal.flush()
        now = time.monotonic()
        if now - self.said_at >= SAY_EVERY_S and self.running:
            if self.said_at:
                ended = sum(self.counts.values())
                self.journal.say(
                    f"{ended} of {len(self.tasks)} ended, {self.counts[FAILED]} failed, "
                    f"{len(self.running)} running"
                )
            self.said_at = now

    # --- starting

    def _start_units(self) -> None:
        while not self.stopping:
            self._queue_ready()
            unit = self.admission.pop(self._wanted)
            if unit is None:
                return
            if self.admission.too_large(unit):
                self.journal.say(f"{self._title(unit)} asks for more than there is; it runs alone")
            if not self._start(unit):
                self.admission.give_back(unit)

    def _queue_ready(self) -> None:
        ready, self.graph.ready = self.graph.ready, []
        for task in ready:
            entry = self.tasks[task]
            if "steps" in entry:
                self.phases[task] = Phases(task, entry)
                self._queue(self.phases[task].scatter())
            else:
                self._queue(Unit(task, entry, None, 0, "", 0))
        skipped, self.graph.skipped = self.graph.skipped, []
        for task, culprit in skipped:
            self.counts[SKIPPED] += 1
            self.journal.add("skip", job=self.names[task], because=self._name(culprit))

    def _queue(self, unit: Unit) -> None:
        if unit.phase:
            self.phases[unit.task].units += 1
        self.admission.push(unit)

    def _wanted(self, unit: Unit) -> bool:
        """Tell whether a queued unit is still to be started; settle what follows if not."""
        phases = self.phases.get(unit.task)
        if phases is None:
            return self.graph.state[unit.task] in (READY, STARTED)
        going_on = not phases.failed or (self.keep_going and unit.phase == "step")
        if going_on and not phases.halted:
            return True
        self._settle(unit)
        return False

    def _start(self, unit: Unit) -> bool:
        """Start the unit's wrapper, if it still has to run and nobody else has it."""
        job = self.names[unit.task]
        record = self.store.record(job)
        forced = self.tasks[unit.task]["forced"]
        lock = None
        if self._assign(unit, job):
            return True
        try:
            lock = self._lock(unit, job, record)
            if lock is None:
                self._note_wait(unit)
                self._defer(unit)
                return False
            if self.store.succeeded(record, forced=forced):
                self._note_end(unit, ok=True, reason="done already")
                self._end_task(unit.task, ok=True)
                return False
            self._spawn(unit, job, lock)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM) and self.running:
                self._defer(unit)
            else:
                self._fail(unit, f"cannot start: {error}")
            return False
        finally:
            if lock is not None and not unit.phase:  # the wrapper has it now
                os.close(lock)
        return True

    def _assign(self, unit: Unit, job: str) -> bool:
        """Give a job to a worker, if it was never tried; tell whether that worked."""
        if self.crew.useless or unit.odd or unit.phase or self.store.tried(job):
            return False
        try:
            self._begin(unit, job, self.crew.assign(job, unit.attempt))
        except OSError:
            return False
        return True

    def _lock(self, unit: Unit, job: str, record: str) -> int | None:
        if unit.task in self.locks:
            if unit.phase == "step":
                self.store.make(f"{self.store.outputs}/{job}/branch-{unit.branch}/step-{unit.step}")
            return self.locks[unit.task]
        self.store.make(f"{self.store.outputs}/{job}")
        lock = self.store.lock(record)
        if lock is not None and unit.phase:
            self.locks[unit.task] = lock
        return lock

    def _note_wait(self, unit: Unit) -> None:
        """Tell, once, whose lock a job waits for: that of another runner, or of its own daemon."""
        if unit.task not in self.held_up:
            self.held_up.add(unit.task)
            job = self.names[unit.task]
            self.journal.add("wait", job=job, phase=unit.label, because=self.store.holder(job))

    def _defer(self, unit: Unit) -> None:
        if not self.deferred and not self.elsewhere.jobs:
            self.look_at = time.monotonic() + LOOK_EVERY_S
        self.deferred.append(unit)

    def _spawn(self, unit: Unit, job: str, lock: int) -> None:
        log = self.journal.log
        pid = os.posix_spawn(
            self.bash,
            ["bash", f"{self.folder}/jobs/{job}.sh", *unit.words],
            self._environment(unit.attempt),
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self.no_input, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, lock, LOCK_FD),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
        with contextlib.suppress(OSError):  # only people read it
            os.truncate(lock, 0)
            os.pwrite(lock, f"{HOST} {pid}\n".encode(), 0)
        self._begin(unit, job, pid)

    def _begin(self, unit: Unit, job: str, pid: int) -> None:
        """Note that the process ``pid`` works on a unit."""
        now = time.monotonic()
        self.graph.state[unit.task] = STARTED
        self.running[pid] = Running(unit, now)
        if unit.limit_s:
            heapq.heappush(self.limits, (now + unit.limit_s, pid, self.running[pid], False))
        self.journal.add("start", job=job, phase=unit.label, attempt=unit.attempt)

    def _environment(self, attempt: int) -> dict[str, str]:
        if attempt not in self.environments:
            ours = {"REPX_LOCK_FD": str(LOCK_FD), "REPX_ATTEMPT": str(attempt)}
            self.environments[attempt] = {**os.environ, **ours}
        return self.environments[attempt]

    # --- ending

    def _hear(self) -> None:
        for answer in self.crew.hear():
            running = self.running.get(answer["pid"])
            if running is None:
                continue
            if "cpu_s" in answer:
                running.used = (answer["cpu_s"], answer["rss_bytes"])
            if "done" not in answer:  # the worker has become the script, which still runs
                continue
            del self.running[answer["pid"]]
            self.admission.give_back(running.unit)
            if running.told:
                self.crew.dismiss(answer["pid"])
            else:
                self.crew.release(answer["pid"])
            self._answered(running, done=answer["done"])

    def _answered(self, running: Running, *, done: bool) -> None:
        unit = running.unit
        if done:
            self._note_end(unit, ok=True, reason="", used=running.used, began=running.began)
            self._succeed(unit)
        elif running.told:
            reason = running.ending or "timeout"
            self._note_end(unit, ok=False, reason=reason, began=running.began)
            self._fail(unit, reason, stops=not running.ending)
        else:
            unit.odd = True
            self.graph.state[unit.task] = READY
            self.admission.push(unit)

    def _reap(self) -> None:
        while self.running:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            hired = pid in self.crew.pipes
            self.crew.dismiss(pid)
            running = self.running.pop(pid, None)
            if running is None:
                continue
            self.admission.give_back(running.unit)
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                kill_sessions({pid})
            elif hired and self._never_began(running):
                self.crew.useless = True
                self._answered(running, done=False)
                continue
            # What a worker has used, it has used for all its jobs.
            self._ended(running, code, running.used if hired else used(usage))

    def _never_began(self, running: Running) -> bool:
        return running.used is UNKNOWN and not self.store.tried(self.names[running.unit.task])

    def _ended(self, running: Running, code: int, used: tuple[float, int | None]) -> None:
        unit = running.unit
        task = self.tasks[unit.task]
        ok = code == 0 and self.store.succeeded(self._record(unit), forced=task["forced"])
        reason = "" if ok else self._reason(unit, code)
        self._note_end(unit, ok=ok, reason=reason, used=used, began=running.began)
        if ok:
            self._succeed(unit)
        elif unit.attempt <= task["retries"] and not running.ending and not self.stopping:
            unit.attempt += 1
            self.admission.push(unit)
        else:
            self._fail(unit, reason, stops=not running.ending)

    def _record(self, unit: Unit) -> str:
        parts = {"scatter": "scatter/", "step": f"branch-{unit.branch}/step-{unit.step}/"}
        return self.store.record(self.names[unit.task], parts.get(unit.phase or "", ""))

    def _reason(self, unit: Unit, code: int) -> str:
        if code < 0:
            return f"wrapper died: signal {-code}"
        if code == 1:
            return self.store.failure(self._record(unit)) or "failed, for reasons in agent.log"
        if self.store.full():
            return f"no space left on the disk of {self.store.outputs}"
        return f"the job script could not work (exit code {code}): {self.folder}/agent.log"

    def _succeed(self, unit: Unit) -> None:
        if unit.phase not in ("scatter", "step"):
            self._end_task(unit.task, ok=True)
            return
        phases = self.phases[unit.task]
        if unit.phase == "scatter":
            try:
                count = self.store.branches(self.names[unit.task])
            except (OSError, ValueError, KeyError) as error:
                self._fail(unit, f"scatter's SUCCESS cannot be read: {error}")
                return
            following = phases.branches(count, self._step_kept(unit.task))
        else:
            following = phases.step_ended(unit.branch, unit.step)
        for each in following:
            self._queue(each)
        self._settle(unit)

    def _step_kept(self, task: int) -> Callable[[int, str], bool]:
        job, forced = f"{self.store.outputs}/{self.names[task]}", self.tasks[task]["forced"]

        def kept(branch: int, step: str) -> bool:
            record = f"{job}/branch-{branch}/step-{step}/repx"
            return self.store.succeeded(record, forced=forced)

        return kept

    def _fail(self, unit: Unit, reason: str, *, stops: bool = True) -> None:
        """Draw the consequences of a failure that no attempt is left for."""
        phases = self.phases.get(unit.task)
        if phases is None:
            self._end_task(unit.task, ok=False)
        else:
            self._fail_phases(phases, reason)
            self._settle(unit)
        if stops and not self.keep_going:
            self._stop_run(unit.task)

    def _fail_phases(self, phases: Phases, reason: str) -> None:
        """Fail a job of which other units may still run; it keeps its lock until they ended."""
        if not phases.failed:
            phases.failed = reason
            self.counts[FAILED] += 1
            self.graph.end(phases.task, ok=False)

    def _settle(self, unit: Unit) -> None:
        """Count a unit as over; when it was the last of a job that does not go on, let go."""
        phases = self.phases[unit.task]
        phases.units -= 1
        if phases.units or not (phases.failed or phases.halted):
            return
        self._release(unit.task)
        if not phases.failed:
            self.graph.end(unit.task, ok=False, state=STOPPED)

    def _end_task(self, task: int, *, ok: bool) -> None:
        self._release(task)
        self.counts[OK if ok else FAILED] += 1
        self.graph.end(task, ok=ok)

    def _release(self, task: int) -> None:
        lock = self.locks.pop(task, None)
        if lock is not None:
            os.close(lock)

    def _stop_run(self, culprit: int) -> None:
        run = self.tasks[culprit]["run"]
        if run in self.stopped_runs:
            return
        self.stopped_runs.add(run)
        members = [i for i, task in enumerate(self.tasks) if task["run"] == run]
        self.graph.stop(members, culprit)
        for task in members:
            if task in self.phases:
                self.phases[task].halted = True

    def _note_end(
        self,
        unit: Unit,
        *,
        ok: bool,
        reason: str,
        used: tuple[float, int | None] = UNKNOWN,
        began: float | None = None,
    ) -> None:
        now = time.monotonic()
        self.journal.add(
            "end",
            job=self.names[unit.task],
            phase=unit.label,
            ok=ok,
            reason=reason,
            wall_s=round(now - began, 3) if began is not None else 0.0,
            cpu_s=used[0],
            rss_bytes=used[1],
        )
        if not ok:
            self.journal.say(f"{self._title(unit)}: {reason}")

    def _name(self, node: int) -> str:
        if node < len(self.names):
            return self.names[node]
        return next(job for job, place in self.graph.outside.items() if place == node)

    def _title(self, unit: Unit) -> str:
        return " ".join([self.names[unit.task], *unit.words])

    # --- other runners, time, signals

    def _look_elsewhere(self) -> None:
        now = time.monotonic()
        if now < self.look_at:
            return
        deferred, self.deferred = self.deferred, []
        for unit in deferred:
            self.admission.push(unit)
        for job, ok in self.elsewhere.ended():
            self.graph.end(self.graph.outside[job], ok=ok)
        self.look_at = now + LOOK_EVERY_S

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        while self.limits and self.limits[0][0] <= now:
            _, pid, running, kill = heapq.heappop(self.limits)
            if self.running.get(pid) is not running:
                continue
            if kill:
                kill_sessions({pid})
            else:
                self._end_wrapper(pid, running, signal.SIGUSR1, "")

    def _end_wrapper(self, pid: int, running: Running, signum: int, why: str) -> None:
        """Ask a wrapper to end its job; kill all of it if that takes too long."""
        running.ending, running.told = why, True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        patience = time.monotonic() + GRACE_S + MARGIN_S
        heapq.heappush(self.limits, (patience, pid, running, True))

    def _heed_signals(self) -> None:
        while self.signals:
            signum = self.signals.popleft()
            if signum == signal.SIGHUP:
                self._cancel_some()
            elif signum != signal.SIGCHLD:
                self._stop(signum)

    def _stop(self, signum: int) -> None:
        if self.stopping == signal.SIGUSR1 and signum != signal.SIGUSR1:
            self.stopping = signum  # Slurm warns first
            return
        if self.stopping:
            self.journal.say("killing what still runs")
            kill_sessions(set(self.running))
            return
        self.stopping = signum
        self.journal.say(f"stopping; {len(self.running)} running jobs are ended")
        how = signal.SIGUSR1 if signum == signal.SIGUSR1 else signal.SIGTERM
        for pid, running in self.running.items():
            self._end_wrapper(pid, running, how, "stopped")

    def _cancel_some(self) -> None:
        path = f"{self.folder}/cancel"
        try:
            with open(path, encoding="utf-8") as stream:
                stream.seek(self.cancel_from)
                named = set(stream.read().splitlines())
        except OSError as error:
            self.journal.say(f"cannot read {path}: {error}")
            return
        if "*" in named:
            self._stop(signal.SIGTERM)
            return
        for pid, running in self.running.items():
            if self.names[running.unit.task] in named:
                self._end_wrapper(pid, running, signal.SIGTERM, "cancelled")
        for task, job in enumerate(self.names):
            if job in named:
                self._cancel(task)

    def _cancel(self, task: int) -> None:
        """End a job as cancelled, unless its only process has just been told to end."""
        phases, state = self.phases.get(task), self.graph.state[task]
        if state not in (WAITING, READY, STARTED) or (phases is None and state == STARTED):
            return
        self.journal.add("end", job=self.names[task], phase=None, ok=False, reason="cancelled")
        if phases is None:
            self._end_task(task, ok=False)
        else:
            self._fail_phases(phases, "cancelled")


# --- the machine ---------------------------------------------------------------------------


@contextlib.contextmanager
def wakeups(signals: deque[int], ears: int) -> Iterator[Callable[[float | None], None]]:
    """Collect signals in ``signals``; give a function that sleeps until the next, or a timeout.

    It also wakes when there is something to read from ``ears``.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    before = {
        each: signal.signal(each, lambda number, _frame: signals.append(number)) for each in WATCHED
    }
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    for each in (heard, ears):
        selector.register(each, selectors.EVENT_READ)

    def wait(timeout_s: float | None) -> None:
        for key, _ in selector.select(timeout_s):
            if key.fd == heard:
                os.read(heard, 65536)

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(-1)
        for each, handler in before.items():
            signal.signal(each, handler)
        selector.close()
        os.close(heard)
        os.close(told)


def find(program: str) -> str | None:
    """Return where a program is on the PATH (importing `shutil` costs more than starting bash)."""
    places = (f"{folder}/{program}" for folder in os.get_exec_path())
    return next((p for p in places if os.path.isfile(p) and os.access(p, os.X_OK)), None)


def kill_sessions(leaders: set[int]) -> None:
    """Kill every process of the sessions that the wrappers ``leaders`` began."""
    for leader in leaders:
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as stream:
                session = int(stream.read().rpartition(b")")[2].split()[3])
            if session in leaders:
                os.kill(int(name), signal.SIGKILL)


def used(usage: resource.struct_rusage) -> tuple[float, int | None]:
    """Return a wrapper's cpu time in seconds, and its largest resident set in bytes.

    That is None where it is hidden by our own: a child counts as large as we were when it began.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rss = usage.ru_maxrss * 1024 if usage.ru_maxrss > own else None
    return round(usage.ru_utime + usage.ru_stime, 3), rss


def file_size(path: str) -> int:
    """Return a file's size in bytes, 0 without the file."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def bytes_of(text: str) -> int:
    """Return ``4G`` as bytes. Raises ValueError."""
    number, unit = text[:-1], text[-1:].upper()
    if unit.isdigit():
        number, unit = text, ""
    if unit not in UNITS:
        raise ValueError(text)
    return int(number) * UNITS[unit]


def count(text: str) -> int:
    """Return a number of at least 1. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parse(words: list[str]) -> argparse.Namespace:
    """Return the command line; what is not given is all this machine has."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parser = argparse.ArgumentParser(prog="agent.py", description="Run a submission folder.")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("-j", "--jobs", type=count, help="jobs at once (default: by cores)")
    parser.add_argument("--cpus", type=count, help=f"cores to use (default: {cores})")
    parser.add_argument(
        "--mem", type=bytes_of, default=memory, help="memory to use, e.g. 4G (default: all)"
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a failed job")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the terminal")
    options = parser.parse_args(words)
    options.cpus = options.cpus or max(cores, options.jobs or 0)
    options.jobs = options.jobs or sys.maxsize
    return options


def only_agent(folder: str) -> bool:
    """Hold the folder's lock for as long as this process lives; tell whether that worked."""
    lock = os.open(f"{folder}/agent.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lock_patiently(lock)
    except BlockingIOError:
        holder = os.read(lock, 200).decode(errors="replace").strip()
        print(f"repx: {folder}: another agent works on it ({holder})", file=sys.stderr)
        return False
    except OSError:
        print(f"repx: {folder} cannot be locked; start only one agent", file=sys.stderr)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{HOST} {os.getpid()}\n".encode(), 0)
    return True


def lock_patiently(lock: int) -> None:
    """Lock a file, though others may hold it for a moment to see whether somebody does.

    Raises BlockingIOError when it stays locked; OSError when the file system has no locks.
    """
    for wait_s in LOOKERS_WAITS_S:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(wait_s)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def register(folder: str, plan: dict[str, Any]) -> None:
    """Make a folder that lies elsewhere known to the store, so that `repx status` finds it."""
    known = f"{plan['base']}/submissions/{plan['submission']}"
    if os.path.exists(known):
        return
    os.makedirs(os.path.dirname(known), exist_ok=True)
    if os.path.islink(known):
        os.unlink(known)
    os.symlink(folder, known)


def main(words: list[str]) -> int:
    """Run the folder named on the command line; return the exit code."""
    options = parse(words)
    folder = os.path.realpath(options.folder)
    try:
        plan = read_plan(folder)
        if not only_agent(folder):
            return 3
        register(folder, plan)
        os.makedirs(f"{plan['base']}/outputs", exist_ok=True)
        agent = Agent(folder, plan, options)
    except (OSError, ValueError, KeyError) as error:
        print(f"repx: cannot work on {folder}: {error!r}", file=sys.stderr)
        return 3
    gc.freeze()  # the plan stays as it is; looking through it for garbage would cost each job
    return agent.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
