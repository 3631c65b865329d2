"""The terminal: data to stdout, messages to stderr; colours and shortening only on a terminal."""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

from repx import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from logging import LogRecord

STATE_COLOURS: Final[Mapping[str, str]] = {
    "succeeded": "32",
    "running": "36",
    "queued": "34",
    "pending": "2",
    "blocked": "33",
    "skipped": "33",
    "lost": "35",
    "stale": "33",
    "failed": "31",
}

_LONG_ID: Final = re.compile(r"\b([0-9a-z]{12})[0-9a-z]{20}(?=-)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_LINES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALF_CHARACTER: Final = re.compile(r"[\ud800-\udfff]")  # also a byte that is no UTF-8
_NUMBER: Final = re.compile(r"-?[\d.,/]+ ?[%A-Za-z]?")
_NARROWEST = 8


@dataclass(slots=True, kw_only=True)
class _Look:
    """Output settings of this process. Mutable: the command line sets them once."""

    verbosity: int = 0
    coloured: bool = False
    bar_shown: bool = False
    unwritten: OSError | None = None  # why a stream could not be written


_look = _Look()


def setup(environment: Mapping[str, str]) -> None:
    """Decide about colours (https://no-color.org) and forget earlier write errors."""
    _look.unwritten = None
    _look.coloured = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def listen() -> None:
    """Show the library's log (warnings always, the rest depends on verbosity) and its progress."""
    import logging  # only needed when a command runs

    log = logging.getLogger("repx")
    handler = logging.Handler()
    handler.emit = _tell  # type: ignore[method-assign]  # smaller than a class
    log.handlers = [handler]
    log.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(_look.verbosity, 2)])
    log.propagate = False
    logging.lastResort = logging.NullHandler()  # failures of other packages are in our errors
    progress.listen(bar, partial(bar, shown_as=size))


def set_verbosity(level: int) -> None:
    """Show decisions (1), and also each command (2), on stderr, from the next ``listen``."""
    _look.verbosity = level


def verbosity() -> int:
    """Return the verbosity: 0, 1 or more."""
    return _look.verbosity


def out(text: str = "") -> None:
    """Write a line (or several) of data to stdout."""
    sys.stdout.write(f"{text}\n")


def raw(content: bytes) -> None:
    """Write a file's content to stdout unchanged."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def json(value: object) -> None:
    """Write one JSON document to stdout; paths and enums become text.

    The output is UTF-8 in any locale (RFC 8259). An invalid byte of a file name becomes U+FFFD.
    """
    import json as codec  # many commands do not need it

    text = codec.dumps(value, indent=2, ensure_ascii=False, default=str)
    raw(_HALF_CHARACTER.sub("\ufffd", text).encode() + b"\n")


def flush() -> None:
    """Write buffered output. Raises the OSError of any output that could not be written."""
    _flush_stdout()
    if problem := _look.unwritten:
        _look.unwritten = None
        raise problem


def abandon(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, so that the interpreter's final flush does not fail."""
    import os
    from contextlib import suppress

    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Write a message to stderr."""
    _say(text)


def warn(text: str) -> None:
    """Write a warning to stderr."""
    _say(f"{_paint('warning:', '1;33', sys.stderr)} {_safe(text)}", safe=False)


def error(text: str, *, hint: str | None = None) -> None:
    """Write an error to stderr, with the hint on a separate line."""
    _say(f"{_paint('error:', '1;31', sys.stderr)} {_safe(text)}", safe=False)
    if hint:
        _say(f"{_paint('hint:', '1;36', sys.stderr)} {_safe(hint)}", safe=False)


def traceback() -> None:
    """Write the traceback of the exception being handled to stderr."""
    import traceback as tracebacks  # only needed for a bug

    _say(tracebacks.format_exc().rstrip("\n"))


def interactive() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def can_ask() -> bool:
    """Return whether a user can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Ask on stderr; only yes is yes."""
    sys.stderr.write(f"{_safe(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def state(word: str) -> str:
    """Return the name of a job's state, coloured on a terminal."""
    return _paint(word, STATE_COLOURS.get(word, ""), sys.stdout)


def bold(text: str) -> str:
    """Return a heading, bold on a terminal."""
    return _paint(text, "1", sys.stdout)


def plain(value: object) -> str:
    """Return any value as one line of text, with control characters escaped."""
    return _CONTROL.sub(_show_control, str(value))


def name(job_id: str) -> str:
    """Return a job id on one line: short on a terminal, complete in a pipe."""
    text = plain(job_id)
    return _LONG_ID.sub(r"\1", text) if interactive() else text


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows: aligned and fitted on a terminal, tab-separated without headers in a pipe.

    On a terminal, job ids are shortened, then the widest columns. A last column of absolute paths
    is not shortened, since part of a path is useless. A column called ``state`` is coloured; a
    column of numbers is aligned to the right.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    if not interactive():
        sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
        return
    cells = [[_shortened(cell) for cell in row] for row in cells]
    sys.stdout.writelines(f"{line}\n" for line in _aligned(headers, cells, _columns()))


def duration(seconds: float) -> str:
    """Return a duration for people: ``1d 2h``, ``1h 3m 4s``, ``4.2s``, ``0s``."""
    if seconds < 9.95:  # noqa: PLR2004  # one decimal while it says something
        return f"{max(seconds, 0):.1f}".removesuffix(".0") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"))
    return " ".join(f"{number}{unit}" for number, unit in parts if number)


def counted(count: int, noun: str) -> str:
    """Return ``1 job``, ``2 jobs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Return a number of bytes for people: ``512B``, ``1.5K``, ``20M`` (powers of 1024)."""
    value, unit = float(count), "B"
    for larger in "KMGTP":
        if value < 999.5:  # noqa: PLR2004  # three digits at most
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}{unit}" if unit != "B" and value < 9.95 else f"{value:.0f}{unit}"  # noqa: PLR2004


@contextmanager
def bar(
    what: str, total: int, shown_as: Callable[[int], str] = str
) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how many of ``total`` are done, if stderr is a terminal.

    The bar is hidden in the first second.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    start = time.monotonic()
    shown = start + 0.8

    def show(done: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown < 0.2:  # noqa: PLR2004  # seconds between paints
            return
        shown, _look.bar_shown = now, True
        left = (now - start) / max(done, 1) * (total - done)
        percent = 100 * done // max(total, 1)
        count = f"{shown_as(done)}/{shown_as(total)}"
        _talk(f"\r\x1b[K{what} {count} ({percent}%), {duration(left)} left")

    try:
        yield show
    finally:
        _clear_bar()


def _aligned(headers: Sequence[str], rows: list[list[str]], width: int) -> Iterator[str]:
    columns = list(zip(headers, *rows, strict=True))
    natural = [max(map(len, column)) for column in columns]
    paths = any(row[-1].startswith("/") for row in rows)
    widths = [*_fitted(natural[:-1], width), natural[-1]] if paths else _fitted(natural, width)
    right = [bool(rows) and all(map(_is_number, column[1:])) for column in columns]
    coloured = [header.lower() == "state" for header in headers]

    def line(cells: Sequence[str], paint: Callable[[str, int], str]) -> str:
        texts = (
            paint(_cut(cell, room), index) + " " * (room - len(cell))
            if not right[index]
            else _cut(cell, room).rjust(room)
            for index, (cell, room) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(texts).rstrip()

    yield bold(line([header.upper() for header in headers], lambda text, _: text))
    for row in rows:
        yield line(row, lambda text, index: state(text) if coloured[index] else text)


def _fitted(widths: list[int], room: int) -> list[int]:
    """Narrow the widest columns until all fit, with two blanks between columns."""
    room -= 2 * (len(widths) - 1)
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max(range(len(fitted)), key=fitted.__getitem__)
        if fitted[widest] <= _NARROWEST:
            break
        others = max((width for i, width in enumerate(fitted) if i != widest), default=0)
        needed = fitted[widest] - (sum(fitted) - room)
        fitted[widest] = max(needed, min(others, fitted[widest] - 1), _NARROWEST)
    return fitted


def _shortened(cell: str) -> str:
    return cell if cell.startswith("/") else _LONG_ID.sub(r"\1", cell)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _is_number(text: str) -> bool:
    return text in ("", "-") or _NUMBER.fullmatch(text) is not None


def _columns() -> int:
    import shutil  # only needed for a table on a terminal

    return shutil.get_terminal_size().columns


def _paint(text: str, codes: str, stream: TextIO) -> str:
    if not codes or not _look.coloured or not stream.isatty():
        return text
    return f"\x1b[{codes}m{text}\x1b[0m"


def _say(text: str, *, safe: bool = True) -> None:
    _flush_stdout()
    _clear_bar()
    _talk(f"{_safe(text) if safe else text}\n")


def _clear_bar() -> None:
    if _look.bar_shown:
        _look.bar_shown = False
        _talk("\r\x1b[K")


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        _give_up(sys.stdout, problem)


def _talk(text: str) -> None:
    """Write to stderr; on an error (full disk), work goes on and `flush` raises the error."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        _give_up(sys.stderr, problem)


def _give_up(stream: TextIO, problem: OSError) -> None:
    _look.unwritten = problem
    abandon(stream)


def _safe(text: str) -> str:
    return _CONTROL_BUT_LINES.sub(_show_control, text)


def _show_control(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _tell(record: LogRecord) -> None:
    """Show a log record of the library as a message."""
    (warn if record.levelname == "WARNING" else note)(record.getMessage())
