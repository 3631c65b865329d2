"""Runs units for the local scheduler, one after another: ``start.py --worker FOLDER [locked]``.

It reads one assignment at a time from stdin, attempt, job and phase in one write, and answers on
stdout with one line of JSON: ``{"pid", "outcome", ...}``. A plain script of a job that was never
begun is not given to bash, but done here, as lib.sh does it when all goes well; everything else,
failures included, is left to the script itself. Whoever runs the program, the worker ends what it
has left behind: it is the parent of all that. It outlives a killed scheduler until its unit has
been marked. Started in a session of its own; ``locked`` when its descriptor 9 already holds the
lock of every job it will be given.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import signal
import time

from repx.runner import files, locks, remains, script
from repx.runner.script import NeedsShell, Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

GRACE_S: Final = float(os.environ.get("REPX_GRACE_S") or "10")  # between TERM and KILL
ENDINGS: Final = {
    signal.SIGTERM: "cancelled",
    signal.SIGINT: "cancelled",
    signal.SIGHUP: "cancelled",
    signal.SIGUSR1: "timeout",
}
WATCHED: Final = {signal.SIGCHLD, *ENDINGS}
PYTHONS: Final = (signal.SIGPIPE, signal.SIGXFSZ)  # which it ignores
OURS: Final = {  # of the environment, and not the job's business
    *(b"REPX_ATTEMPT", b"REPX_GRACE_S", b"REPX_LOCALE", b"REPX_LOCK", b"REPX_LOCK_FD"),
}
BASH_SCRIPT: Final = b"#!/usr/bin/env bash\n"


class Assignment:
    """One unit in one attempt, and where it stands on the disk."""

    def __init__(self, words: list[bytes], base: bytes) -> None:
        """Read ``attempt, job, part, phase...``; ``part`` is the unit's folder below its job's."""
        self.attempt, self.job, part = int(words[0]), words[1], words[2]
        self.phase = words[3:]
        self.home = base + b"/outputs/" + self.job
        self.folder = (self.home + b"/" + part).rstrip(b"/")
        self.record, self.out = self.folder + b"/repx", self.folder + b"/out"
        self.mark = remains.mark(self.folder, self.attempt)
        self.new = False  # nothing was ever begun; known when the folders have been made


class Ended:
    """How a program ended: its exit code, negative for a signal, cpu time and memory."""

    def __init__(self, status: int, usage: resource.struct_rusage) -> None:
        """Read what wait4(2) tells."""
        self.code = os.waitstatus_to_exitcode(status)
        self.cpu_s: float = usage.ru_utime + usage.ru_stime
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Hidden by our own: a child counts as large as we were when it began.
        self.rss_bytes = usage.ru_maxrss * 1024 if usage.ru_maxrss > own else None

    @property
    def shell_status(self) -> int:
        """Return the exit status that a shell would give."""
        return self.code if self.code >= 0 else 128 - self.code

    @property
    def used(self) -> bytes:
        """Return cpu time and memory as members of a JSON object."""
        rss = b"null" if self.rss_bytes is None else b"%d" % self.rss_bytes
        return b'"cpu_s":%.3f,"rss_bytes":%b' % (self.cpu_s, rss)


class LockedError(Exception):
    """Another runner has the job; the message says which."""


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
        self.environment = {k: v for k, v in os.environb.items() if k not in ours}
        self.follows = script.follows(self.folder)
        self.search = os.environb.get(b"PATH", os.fsencode(os.defpath))
        self.bash = files.find(b"bash", self.search) or b"/bin/bash"
        self.stopped = ""  # why a signal ends the unit

    def work(self, given: Assignment) -> None:
        """Run a unit and answer."""
        self.stopped = ""
        try:
            given.new = self._make(given)
            if not self.locked:
                self._lock(given)
            plain = self._plain(given) if given.new else None
            if plain is None:
                self._run_script(given)
            else:
                self._run_program(given, plain)
        except LockedError as error:
            self._answer(b'"outcome":"foreign","because":%b' % quote(str(error)))
        except OSError as error:
            outcome = b"short" if error.errno in files.PASSING else b"cannot"
            self._answer(b'"outcome":"%b","because":%b' % (outcome, quote(str(error))))
        self._unlock()

    # --- before it starts

    def _make(self, given: Assignment) -> bool:
        """Make the unit's folders; tell whether that is new, so that nothing was ever begun."""
        try:
            for folder in (given.folder, given.record, given.out):
                os.mkdir(folder)
        except (FileExistsError, FileNotFoundError) as error:
            for folder in (given.record, given.out):
                os.makedirs(folder, exist_ok=True)
            return isinstance(error, FileNotFoundError)
        return True

    def _lock(self, given: Assignment) -> None:
        """Hold the unit's lock. Raises LockedError, CannotError, OSError."""
        path = given.record + b"/lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.dup2(lock, locks.DESCRIPTOR)
        os.close(lock)
        try:
            fcntl.flock(locks.DESCRIPTOR, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._take_over(given, os.fsdecode(path))
        except OSError:
            pass  # the file system has no locks
        locks.sign(locks.DESCRIPTOR, files.HOST, self.pid)

    def _take_over(self, given: Assignment, path: str) -> None:
        """Lock what only the processes of a killed runner hold, after they have been ended."""
        try:
            locks.patiently(locks.DESCRIPTOR)
        except BlockingIOError:
            if not remains.orphaned(path, given.home, own=self.pid):
                raise LockedError(remains.holder(path, own=self.pid)) from None
            self._end_remains(given)
            try:
                locks.patiently(locks.DESCRIPTOR)
            except BlockingIOError:
                raise LockedError(remains.holder(path, own=self.pid)) from None

    def _end_remains(self, given: Assignment) -> None:
        """End what attempts before have left running. Raises CannotError when that fails."""
        whole = given.folder == given.home or given.phase == [b"scatter"]
        folder = given.home if whole else given.folder
        left = remains.end(lambda: remains.marked(folder, parts=whole), GRACE_S, wait_for_child)
        if left:
            raise CannotError(
                f"processes of an earlier attempt cannot be ended: {remains.named(left)}"
            )

    def _plain(self, given: Assignment) -> Script | None:
        """Return what a script says that needs no shell, None when it does."""
        if given.phase or not self.follows or os.listdir(given.record) != [b"lock"]:
            return None  # or another runner was faster
        try:
            plain = Script(self._script_of(given))
        except (OSError, NeedsShell):
            return None
        works = os.access(plain.executable, os.X_OK) and not os.path.isdir(plain.executable)
        return plain if works and all(map(os.path.exists, plain.needs)) else None

    def _script_of(self, given: Assignment) -> bytes:
        return self.folder + b"/jobs/" + given.job + b".sh"

    # --- without a shell

    def _run_program(self, given: Assignment, plain: Script) -> None:
        """Do what the script would do, as long as all goes well. Raises OSError."""
        start = time.time()
        files.write(given.record + b"/inputs.json", plain.inputs + b"\n")
        files.write(given.record + b"/parameters.json", plain.parameters + b"\n")
        os.chdir(given.out)
        child = self._start_program(given, plain)
        if child is None:
            self._run_script(given)
            return
        ended = self._wait(child, lambda _number: self._end_below())
        left = self._end_all()
        reason = f"processes cannot be ended: {remains.named(left)}" if left else self.stopped
        if not reason and not ended.code and all(map(os.path.exists, plain.outputs)):
            with contextlib.suppress(OSError):  # bash says why
                files.write(given.record + b"/SUCCESS", success(given, plain, start, ended))
                self._answer(b'"outcome":"done",' + ended.used)
                complete(plain)
                return
        words = (str(ended.shell_status), reason, f"{start:.6f}", str(round(ended.cpu_s * 100)))
        self._run_script(given, [b"ended", *[os.fsencode(word) for word in words]], ended)

    def _start_program(self, given: Assignment, plain: Script) -> int | None:
        """Start the program in a process group of its own. Raises OSError."""
        environment = plain.environment({**self.environment, remains.VARIABLE: given.mark})
        command = plain.command
        if command[0] == plain.executable and files.starts_with(plain.executable, BASH_SCRIPT):
            command = [b"bash", *command]  # as env would do, which is one more program to start
        program = files.find(command[0], environment.get(b"PATH", os.fsencode(os.defpath)))
        if program is None:
            return None
        log = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return os.posix_spawn(
            program,
            command,
            environment,
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

    def _run_script(
        self, given: Assignment, words: list[bytes] | None = None, before: Ended | None = None
    ) -> None:
        """Run the unit's script and answer how it ended; ``before`` is a program that has ended.

        Raises OSError, CannotError.
        """
        if not given.new and not any(map(os.path.lexists, markers(given))):
            self._end_remains(given)
        done = stamp(given.record)
        ours = {
            b"REPX_ATTEMPT": b"%d" % given.attempt,
            b"REPX_LOCK_FD": b"%d" % locks.DESCRIPTOR,
            b"REPX_REAPER": b"%d" % self.pid,
        }
        child = os.posix_spawn(
            self.bash,
            [b"bash", self._script_of(given), *(given.phase if words is None else words)],
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
        """End what the unit has left, its program having ended; return what cannot be ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []  # the usual case: nothing is left
        return self._end_below()

    def _end_below(self) -> list[int]:
        return remains.end(lambda: remains.below(self.pid), GRACE_S, wait_for_child)

    def _answer(self, members: bytes) -> None:
        """Tell the scheduler, if it is still there."""
        with contextlib.suppress(OSError):
            os.write(1, b'{"pid":%d,%b}\n' % (self.pid, members))

    def _unlock(self) -> None:
        if not self.locked:
            os.dup2(self.no_input, locks.DESCRIPTOR, inheritable=False)


def markers(given: Assignment) -> tuple[bytes, bytes]:
    """Return where the markers of a unit are."""
    return given.record + b"/SUCCESS", given.record + b"/FAIL"


def stamp(record: bytes) -> int:
    """Return when a success was marked, 0 for never."""
    try:
        return os.stat(record + b"/SUCCESS").st_mtime_ns
    except OSError:
        return 0


def success(given: Assignment, plain: Script, start: float, ended: Ended) -> bytes:
    """Return the line of JSON that SUCCESS holds."""
    return (
        b'{"outcome":"success","exit":0,"reason":"","start":%.6f,"end":%.6f,"host":"%b",'
        b'"attempt":%d,"scheduler":"%b","cpu_s":%.2f}\n'
    ) % (
        *(start, time.time(), os.fsencode(files.HOST), given.attempt),
        *(plain.runner(), ended.cpu_s),
    )


def complete(plain: Script) -> None:
    """Append the line that RepX 0.5 reads; a hint only."""
    name = plain.job.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    with contextlib.suppress(OSError):
        line = b'{"id":"%b","s":"ok"}\n' % name
        files.append(plain.store + b"/outputs/completions.jsonl", line)


def quote(text: str) -> bytes:
    """Return a text as JSON."""
    import json  # only where something is wrong

    return json.dumps(text).encode()


def wait_for_child(seconds: float) -> None:
    """Sleep until a child ends, or so many seconds; take note of those that have ended."""
    signal.sigtimedwait({signal.SIGCHLD}, seconds)


def main(folder: str, base: str, locked: str = "") -> None:
    """Work until there are no more assignments."""
    files.restore_locale()
    gc.disable()  # a unit leaves no cycles behind
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    remains.adopt_orphans()
    for inherited in (0, 1):
        os.set_inheritable(inherited, False)  # noqa: FBT003
    worker = Worker(folder, base, locked=bool(locked))
    while assignment := os.read(0, 1 << 16):
        worker.work(Assignment(assignment.split(b"\0"), worker.base))
    os._exit(0)  # there is nothing to tidy up
