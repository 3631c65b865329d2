"""Runs plain job scripts for the agent, one after another, without a shell for each.

    python3 worker.py FOLDER LOCK_FD

It reads one assignment at a time from stdin, ``ATTEMPT JOB`` in one write, and answers on stdout
with one line of JSON: ``{"pid", "done": true, "cpu_s", "rss_bytes"}`` when the job has succeeded,
``{"pid", "done": false}`` when nothing was done, because the script is not plain or something is
out of the ordinary: then the script itself has to be started. Started in a session of its own.

A plain script is, to the letter, what templates/job.sh.j2 makes of a job with one program. Its
values are words that bash and this file read alike, and what it does is what lib.sh does when all
goes well. When that ends, by a failure, a missing output or a signal, this process becomes the
script, which judges and marks in bash as ever: nothing unusual is handled twice. It outlives a
killed agent until its job has been marked.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import re
import resource
import signal
import sys
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LIBRARY = 0xC7CCF2C7  # crc32 of the lib.sh whose ways this file follows

# What shlex.quote writes, and the rest of templates/job.sh.j2 around it.
WORD = rb"(?:[A-Za-z0-9@%+=:,./_-]+|'[^'\0]*'(?:\"'\"'[^'\0]*')*)"
WORDS = rb"%b(?: %b)*" % (WORD, WORD)
FOLDER = re.escape(
    b"case $0 in /*) folder=${0%/*}/.. ;; */*) folder=$PWD/${0%/*}/.. ;; *) folder=$PWD/.. ;; esac"
)
PLAIN = re.compile(
    rb"""#!/usr/bin/env bash
(?:\#.*
)*%(folder)b
job=(?P<job>%(word)b)
store=(?P<store>%(word)b)
scheduler=(?P<scheduler>[a-z]+)
forced=1?
input_wait_s=\d+
parameters=(?P<parameters>%(word)b)

environment\(\) \{ # runs in the program's own process, right before it
(?P<exports>(?:  export [A-Za-z_][A-Za-z0-9_]*=%(word)b
)*)(?:  export PATH=(?P<host_tools>%(word)b):"\$PATH"
)?  :
\}

main\(\) \{
  executable=(?P<executable>%(word)b)
  command=\((?P<command>%(words)b)\)
  inputs=(?P<inputs>%(word)b)
  needs=\((?P<needs>(?:%(words)b)?)\)
  outputs=\((?P<outputs>(?:%(words)b)?)\)
\}

\. "\$folder/lib\.sh"
main
repx_simple "\$@"
"""
    % {b"folder": FOLDER, b"word": WORD, b"words": WORDS}
)
EACH_WORD = re.compile(WORD)
EXPORT = re.compile(rb"  export ([A-Za-z0-9_]+)=(%b)\n" % WORD)

ENDINGS = {
    signal.SIGTERM: b"cancelled",
    signal.SIGINT: b"cancelled",
    signal.SIGHUP: b"cancelled",
    signal.SIGUSR1: b"timeout",
}
WATCHED = {signal.SIGCHLD, *ENDINGS}
PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # which it ignores
OURS = {  # of the environment, and not the job's business
    *(b"REPX_ATTEMPT", b"REPX_GRACE_S", b"REPX_LOCALE", b"REPX_LOCK", b"REPX_LOCK_FD"),
}
BASH_SCRIPT = b"#!/usr/bin/env bash\n"
HOST = re.sub(rb"[^A-Za-z0-9._-]", b"", os.fsencode(os.uname().nodename))


class OddError(Exception):
    """Something that only the script itself can deal with."""


def unquote(word: bytes) -> bytes:
    """Return what the shell makes of a word of shlex.quote."""
    return word[1:-1].replace(b"'\"'\"'", b"'") if word.startswith(b"'") else word


def words(text: bytes) -> list[bytes]:
    """Return what the shell makes of the words of an array."""
    return [unquote(word) for word in EACH_WORD.findall(text)]


class Script:
    """What a plain job script says."""

    def __init__(self, path: bytes) -> None:
        """Read the script. Raises OSError; OddError when it is not plain."""
        with open(path, "rb", buffering=0) as stream:
            plain = PLAIN.fullmatch(stream.read())
        if plain is None:
            raise OddError
        self.path = path
        self.job, self.store = unquote(plain["job"]), unquote(plain["store"])
        self.home = self.store + b"/outputs/" + self.job
        self.record, self.out = self.home + b"/repx", self.home + b"/out"
        self.scheduler = plain["scheduler"]
        self.executable = unquote(plain["executable"])
        self.command = words(plain["command"])
        self.inputs, self.parameters = unquote(plain["inputs"]), unquote(plain["parameters"])
        self.needs = words(plain["needs"])[1::2]
        self.outputs = words(plain["outputs"])[1::2]
        self.exports = [(name, unquote(value)) for name, value in EXPORT.findall(plain["exports"])]
        self.host_tools = plain["host_tools"] and unquote(plain["host_tools"])

    def environment(self, given: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Return what the program finds in its environment, of which ``given`` is the start."""
        found = {**given, b"PWD": self.out}
        found.update(self.exports)
        if self.host_tools:
            found[b"PATH"] = self.host_tools + b":" + found.get(b"PATH", os.fsencode(os.defpath))
        return found

    def runner(self) -> bytes:
        """Return ``local`` or ``slurm:ID``."""
        if self.scheduler != b"slurm":
            return self.scheduler
        given = os.environb.get
        array, element = given(b"SLURM_ARRAY_JOB_ID"), given(b"SLURM_ARRAY_TASK_ID")
        known = array or given(b"SLURM_JOB_ID") or b"none"
        return b"slurm:" + known + (b"_" + element if element else b"")


class Attempt:
    """One run of a script's program. Mutable: ``child``, its process."""

    def __init__(self, script: Script, number: int) -> None:
        """Begin now."""
        self.script, self.number = script, number
        self.start = time.time()
        self.child = 0

    def marker(self, cpu_s: float) -> bytes:
        """Return the line of JSON that SUCCESS holds."""
        return (
            b'{"outcome":"success","exit":0,"reason":"","start":%.6f,"end":%.6f,"host":"%b",'
            b'"attempt":%d,"scheduler":"%b","cpu_s":%.2f}\n'
        ) % (self.start, time.time(), HOST, self.number, self.script.runner(), cpu_s)


class Worker:
    """Works on one job at a time. Mutable: ``ticks``."""

    def __init__(self, folder: bytes, lock_fd: int) -> None:
        """Work on jobs of the submission ``folder``; programs inherit the lock as ``lock_fd``."""
        self.folder, self.lock_fd = folder, lock_fd
        self.pid = os.getpid()
        no_input = os.open(os.devnull, os.O_RDONLY)
        self.no_input = fcntl.fcntl(no_input, fcntl.F_DUPFD_CLOEXEC, lock_fd + 1)
        self._unlock()  # so that nothing is opened as just this
        ours = {*OURS, *([b"LC_ALL"] if b"REPX_LOCALE" in os.environb else [])}
        self.environment = {k: v for k, v in os.environb.items() if k not in ours}
        self.ticks = 0  # of cpu time of the programs before the present one

    def work(self, job: bytes, number: int) -> None:
        """Run a job if that is plain sailing, and answer."""
        try:
            script = Script(self.folder + b"/jobs/" + job + b".sh")
            attempt = Attempt(script, number)
            self._prepare(script)
            attempt.child = self._start(script)
        except (OSError, OddError):
            self._unlock()
            self._answer(b'"done":false')
            return
        status, usage = self._wait(attempt)
        used = b'"cpu_s":%.3f,"rss_bytes":%b' % (cpu_time(usage), resident(usage))
        whole = all(map(os.path.exists, script.outputs))
        if status or not whole or group_exists(attempt.child):
            self._answer(used)
            self._hand_over(attempt, shell_status(status))
        try:
            write(script.record + b"/SUCCESS", attempt.marker(cpu_time(usage)))
        except OSError:
            self._answer(used)
            self._hand_over(attempt, 0)
        self._answer(b'"done":true,' + used)
        complete(script)
        self.ticks = child_ticks()
        self._unlock()

    def _prepare(self, script: Script) -> None:
        """Lock the job and write what the program reads. Raises OSError, OddError."""
        for folder in (script.home, script.record, script.out):
            os.mkdir(folder)
        lock = os.open(script.record + b"/lock", os.O_RDWR | os.O_CREAT, 0o666)
        os.dup2(lock, self.lock_fd)
        os.close(lock)
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.listdir(script.record) != [b"lock"]:
            raise OddError  # another runner was faster
        if not all(map(os.path.exists, script.needs)):
            raise OddError
        if os.path.isdir(script.executable) or not os.access(script.executable, os.X_OK):
            raise OddError
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, HOST + b" %d\n" % self.pid, 0)
        write(script.record + b"/inputs.json", script.inputs + b"\n")
        write(script.record + b"/parameters.json", script.parameters + b"\n")
        os.chdir(script.out)

    def _start(self, script: Script) -> int:
        """Start the program in a process group of its own. Raises OSError, OddError."""
        environment = script.environment(self.environment)
        command = script.command
        if command[0] == script.executable and starts_with(script.executable, BASH_SCRIPT):
            command = [b"bash", *command]  # as env would do, which is one more program to start
        log = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return os.posix_spawn(
            find(command[0], environment),
            command,
            environment,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, self.no_input, 0),
                (os.POSIX_SPAWN_OPEN, 1, script.record + b"/stdout.log", log, 0o666),
                (os.POSIX_SPAWN_OPEN, 2, script.record + b"/stderr.log", log, 0o666),
            ),
            setpgroup=0,
            setsigmask=(),
            setsigdef=(signal.SIGINT, *PYTHONS),
        )

    def _wait(self, attempt: Attempt) -> tuple[int, resource.struct_rusage]:
        """Wait for the program; a signal that ends the job is left to the script."""
        while True:
            number = signal.Signals(signal.sigwait(WATCHED))
            pid, status, usage = os.wait4(attempt.child, os.WNOHANG)
            if number in ENDINGS and (not pid or status):
                self._hand_over(attempt, 128 + number, ENDINGS[number])
            if pid:
                return status, usage

    def _answer(self, members: bytes) -> None:
        """Tell the agent, if it is still there."""
        with contextlib.suppress(OSError):
            os.write(1, b'{"pid":%d,%b}\n' % (self.pid, members))

    def _hand_over(self, attempt: Attempt, status: int, stopped: bytes = b"") -> NoReturn:
        """Become the script, which ends what is left of the program and marks the job."""
        for each in ENDINGS.keys() & signal.sigpending():
            stopped = stopped or ENDINGS[signal.Signals(each)]
        numbers = (b"%d" % attempt.child, b"%d" % status)
        argv = [b"bash", attempt.script.path, b"ended", *numbers, stopped]
        argv += [b"%.6f" % attempt.start, b"%d" % self.ticks]
        ours = {b"REPX_LOCK_FD": b"%d" % self.lock_fd, b"REPX_ATTEMPT": b"%d" % attempt.number}
        environment = {**os.environb, **ours}
        os.dup2(self.no_input, 0)
        os.dup2(2, 1)
        for each in ENDINGS:
            signal.signal(each, signal.SIG_IGN)  # only the first counts
        for each in PYTHONS:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            os.execve(find(b"bash", environment), argv, environment)  # noqa: S606  # no shell
        except (OSError, OddError):
            with contextlib.suppress(OSError):
                os.killpg(attempt.child, signal.SIGKILL)
            os._exit(3)

    def _unlock(self) -> None:
        os.dup2(self.no_input, self.lock_fd, inheritable=False)


def complete(script: Script) -> None:
    """Append the line that RepX 0.5 reads; a hint only."""
    name = script.job.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    with contextlib.suppress(OSError):
        append(script.store + b"/outputs/completions.jsonl", b'{"id":"%b","s":"ok"}\n' % name)


def starts_with(path: bytes, text: bytes) -> bool:
    """Tell whether a file can be read and begins with ``text``."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read(len(text)) == text
    except OSError:
        return False


def find(program: bytes, environment: dict[bytes, bytes]) -> bytes:
    """Return the path of a program as a shell with this environment would. Raises OddError."""
    if b"/" in program:
        return program
    for folder in environment.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        path = (folder or b".") + b"/" + program
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise OddError


def write(path: bytes, text: bytes) -> None:
    """Write a new file at once. Raises OSError, also when not all of it fits."""
    put(path, text, os.O_TRUNC)


def append(path: bytes, text: bytes) -> None:
    """Add to a file at once. Raises OSError, also when not all of it fits."""
    put(path, text, os.O_APPEND)


def put(path: bytes, text: bytes, flag: int) -> None:
    """Open, write once and close."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o666)
    try:
        if os.write(file, text) != len(text):
            raise OSError
    finally:
        os.close(file)


def group_exists(leader: int) -> bool:
    """Tell whether something of a process group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def shell_status(status: int) -> int:
    """Return the exit status that a shell would give."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def cpu_time(usage: resource.struct_rusage) -> float:
    """Return user and system time in seconds."""
    return usage.ru_utime + usage.ru_stime


def resident(usage: resource.struct_rusage) -> bytes:
    """Return the largest resident set in bytes, as JSON.

    That is null where it is hidden by our own: a child counts as large as we were when it began.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return b"%d" % (usage.ru_maxrss * 1024) if usage.ru_maxrss > own else b"null"


def child_ticks() -> int:
    """Return the cpu time of ended children as proc(5) counts it, for lib.sh."""
    times = os.times()
    return round((times.children_user + times.children_system) * 100)


def follows(folder: bytes) -> bool:
    """Tell whether the job scripts in ``folder`` source the lib.sh that this file follows."""
    try:
        with open(folder + b"/jobs/../lib.sh", "rb") as stream:
            return zlib.crc32(stream.read()) == LIBRARY
    except OSError:
        return False


def restore_locale() -> None:
    """Take back the LC_CTYPE that Python sets for itself (PEP 538): jobs must not see it."""
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as stream:
        if b"\0LC_CTYPE=" not in b"\0" + stream.read():
            os.environb.pop(b"LC_CTYPE", None)


def main(folder: str, lock_fd: str) -> None:
    """Work until there are no more assignments. Raises SystemExit when bash has to do it all."""
    if not follows(os.fsencode(folder)):
        sys.exit("repx: lib.sh has been changed: bash runs every job, which takes longer")
    restore_locale()
    gc.disable()  # a job leaves no cycles behind
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    for inherited in (0, 1):
        os.set_inheritable(inherited, False)  # noqa: FBT003
    worker = Worker(os.fsencode(folder), int(lock_fd))
    while assignment := os.read(0, 1 << 16):
        attempt, _, job = assignment.partition(b" ")
        worker.work(job, int(attempt))
    os._exit(0)  # there is nothing to tidy up


if __name__ == "__main__":
    main(*sys.argv[1:])
