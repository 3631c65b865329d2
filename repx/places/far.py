"""The far end of a connection: does what the client asks, and ends when the client does.

Standard library only, Python 3.6: it is sent there and runs alone. One request is one round trip.
"""

import contextlib
import os
import platform
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

from repx.places import holder, wire
from repx.places.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO, Any

_CHUNK = 1 << 18
_LOGIN_S = 20
_RUNNER = (3, 9)
_NEWEST = 20
_OF_SSHD = ("SSH_CLIENT", "SSH2_CLIENT")
_NOT_FOUND = 127
_LATE = 124


class Far:
    """What one connection can ask for. Mutable: it knows the processes that it started."""

    def __init__(self, reader: "IO[bytes]", writer: "IO[bytes]") -> None:
        """Speak over two streams."""
        self._reader = reader
        self._writer = writer
        self._started = {}  # type: dict[int, subprocess.Popen[bytes]]
        self._login = {}  # type: dict[str, str]

    def serve(self, expanded: "list[str]") -> None:
        """Say what this place is, then answer until the client is gone."""
        self._writer.write(wire.READY)
        wire.send(self._writer, _introduction(expanded))
        self._writer.flush()
        while True:
            try:
                request = wire.receive(self._reader)
            except EOFError:
                return
            self._answer(request)
            self._writer.flush()

    def _answer(self, request: "dict[str, Any]") -> None:
        items = _Items(self._reader) if request.get("stream") else None
        try:
            value = self._do(request, items)
        except OSError as error:
            known = {"errno": error.errno, "why": error.strerror or str(error)}
            wire.send(self._writer, {**known, "path": os.fspath(error.filename or "")})
        except Exception:  # noqa: BLE001  # told to the client, which is the one to show it
            wire.send(self._writer, {"bug": traceback.format_exc()})
        else:
            wire.send(self._writer, {"ok": value})
        self._writer.flush()
        if items is not None:
            items.drain()

    def _do(self, request: "dict[str, Any]", items: "_Items | None") -> object:
        arguments = request["with"]
        if "root" in request:
            tree = Tree(request["root"], request["share"])
            tree.rest, tree.ask = self._rest, self.do_ask
            call = getattr(tree, request["do"])
            if request["do"] == "chunks":
                self._give(call(*arguments))
                return None
            if request["do"] == "fetch":
                self._give_all(call(*arguments))
                return None
            if request["do"] == "write_new":
                arguments.append((key, mode, file.read_all()) for key, mode, file, _ in items or ())
            elif items is not None:
                arguments.append(items)
            return call(*arguments)
        return getattr(self, f"do_{request['do']}")(*arguments)

    def _rest(self, seconds: float) -> bool:
        """Sleep; return early, and True, when the client says something or is gone."""
        return bool(select.select([self._reader], [], [], seconds)[0])

    def _give(self, content: "Iterator[bytes]") -> None:
        """Send a file's content before the answer; nothing of it where it cannot be opened."""
        first = next(content, b"")
        wire.send(self._writer, {"ok": None})
        try:
            if first:
                wire.send_chunk(self._writer, first)
            for chunk in content:
                wire.send_chunk(self._writer, chunk)
        except OSError:
            wire.break_off(self._writer)
            raise
        wire.send_chunk(self._writer, b"")

    def _give_all(self, files: "Iterator[tuple[str, int, Any]]") -> None:
        """Send files one after another before the answer."""
        wire.send(self._writer, {"ok": None})
        try:
            for key, mode, file in files:
                wire.send(self._writer, (key, mode, file.start))
                try:
                    chunk = file.read(_CHUNK)
                    while chunk:
                        wire.send_chunk(self._writer, chunk)
                        chunk = file.read(_CHUNK)
                except OSError:
                    wire.break_off(self._writer)
                    raise
                wire.send_chunk(self._writer, b"")
        finally:
            wire.send(self._writer, None)

    def do_run(
        self,
        argv: "list[str]",
        cwd: "str | None",
        env: "dict[str, str] | None",
        stdin: "str | None",
        limit_s: float,
    ) -> "tuple[int, str, str]":
        """Run a command to its end: exit code, output, errors."""
        environment = env if env is not None else _quiet(os.environ)
        if shutil.which(argv[0]) is None and env is None:
            environment = _quiet(self._login_environment())
            if shutil.which(argv[0], path=environment.get("PATH")) is None:
                return _NOT_FOUND, "", ""
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        given = None if stdin is None else stdin.encode()
        try:
            out, err = process.communicate(given, timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return _LATE, "", f"no answer within {limit_s:g} s"
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def do_ask(self, questions: "list[tuple[list[str], float]]") -> "list[tuple[int, str, str]]":
        """Run each command; one that cannot be started has not been found."""
        answers = []
        for argv, limit_s in questions:
            try:
                answers.append(self.do_run(argv, None, None, None, limit_s))
            except OSError as error:
                answers.append((_NOT_FOUND, "", str(error)))
        return answers

    def do_spawn(self, argv: "list[str]", output: str, cwd: str, more: "dict[str, str]") -> int:
        """Start a process that outlives the connection; it gets what a login shell has."""
        with open(output, "ab") as stream:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env={**self._login_environment(), **more},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._started[process.pid] = process
        return process.pid

    def do_poll(self, pid: int) -> "int | None":
        """Return the exit code of a process that was started here and has ended."""
        return self._started[pid].poll() if pid in self._started else None

    def do_interrupt(self, pid: int) -> None:
        """Send SIGINT to a process that was started here, or over a connection before this one."""
        started = self._started.get(pid)
        if started is None or started.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGINT)

    def do_signal(self, lock: str, argument: str, number: int) -> "tuple[str, str]":
        """Signal the process of ours that holds a lock file."""
        return holder.signal_holder(lock, argument, number)

    def _login_environment(self) -> "dict[str, str]":
        """Return what a login shell has: others have a bare PATH where ssh runs a command."""
        if not self._login:
            self._login = dict(os.environ)
            shell = shutil.which("bash")
            command = [shell or "/bin/sh", "-l", "-c", "exec env -0"]
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    timeout=_LOGIN_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired):
                return self._login
            pairs = (pair.partition("=") for pair in os.fsdecode(done.stdout).split("\0"))
            self._login.update({name: value for name, equals, value in pairs if equals})
        return self._login


class _Items:
    """The files that follow a request, as ``Tree`` takes them. Mutable."""

    def __init__(self, reader: "IO[bytes]") -> None:
        self._reader = reader
        self._file = None  # type: _File | None
        self._over = False

    def __iter__(self) -> "Iterator[tuple[str, int, Any, str]]":
        while not self._over:
            if self._file is not None:
                self._file.drain()
            item = wire.receive(self._reader)
            if item is None:
                self._over = True
                return
            if not item:
                self._over = True
                raise ConnectionAbortedError("the sender broke off")
            key, mode, sha256, start = item
            self._file = _File(self._reader, start)
            yield key, mode, self._file, sha256

    def drain(self) -> None:
        """Read what nobody wanted any more."""
        try:
            for _ in self:
                pass
        except ConnectionAbortedError:
            pass


class _File:
    """One of them, to be read to its end once."""

    def __init__(self, reader: "IO[bytes]", start: int) -> None:
        self.start = start
        self._chunks = wire.chunks(reader)

    def read(self, _size: int = 0) -> bytes:
        return next(self._chunks, b"")

    def read_all(self) -> bytes:
        return b"".join(self._chunks)

    def drain(self) -> None:
        try:
            for _ in self._chunks:
                pass
        except ConnectionAbortedError:
            pass


def _quiet(environment: "Mapping[str, str]") -> "dict[str, str]":
    """Return what lets `bash -c` not take itself for sshd's: it would read the user's .bashrc."""
    return {name: value for name, value in environment.items() if name not in _OF_SSHD}


def _introduction(expanded: "list[str]") -> "dict[str, object]":
    return {
        "expanded": [_expanded(path) for path in expanded],
        "python": sys.executable,
        "version": list(sys.version_info[:2]),
        "newer": _newer_python(),
        "host": platform.node(),
        "user": _user(),
    }


def _newer_python() -> str:
    """Return a python3 that is new enough for the runner; empty where there is none."""
    if sys.version_info >= _RUNNER:
        return sys.executable
    names = (f"python3.{minor}" for minor in range(_NEWEST, _RUNNER[1] - 1, -1))
    return next(filter(None, map(shutil.which, names)), "")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # an account that the directory does not know just now
        return ""


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def _expanded(path: str) -> str:
    """Return a path with ``~/`` and ``${VAR}`` replaced; a variable that is not set stays."""
    known = dict(os.environ, HOME=os.environ.get("HOME") or _home())
    if path == "~" or path.startswith("~/"):
        path = known["HOME"] + path[1:]
    return re.sub(r"\$\{(\w+)\}", lambda match: known.get(match.group(1)) or match.group(), path)


def main(expanded: "list[str]") -> None:
    """Speak over standard input and output; what others print there goes to stderr."""
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN, processes do not inherit it
    try:
        Far(sys.stdin.buffer, writer).serve(expanded)
    except BrokenPipeError:
        os._exit(0)
