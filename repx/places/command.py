"""The only place that starts processes on behalf of the client."""

from __future__ import annotations

import io
import logging
import os
import shlex
import shutil
import signal
import subprocess  # the one module allowed to: `sh` cannot leave a process behind
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn, Protocol

from repx.errors import CommandError, CommandNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import sh
    from _typeshed import ReadableBuffer, WriteableBuffer

log = logging.getLogger(__name__)

_SAID_LINES: Final = 20
_CLOSING_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a finished process left: its exit code (negative: the signal) and its output."""

    code: int
    stdout: str
    stderr: str


class Run(Protocol):
    """How other rooms are given the power to run a command; ``run`` is the real one."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout_s: float = 60,
        check: bool = True,
    ) -> Completed:
        """Run the command to its end."""
        ...


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 60,
    check: bool = True,
) -> Completed:
    """Run a command to its end and return what it said; it goes on if this process is interrupted.

    ``env`` replaces the environment. Raises CommandNotFoundError when the program is not
    installed, CommandError when it does not end within ``timeout_s`` seconds or, with
    ``check``, when its exit code is not 0.
    """
    process = _started(argv, cwd=cwd, env=env, stdin=stdin)
    if not _ends_within(process, timeout_s):
        raise CommandError(argv, 124, f"no answer within {timeout_s:g} s")
    completed = _completed(process)
    if check and completed.code != 0:
        raise CommandError(argv, completed.code, completed.stderr)
    return completed


def run_attached(argv: Sequence[str], *, cwd: Path, timeout_s: float) -> Completed:
    """Run a command that, with all it started, ends when this process is interrupted.

    Raises CommandNotFoundError, and CommandError when it does not end in time.
    """
    process = _started(argv, cwd=cwd, env=None, stdin=None, group=True)
    ended = False
    try:
        ended = _ends_within(process, timeout_s)
    finally:
        if not ended:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads the group
    if not ended:
        raise CommandError(argv, 124, f"it did not end within {timeout_s:g} s")
    return _completed(process)


def _started(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: str | None,
    group: bool = False,
) -> sh.RunningCommand:
    import sh  # 0.1 s that most commands can do without

    log.debug("%s", shlex.join(argv))
    try:
        process: sh.RunningCommand = sh.Command(argv[0])(
            *argv[1:],
            _cwd=str(cwd) if cwd else None,
            _env=dict(env) if env is not None else None,
            _in=stdin,
            _new_group=group,
            _ok_code=tuple(range(-64, 256)),
            _tty_out=False,
            _out_bufsize=65536,
            _bg=True,
            _bg_exc=False,
            _encoding="utf-8",
            _decode_errors="replace",
        )
    except sh.CommandNotFound:
        raise _not_found(argv[0]) from None
    return process


def _completed(process: sh.RunningCommand) -> Completed:
    return Completed(
        code=process.exit_code,
        stdout=process.stdout.decode(errors="replace"),
        stderr=process.stderr.decode(errors="replace"),
    )


def _ends_within(process: sh.RunningCommand, timeout_s: float) -> bool:
    """Wait for a process; kill it after ``timeout_s``, and tell whether it ended before.

    The timeout of ``sh`` itself looks ten times a second, which costs each command 0.1 s.
    """
    late = threading.Event()

    def kill() -> None:
        late.set()
        with suppress(OSError):  # it has just ended
            process.kill()

    timer = threading.Timer(timeout_s, kill)
    timer.daemon = True
    timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()
    return not late.is_set()


class Detached:
    """A process that outlives this one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Watch a process that has been started."""
        self._process = process
        self._ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        self._ended.set()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code (negative: the signal), None while it runs."""
        return self._process.returncode if self._ended.is_set() else None

    def rest(self, seconds: float) -> None:
        """Sleep so long, or until the process has ended."""
        self._ended.wait(seconds)

    def interrupt(self) -> None:
        """Send it SIGINT; one that has ended is no error."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGINT)


def detach(
    argv: Sequence[str], *, output: Path, cwd: Path, more_env: Mapping[str, str]
) -> Detached:
    """Start a process that outlives this one.

    It gets a session of its own, no input, ``more_env`` beside our environment, and appends what
    it says to ``output``.
    """
    log.debug("%s &", shlex.join(argv))
    with output.open("ab") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603  # an argv list, no shell
                argv,
                cwd=cwd,
                env={**os.environ, **more_env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise _not_found(argv[0]) from None
    return Detached(process)


@dataclass(slots=True)
class Traffic:
    """How many bytes went to a process and came from it. Mutable."""

    sent_bytes: int = 0
    received_bytes: int = 0

    def __str__(self) -> str:
        """Return both in words."""
        return f"{self.sent_bytes} bytes sent, {self.received_bytes} received"


class _Counted(io.FileIO):
    """One end of a pipe whose bytes are counted."""

    def __init__(self, stream: IO[bytes], mode: str, traffic: Traffic) -> None:
        with stream:
            super().__init__(os.dup(stream.fileno()), mode)
        self._traffic = traffic

    def write(self, content: ReadableBuffer, /) -> int:
        count = super().write(content)
        self._traffic.sent_bytes += count or 0
        return count

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = super().readinto(buffer)
        self._traffic.received_bytes += count or 0
        return count


class Pipe:
    """A process that is spoken with; it lives no longer than this one, and Ctrl-C spares it."""

    def __init__(self, process: subprocess.Popen[bytes], talk: IO[bytes], traffic: Traffic) -> None:
        """Take a process whose two streams are pipes, and what it says on stderr."""
        assert process.stdin is not None  # noqa: S101  # for mypy: they are pipes
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._talk = talk
        self.input: IO[bytes] = io.BufferedWriter(_Counted(process.stdin, "wb", traffic))
        self.output: IO[bytes] = io.BufferedReader(_Counted(process.stdout, "rb", traffic))
        self._said: list[str] = []
        self._aloud = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def _listen(self) -> None:
        with suppress(OSError):  # how a terminal ends
            for line in self._talk:
                text = line.decode(errors="replace").rstrip()
                log.log(logging.WARNING if self._aloud else logging.INFO, "%s", text)
                self._said = [*self._said[-_SAID_LINES:], text]

    @contextmanager
    def aloud_after(self, seconds: float) -> Iterator[None]:
        """Show what the process says, once this takes longer: it may ask for something."""
        timer = threading.Timer(seconds, self._speak)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._aloud = False

    def _speak(self) -> None:
        self._aloud = True
        for text in self._said:
            log.warning("%s", text)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.close()

    def close(self) -> tuple[int, str]:
        """End the process, if need be by force; return its exit code and its last words."""
        with suppress(OSError):
            self.input.close()
        try:
            self._process.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        code = self._process.wait()
        self._listener.join(_CLOSING_S)
        self.output.close()
        if not self._listener.is_alive():  # else a process of its own still has the other end
            self._talk.close()
        return code, "\n".join(self._said)


def pipe(argv: Sequence[str], traffic: Traffic | None = None) -> Pipe:
    """Start a process to speak with. It may ask on the terminal, as ssh does for a password.

    Its stderr is a terminal where ours is: else ssh does not say that a key wants to be touched.
    """
    log.debug("%s |", shlex.join(argv))
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None  # inherited
    ours, theirs = os.openpty() if os.isatty(2) else os.pipe()
    talk = open(ours, "rb")  # noqa: PTH123, SIM115  # a descriptor, closed with the pipe
    try:
        process = subprocess.Popen(  # noqa: S603  # an argv list, no shell
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
        )
    except FileNotFoundError:
        talk.close()
        raise _not_found(argv[0]) from None
    finally:
        os.close(theirs)
        if in_main:
            signal.signal(signal.SIGINT, before)
    return Pipe(process, talk, traffic or Traffic())


def attended(argv: Sequence[str]) -> int:
    """Run a command that speaks with the user on the terminal; return its exit code.

    Standard output is for data: what the command says there goes to stderr.
    """
    log.debug("%s", shlex.join(argv))
    try:
        return subprocess.run(  # noqa: S603  # an argv list, no shell
            argv, stdin=subprocess.DEVNULL, stdout=2, check=False
        ).returncode
    except FileNotFoundError:
        raise _not_found(argv[0]) from None


def replace(argv: Sequence[str], *, cwd: Path, more_env: Mapping[str, str]) -> NoReturn:
    """Become another program (an interactive shell), with ``more_env`` beside our environment."""
    program = shutil.which(argv[0])
    if program is None:
        raise _not_found(argv[0])
    os.chdir(cwd)
    os.execve(program, list(argv), {**os.environ, **more_env})  # noqa: S606  # an argv list, no shell


def which(program: str) -> str | None:
    """Return the path of a program on PATH, or None."""
    return shutil.which(program)


def _not_found(program: str) -> CommandNotFoundError:
    return CommandNotFoundError(
        f"`{program}` is not installed or not on PATH", hint=f"install `{program}`, then try again"
    )
