"""The near end of a connection: one ssh process, and what is asked over it one by one."""

from __future__ import annotations

import errno
import logging
import select
import time
import zlib
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from repx.errors import CommandNotFoundError, ConnectionLostError
from repx.places import command, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from repx.errors import RepxError
    from repx.places import Outgoing
    from repx.places.carry import Rest

log = logging.getLogger(__name__)

_CHUNK: Final = 1 << 18
MODULES: Final = (
    "runner.marks",
    *("places.wire", "places.walk", "places.regular", "places.growth", "places.closed"),
    *(
        "places.look",
        "places.names",
        "places.carry",
        "places.parts",
        "places.tree",
        "places.holder",
        "places.far",
    ),
)
# Pauses before a connection that broke is tried again, and one that was never there.
_PAUSES_S: Final = (0, 2, 5, 10)
_FIRST_PAUSES_S: Final = (2, 5)
_BUSY: Final = "kex_exchange_identification"  # a server with too many logins at once
_REFUSALS: Final = ("Permission denied", "verification failed", "Too many authentication failures")
_SILENT_S: Final = 3
_SAID_LINES: Final = 3  # of ssh's last words, the indented ones left out: they explain the others
_BOOT: Final = """
import sys, types
if sys.version_info < (3, 6):
    sys.exit("TOO_OLD %d.%d" % sys.version_info[:2])
for name in ("repx", "repx.runner", "repx.places"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, text in SOURCES:
    room, _, last = name.rpartition(".")
    module = sys.modules["repx." + name] = types.ModuleType("repx." + name)
    setattr(sys.modules["repx." + room], last, module)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
sys.modules["repx.places.far"].main(EXPANDED)
"""
_START: Final = (
    "import sys,zlib;i=sys.stdin.buffer;n=i.readline();"
    "exec(zlib.decompress(i.read(int(n))).decode())if n.strip().isdigit()else sys.exit(125)"
)
_NOT_FOUND: Final = 127
_NOT_STARTED: Final = 126
_NO_INPUT: Final = 125
_TOO_OLD: Final = "repx: too old:"
# What ssh says of a configuration that suits no program, and which line of it that is.
_MEANT: Final = {
    "Cannot execute command-line and remote command": "your ssh configuration has a RemoteCommand"
    " for this host: write a Host without one, and name that",
}
_NO_PYTHON: Final = "repx: found no interpreter"
_PYTHONS: Final = "python3 /usr/bin/python3 /usr/local/bin/python3 /usr/libexec/platform-python"
# Whatever the login shell is: sh finds a python3, which reads the rest from its input. Some are
# only on the PATH of a login shell, which may print something first.
REMOTE: Final = (
    f"sh -c 'for p in {_PYTHONS} login; do "
    'if [ "$p" = login ]; then'
    ' p=$(bash -lc "command -v python3" </dev/null 2>/dev/null | tail -n 1); fi; '
    f'if command -v "$p" >/dev/null 2>&1; then exec "$p" -S -u -c "{_START}"; fi; done; '
    f'echo "{_NO_PYTHON}" >&2; exit {_NOT_FOUND}\''
)


class Channel:
    """Asks the far end, starting the connection when it is first needed. Mutable.

    A question that changes nothing is asked again over a new connection where the old one broke.
    """

    def __init__(
        self, argv: Callable[[], Sequence[str]], expanded: Sequence[str], name: str
    ) -> None:
        """Connect with ``argv()``; the far end expands ``~`` and variables in ``expanded``."""
        self._argv = argv
        self._expanded = expanded
        self._name = name
        self._pipe: command.Pipe | None = None
        self._introduction: dict[str, Any] = {}
        self._later: deque[Callable[[], object]] = deque()
        self._busy = False
        self._waiting = False
        self._interjected = 0
        self._is_read = False  # by `fetch`: what is asked meanwhile would wait for ever
        self.traffic: Final = command.Traffic()
        self.round_trips = 0

    @property
    def pid(self) -> int | None:
        """Return the process id of ssh, while there is a connection."""
        return self._pipe.pid if self._pipe is not None else None

    @property
    def introduction(self) -> dict[str, Any]:
        """Return what the far end says of itself."""
        self._connected()
        return self._introduction

    def ask(self, do: str, *arguments: object, again: bool = False, **more: object) -> Any:  # noqa: ANN401
        """Return the answer to one request; ``again``: it may be asked twice.

        Raises OSError for what went wrong with a file there, ConnectionLostError otherwise.
        """
        request = {"do": do, "with": arguments, **more}
        pauses = iter(_PAUSES_S if again else ())
        while True:
            try:
                return self._exchange(request)
            except (EOFError, BrokenPipeError, ValueError) as error:
                self.close()
                lost = self._lost(error)
            except ConnectionLostError as error:  # it could not be made again
                if not self._introduction or any(word in error.message for word in _REFUSALS):
                    raise
                lost = error
            pause = next(pauses, None)
            if pause is None:
                raise lost
            log.warning("the connection to %s broke; connecting again", self._name)
            time.sleep(pause)

    def give(self, do: str, key: object, files: Iterable[Outgoing], **more: object) -> Any:  # noqa: ANN401
        """Send files after a request, and return the answer."""
        arguments = [] if key is None else [key]
        try:
            return self._exchange({"do": do, "with": arguments, "stream": True, **more}, files)
        except (EOFError, BrokenPipeError, ValueError) as error:
            self.close()
            raise self._lost(error) from error

    def chunks(self, **request: object) -> Iterator[bytes]:
        """Yield a file's content. Nothing else may be asked before its end."""
        pipe = self._connected()
        self._begin(pipe, {"do": "chunks", **request})
        pipe.input.flush()
        self._answered(wire.receive(pipe.output))
        content = wire.chunks(pipe.output)
        try:
            with suppress(ConnectionAbortedError):  # the answer says why
                yield from content
        finally:
            deque(content, maxlen=0)
            answer = wire.receive(pipe.output)
        self._answered(answer)

    def fetch(self, **request: object) -> Iterator[tuple[str, int, Rest]]:
        """Yield files: key, mode, and what to read before the next. Nothing else may be asked."""
        pipe = self._connected()
        self._begin(pipe, {"do": "fetch", **request})
        pipe.input.flush()
        self._answered(wire.receive(pipe.output))
        over = False
        self._is_read = True
        try:
            while (item := wire.receive(pipe.output)) is not None:
                key, mode, start = item
                file = _Chunks(wire.chunks(pipe.output), start)
                yield key, mode, cast("Rest", file)
                file.drain()
            over = True
        except EOFError as error:
            self.close()
            raise self._lost(error) from error
        finally:
            self._is_read = False
            if not over:  # the rest would answer another question
                self.close()
        self._answered(wire.receive(pipe.output))

    def interject(self, do: str, *arguments: object) -> None:
        """Ask for something whose answer does not matter, from a signal handler.

        While an answer is waited for, the far end hears of it at once; in the middle of sending
        it is asked right after.
        """
        if self._waiting and self._pipe is not None:
            self._interjected += 1
            self._begin(self._pipe, {"do": do, "with": arguments})
            self._pipe.input.flush()
        elif self._busy:
            self._later.append(lambda: self.ask(do, *arguments))
        else:
            self.ask(do, *arguments)

    def _begin(self, pipe: command.Pipe, request: dict[str, Any]) -> None:
        if self._is_read:
            raise AssertionError(f"{request['do']} is asked while files are fetched")
        self.round_trips += 1
        log.debug("%s: round trip %d: %s", self._name, self.round_trips, request["do"])
        wire.send(pipe.input, request)

    def _exchange(self, request: dict[str, Any], files: Iterable[Outgoing] | None = None) -> Any:  # noqa: ANN401
        pipe = self._connected()
        answer, broken = None, None
        self._busy = True
        try:
            self._begin(pipe, request)
            if files is not None:
                broken = self._send_files(pipe, files)
            pipe.input.flush()
            self._waiting = True
            answer = wire.receive(pipe.output)
            self._waiting = False
            log.debug("%s: %s", self._name, self.traffic)
            while self._interjected:
                wire.receive(pipe.output)
                self._interjected -= 1
        finally:
            self._busy = self._waiting = False
            if answer is None:  # Ctrl-C in the middle: what comes would answer another question
                self.close()
            while self._later:
                self._later.popleft()()
        if broken is not None:
            raise broken
        return self._answered(answer)

    def _send_files(self, pipe: command.Pipe, files: Iterable[Outgoing]) -> BaseException | None:
        """Send each file; return what went wrong here, when both ends are in step again.

        Stops early when the far end has answered already: it takes no more.
        """
        broken = None
        try:
            for outgoing in files:
                self._send_file(pipe, *outgoing)
                if select.select([pipe.output], [], [], 0)[0]:
                    break
        except (BrokenPipeError, ValueError):
            raise
        except BaseException as error:  # noqa: BLE001  # Ctrl-C too
            broken = error
        wire.send(pipe.input, [] if broken else None)
        return broken

    def _send_file(self, pipe: command.Pipe, key: str, mode: int, content: Any, sha: str) -> None:  # noqa: ANN401
        wire.send(pipe.input, (key, mode, sha, getattr(content, "start", 0)))
        try:
            for chunk in _pieces(content):
                wire.send_chunk(pipe.input, chunk)
        except BaseException:
            wire.break_off(pipe.input)
            raise
        wire.send_chunk(pipe.input, b"")

    def _answered(self, answer: Any) -> Any:  # noqa: ANN401
        if "bug" in answer:
            raise AssertionError(answer["bug"])
        if "errno" in answer:
            raise OSError(answer["errno"], answer["why"], answer["path"] or None)
        return answer.get("ok")

    def _connected(self) -> command.Pipe:
        pauses = iter(() if self._introduction else _FIRST_PAUSES_S)
        while self._pipe is None:
            try:
                self._pipe = self._connect()
            except ConnectionLostError as error:
                pause = next(pauses, None)
                if pause is None or _BUSY not in error.message:
                    raise
                log.warning("%s does not take connections now; trying again", self._name)
                time.sleep(pause)
        return self._pipe

    def _connect(self) -> command.Pipe:
        pipe = command.pipe(self._argv(), self.traffic)
        code = zlib.compress(_program(self._expanded).encode())
        before: list[str] = []
        try:
            with pipe.aloud_after(_SILENT_S):
                pipe.input.write(b"%d\n" % len(code) + code)
                pipe.input.flush()
                # A banner of the login shell may come first.
                while not (line := pipe.output.readline()).endswith(wire.READY) and line:
                    before.append(line.decode(errors="replace").rstrip())
                    log.info("%s says: %s", self._name, before[-1])
                self._introduction = wire.receive(pipe.output)
        except (EOFError, BrokenPipeError) as error:
            raise self._refused(pipe, before) from error
        except BaseException:  # Ctrl-C, where ssh asks for a password
            pipe.kill()
            raise
        return pipe

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
            self._interjected = 0

    def _refused(self, pipe: command.Pipe, before: Sequence[str]) -> RepxError:
        code, said = pipe.close()
        why = "does not start" if code == _NOT_STARTED else ""
        if code == _NOT_FOUND and _NO_PYTHON in said:
            why = "is not installed"
        elif _TOO_OLD in said:
            why = f"is {said.partition(_TOO_OLD)[2].strip()}, which is too old,"
        if why:
            return CommandNotFoundError(
                f"python3 {why} on {self._name}",
                hint="load its module in your login shell's start-up file there, or install"
                " python3 (3.6 or newer); docs/remote.md says how to run jobs by hand without it",
            )
        return ConnectionLostError(self._name, _last_words(code, said, before), self._argv())

    def _lost(self, error: Exception) -> ConnectionLostError:
        return ConnectionLostError(self._name, str(error) or "the connection broke", self._argv())


class _Chunks:
    """A file that arrives in pieces. Mutable: it can be read once."""

    def __init__(self, chunks: Iterator[bytes], start: int) -> None:
        self.start = start
        self._chunks = chunks

    def read(self, _size: int = -1) -> bytes:
        try:
            chunk = next(self._chunks, b"")
        except ConnectionAbortedError as error:
            raise OSError(errno.EIO, "the file could not be read to its end") from error
        return chunk

    def drain(self) -> None:
        while self.read():
            pass


def _last_words(code: int, said: str, before: Sequence[str]) -> str:
    """Return why there is no far end: what ssh said, else what was printed there."""
    if code == _NO_INPUT:
        return (
            "no input gets there; the reason may be StdinNull in your ssh configuration, or a"
            " start-up file of your shell there that reads from its input"
        )
    words = dict.fromkeys(said.splitlines())  # ssh repeats itself at each try
    lines = [line for line in words if line.strip() and not line[0].isspace()]
    lines = (lines or [line for line in before if line.strip()])[-_SAID_LINES:]
    meant = [meaning for words, meaning in _MEANT.items() if words in said]
    return "\n".join([*lines, *meant]) or f"ssh ended with exit code {code}, and said nothing"


def _pieces(content: Any) -> Iterator[bytes]:  # noqa: ANN401  # bytes or a file
    if isinstance(content, bytes):
        yield from (content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK))
        return
    while chunk := content.read(_CHUNK):
        yield chunk


def _program(expanded: Sequence[str]) -> str:
    """Return what the far end runs: its modules, and what starts them."""
    folder = Path(__file__).parent.parent
    files = {name: folder / f"{name.replace('.', '/')}.py" for name in MODULES}
    sources = [(name, path.read_text(encoding="utf-8")) for name, path in files.items()]
    boot = _BOOT.replace("TOO_OLD", _TOO_OLD)
    return f"SOURCES = {sources!r}\nEXPANDED = {list(expanded)!r}\n{boot}"
