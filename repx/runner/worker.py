"""Runs units for the local scheduler, one after another: ``start.py --worker FOLDER B [locked]``.

The worker reads one assignment (``Assignment``) at a time from stdin, sent in one write, and
answers on stdout with one line of JSON: ``{"pid", "outcome", ...}``. The worker itself runs a new
unit whose job file is plain data, in the same way as lib.sh if there is no error. In all other
cases, failures included, the worker runs the job file in bash. In both cases the worker, as their
parent, ends the processes that the unit leaves behind. If the scheduler is killed, the worker goes
on until its unit is marked. A worker has its own session; with ``locked``, descriptor 9 already
holds the lock of every job that the worker will get.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import resource
import signal
import time

from repx.runner import files, gpus, locks, remains
from repx.runner.jobfile import NeedsShell
from repx.runner.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

GRACE_S: Final = files.grace_s()  # between TERM and KILL
ENDINGS: Final = {
    signal.SIGTERM: "cancelled",
    signal.SIGINT: "cancelled",
    signal.SIGHUP: "cancelled",
    signal.SIGUSR1: "timeout",
}
WATCHED: Final = {signal.SIGCHLD, *ENDINGS}
PYTHONS: Final = (signal.SIGPIPE, signal.SIGXFSZ)  # signals that Python ignores
OURS: Final = {  # repx's own variables, which jobs must not see
    *(b"REPX_ATTEMPT", b"REPX_BY", b"REPX_GRACE_S", b"REPX_LOCALE", b"REPX_LOCK", b"REPX_LOCK_FD"),
    *(b"REPX_ENVIRON", b"REPX_REAPER", b"REPX_RUNG", b"REPX_UNIT", gpus.GIVEN),
}


class Assignment:
    """One attempt of one unit, and its paths on the disk."""

    def __init__(self, words: list[bytes], folder: bytes, base: bytes) -> None:
        """Read ``attempt, rung, job, part, unit, branch, gpus``, of a submission ``folder``.

        ``part`` is the unit's folder below its job's; without branches ``branch`` is empty;
        ``gpus`` are those that the unit has for itself, with commas.
        """
        attempt, rung, self.job, part, self.unit, self.branch, self.gpus = words
        self.attempt, self.rung = int(attempt), int(rung)
        self.home = base + b"/outputs/" + self.job
        self.folder = (self.home + b"/" + part).rstrip(b"/")
        self.record, self.out = self.folder + b"/repx", self.folder + b"/out"
        self.mark = remains.mark(self.folder, self.attempt)
        inner = b"" if self.unit == b"main" else b"/" + self.unit
        self.file = folder + b"/jobs/" + self.job + inner + b".sh"
        self.new = False  # the unit was never begun; set when its folders are made


class Ended:
    """How a program ended: its exit code, negative for a signal, cpu time and memory."""

    def __init__(self, status: int, usage: resource.struct_rusage) -> None:
        """Take the results of wait4(2)."""
        self.code = os.waitstatus_to_exitcode(status)
        self.cpu_s: float = usage.ru_utime + usage.ru_stime
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # A smaller value is unknown: a child starts with the size of this process.
        self.rss = b"%d" % (usage.ru_maxrss * 1024) if usage.ru_maxrss > own else b"null"

    @property
    def shell_status(self) -> int:
        """Return the exit status that a shell would give."""
        return self.code if self.code >= 0 else 128 - self.code

    @property
    def used(self) -> bytes:
        """Return cpu time and memory as members of a JSON object."""
        return b'"cpu_s":%.3f,"rss_bytes":%b' % (self.cpu_s, self.rss)


class LockedError(Exception):
    """Another runner has the job; the message names the runner."""


class CannotError(OSError):
    """The unit cannot be started; the message says why."""


class Worker:
    """Works on one unit at a time. Mutable."""

    def __init__(self, folder: str, base: str, *, locked: bool) -> None:
        """Work on units of the submission ``folder``, whose jobs write below ``base``."""
        self.folder, self.base, self.locked = os.fsencode(folder), os.fsencode(base), locked
        self.pid = os.getpid()
        no_input = os.open(os.devnull, os.O_RDONLY)
        self.no_input = fcntl.fcntl(no_input, fcntl.F_DUPFD_CLOEXEC, locks.DESCRIPTOR + 1)
        os.close(no_input)
        self._unlock()  # reserve the lock's descriptor number
        ours = {*OURS, *([b"LC_ALL"] if b"REPX_LOCALE" in os.environb else [])}
        self.environment = {k: v for k, v in os.environb.items() if k and k not in ours}
        self.search = os.environb.get(b"PATH", os.fsencode(os.defpath))
        self.bash = files.find(b"bash", self.search) or b"/bin/bash"
        self.stopped = ""  # the reason if a signal ends the unit

    def work(self, given: Assignment) -> None:
        """Run a unit and answer."""
        self.stopped = ""
        try:
            given.new = self._make(given)
            if not self.locked:
                self._lock(given)
            program = self._program(given) if given.new else None
            if program is None:
                self._run_file(given)
            else:
                self._run_program(given, program)
        except LockedError as error:
            self._answer(b'"outcome":"foreign","because":%b' % quote(str(error)))
        except OSError as error:
            outcome = b"short" if error.errno in files.PASSING else b"cannot"
            self._answer(b'"outcome":"%b","because":%b' % (outcome, quote(str(error))))
        self._unlock()

    # --- before it starts

    def _make(self, given: Assignment) -> bool:
        """Make the unit's folders; return whether they are new, so the unit was never begun."""
        if given.folder != given.home:
            files.refuse_links(given.home, os.path.dirname(given.folder))
        try:
            for folder in (given.folder, given.record, given.out):
                os.mkdir(folder)
        except (FileExistsError, FileNotFoundError) as error:
            files.refuse_links(given.home, given.folder, given.record)
            for folder in (given.record, given.out):
                os.makedirs(folder, exist_ok=True)
            new = isinstance(error, FileNotFoundError)
        else:
            new = True
        if self.locked:  # otherwise `_lock` makes this file, by which marks.py knows units of repx
            os.close(os.open(given.record + b"/lock", locks.FLAGS, 0o666))
        return new

    def _lock(self, given: Assignment) -> None:
        """Hold the unit's lock. Raises LockedError, CannotError, OSError."""
        path = given.record + b"/lock"
        lock = os.open(path, locks.FLAGS, 0o666)
        os.dup2(lock, locks.DESCRIPTOR)
        os.close(lock)
        try:
            fcntl.flock(locks.DESCRIPTOR, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_patiently(os.fsdecode(path))
        except OSError:
            pass  # the file system has no locks
        locks.sign(locks.DESCRIPTOR, files.HOST, self.pid)

    def _lock_patiently(self, path: str) -> None:
        try:
            locks.patiently(locks.DESCRIPTOR)
        except BlockingIOError:
            raise LockedError(remains.holder(path, own=self.pid)) from None

    def _check_remains(self, given: Assignment) -> None:
        """Raise LockedError while processes of an earlier attempt run without a worker."""
        whole = given.unit in (b"main", b"scatter")
        folder = given.home if whole else given.folder
        left = remains.marked(folder, parts=whole)
        if left:
            raise LockedError(f"left of an attempt before: {remains.named(left)}")

    def _program(self, given: Assignment) -> Program | None:
        """Return the program of the job file, None if it needs a shell."""
        whole = given.unit == b"main" or given.branch
        if not whole or (not self.locked and os.listdir(given.record) != [b"lock"]):
            return None  # the last test: another runner was faster
        around = {**self.environment, **gpus.environment(given.gpus, self.environment)}
        try:
            return Program.read(self.folder, given.file, given.branch, around, given.mark)
        except (OSError, NeedsShell):
            return None

    # --- without a shell

    def _run_program(self, given: Assignment, program: Program) -> None:
        """Do the same as the job file, as long as there is no error. Raises OSError."""
        start = time.time()
        for path, text in program.texts:
            files.write(path, text + b"\n")
        os.chdir(given.out)
        ended = self._wait(
            self._start(given, program), lambda _number: self._end_below(program.spared)
        )
        left = self._end_all()
        reason = f"processes cannot be ended: {remains.named(left)}" if left else self.stopped
        if not reason and not ended.code and program.is_complete():
            if program.durable:
                self._answer(b'"outcome":"flushing"')
            try:
                mark(given, program, success(given, program, start, ended))
            except files.LostError as error:
                reason = f"the disk did not take the outputs: {error.strerror}"
            except OSError:
                pass  # the job file in bash reports the error
            else:
                self._answer(b'"outcome":"done",' + ended.used)
                program.complete()
                return
        words = (
            *(b"ended", b"%d" % ended.shell_status, os.fsencode(reason), b"%.6f" % start),
            *(b"%d" % round(ended.cpu_s * 100), ended.rss),
        )
        self._run_file(given, words, ended)

    def _start(self, given: Assignment, program: Program) -> int:
        """Start the program in its own process group. Raises OSError."""
        log = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return os.posix_spawn(
            program.path,
            program.command,
            program.environment,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self.no_input, 0),
                (os.POSIX_SPAWN_OPEN, 1, given.record + b"/stdout.log", log, 0o666),
                (os.POSIX_SPAWN_OPEN, 2, given.record + b"/stderr.log", log, 0o666),
            ),
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGINT, *PYTHONS),
        )

    # --- with a shell

    def _run_file(
        self, given: Assignment, words: Sequence[bytes] = (), before: Ended | None = None
    ) -> None:
        """Run the job file and answer how it ended; ``before`` is a program that already ended.

        Raises OSError, LockedError.
        """
        if not given.new and not any(map(os.path.lexists, markers(given))):
            self._check_remains(given)
        if os.path.exists(given.file) and not os.path.isfile(
            given.file
        ):  # bash would read for ever
            raise OSError(errno.EINVAL, "not a file", os.fsdecode(given.file))
        done = stamp(given.record)
        ours = {
            b"REPX_ATTEMPT": b"%d" % given.attempt,
            b"REPX_LOCK_FD": b"%d" % locks.DESCRIPTOR,
            b"REPX_REAPER": b"%d" % self.pid,
            b"REPX_RUNG": b"%d" % given.rung,
            gpus.GIVEN: given.gpus,
            **gpus.environment(given.gpus, self.environment),
        }
        child = os.posix_spawn(
            self.bash,
            [b"bash", given.file, *([given.branch] if given.branch else []), *words],
            {**os.environb, **ours},
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self.no_input, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),
            ),
            setsigmask=(),
            setsigdef=PYTHONS,
        )
        ended = self._wait(child, lambda number: remains.tell([child], number))
        left = self._end_all()
        if left:
            raise CannotError(f"its processes cannot be ended: {remains.named(left)}")
        outcome = b"already" if done and done == stamp(given.record) else b"ended"
        used = (before or ended).used
        self._answer(b'"outcome":"%b","code":%d,%b' % (outcome, ended.code, used))

    # --- while it runs, and after

    def _wait(self, child: int, stop: Callable[[int], object]) -> Ended:
        """Wait for a program; call ``stop`` with the first signal that ends the unit."""
        while True:
            number = signal.Signals(signal.sigwait(WATCHED))
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid and status:
                number = next(iter(ENDINGS.keys() & signal.sigpending()), number)
            if number in ENDINGS and not self.stopped and (not pid or status):
                self.stopped = ENDINGS[signal.Signals(number)]
                if not pid:
                    stop(number)
                    pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                return Ended(status, usage)

    def _end_all(self) -> list[int]:
        """End processes that an ended program has left; return those that cannot be ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []  # the usual case: nothing is left
        return self._end_below()

    def _end_below(self, spared: int = 0) -> list[int]:
        return remains.end(lambda: remains.below(self.pid, spared), GRACE_S, wait_for_child)

    def _answer(self, members: bytes) -> None:
        """Answer the scheduler, if it still runs."""
        with contextlib.suppress(OSError):
            os.write(1, b'{"pid":%d,%b}\n' % (self.pid, members))

    def _unlock(self) -> None:
        if not self.locked:
            os.dup2(self.no_input, locks.DESCRIPTOR, inheritable=False)


def markers(given: Assignment) -> tuple[bytes, bytes]:
    """Return the paths of a unit's markers."""
    return given.record + b"/SUCCESS", given.record + b"/FAIL"


def mark(given: Assignment, program: Program, text: bytes) -> None:
    """Write SUCCESS; with ``durability: full``, only after the outputs are on the disk.

    Raises OSError.
    """
    marker = given.record + b"/SUCCESS"
    if not program.durable:
        files.write(marker, text)
        return
    part = marker + b".part"
    files.write(part, text)
    try:
        program.flush()
        files.flush_one(part)
        os.rename(part, marker)
    except OSError:
        os.unlink(part)
        raise


def stamp(record: bytes) -> int:
    """Return the time (ns) of a success marker, 0 if there is none."""
    try:
        return os.stat(record + b"/SUCCESS").st_mtime_ns
    except OSError:
        return 0


def success(given: Assignment, program: Program, start: float, ended: Ended) -> bytes:
    """Return the line of JSON for SUCCESS."""
    host, cpus_mem_time = os.fsencode(files.HOST), b'"cpus":%b,"mem":%b,"time":%b'
    devices = b'"%b"' % given.gpus if given.gpus else b"null"
    counted = b',"gpus":%b,"devices":%b' % (program.asked_gpus, devices)
    return (
        b'{"outcome":"success","exit":0,"reason":"","start":%.6f,"end":%.6f,"host":"%b",'
        b'"attempt":%d,"scheduler":"%b","submission":"%b","cpu_s":%.2f,"rss_bytes":%b,%b%b}\n'
    ) % (
        start,
        time.time(),
        host,
        given.attempt,
        program.by,
        program.submission,
        ended.cpu_s,
        ended.rss,
        cpus_mem_time % tuple(program.asked(given.rung)),
        (counted if program.asked_gpus else b"") + program.members,
    )


def quote(text: str) -> bytes:
    """Return a text as JSON."""
    import json  # only needed for errors

    return json.dumps(text).encode()


def wait_for_child(seconds: float) -> None:
    """Sleep until a child ends, at most the given seconds."""
    signal.sigtimedwait({signal.SIGCHLD}, seconds)


def main(folder: str, base: str, locked: str = "") -> None:
    """Work until there are no more assignments."""
    files.restore_locale()
    gc.disable()  # units make no reference cycles
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    remains.adopt_orphans()
    for inherited in (0, 1):
        os.set_inheritable(inherited, False)  # noqa: FBT003
    worker = Worker(folder, base, locked=bool(locked))
    while assignment := os.read(0, 1 << 16):
        worker.work(Assignment(assignment.split(b"\0"), worker.folder, worker.base))
    os._exit(0)  # skip the interpreter's clean-up: nothing needs it
