"""Where a command line becomes an exit code: the only place that catches errors."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repx.errors import RepxError

COMPLETION_VARIABLE = "_REPX_COMPLETE"

_FAILED = 3
_INTERRUPTED = 130
_BUG = 70
_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``argv`` (default: the process's arguments) names, then exit."""
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a module here
    _ready_streams()
    if arguments in (["--version"], ["-V"]):
        sys.exit(_print_version())
    gc.set_threshold(100_000)  # what is imported stays: looking through it takes 5 % of a start
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _restore_locale()
    try:
        code = _guarded(arguments)
    except ImportError as problem:
        code = _not_whole(problem)
    gc.freeze()  # else Python looks through all of it once more before it ends
    sys.exit(code)


def _ready_streams() -> None:
    """Let any text be written: names of files need not be valid, a stream may be closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _restore_locale() -> None:
    """Take back what Python did to LC_CTYPE for itself (PEP 538): what we start does not see it."""
    from contextlib import suppress
    from pathlib import Path

    with suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        os.environ.pop("LC_CTYPE", None)
        for line in given:
            if line.startswith(b"LC_CTYPE="):
                os.environ["LC_CTYPE"] = os.fsdecode(line[9:])


def _print_version() -> int:
    """Answer before anything is imported: people ask this in shell prompts and makefiles."""
    from repx import __version__

    try:
        sys.stdout.write(f"repx {__version__}\n")
        sys.stdout.flush()
    except OSError as problem:
        return _broken_off(problem)
    return 0


def _guarded(arguments: list[str]) -> int:
    """Run the command and return its exit code, also where nothing can be written."""
    from repx import console

    console.setup(os.environ)
    code = 0
    try:
        code = _outcome(arguments)
        console.flush()
    except OSError as problem:
        instead = _broken_off(problem)
        code = code or instead
    return code


def _outcome(arguments: list[str]) -> int:
    """Run the command and return its exit code.

    Raises OSError where the system said no, ImportError where a part of repx is not there.
    """
    from click.exceptions import Abort, ClickException, Exit

    from repx import console
    from repx.errors import RepxError

    try:
        with _interruptible():
            code = _run(arguments)
    except Exit as wish:
        code = wish.exit_code
    except ClickException as mistake:
        console.error(mistake.format_message().rstrip("."), hint=_usage_hint(mistake))
        code = mistake.exit_code
    except RepxError as problem:
        _report(problem)
        code = problem.exit_code
    except (KeyboardInterrupt, Abort):
        console.note("interrupted")
        code = _INTERRUPTED
    except (OSError, ImportError):
        raise
    except Exception as problem:  # noqa: BLE001  # the last resort; all foreseen is above
        code = _unforeseen(problem, arguments)
    return code


def _lacks_part(problem: Exception) -> bool:
    """Tell whether a package is empty because Python could not see its ``__init__.py``."""
    package = problem.obj if isinstance(problem, AttributeError) else None
    return hasattr(package, "__path__") and getattr(package, "__file__", None) is None


def _not_whole(problem: ImportError) -> int:
    """Tell which part of repx or of Python cannot be read, and return the exit code.

    It may be one that telling needs, so this imports nothing of repx.
    """
    from contextlib import suppress

    with suppress(OSError):
        sys.stderr.write(
            f"error: this installation of repx cannot be read in full: {problem}\n"
            "hint: install repx again, or ask whoever installed it to let you read it\n"
        )
        sys.stderr.flush()
    return _FAILED


def _unforeseen(problem: Exception, arguments: list[str]) -> int:
    """Tell what has gone wrong, mostly a mistake of ours, and return the exit code."""
    from repx import console

    if _lacks_memory(problem):
        console.error("not enough memory", hint="`ulimit -v` shows the limit of this shell")
        return _FAILED
    if _lacks_part(problem):
        raise ImportError(str(problem)) from problem
    _report_bug(arguments)
    return _BUG


def _lacks_memory(problem: Exception) -> bool:
    """Tell whether there was too little memory, which Python says in several ways."""
    words = ("failed to map segment", "can't start new thread", "Cannot allocate memory")
    return isinstance(problem, MemoryError) or any(each in str(problem) for each in words)


def _broken_off(problem: OSError) -> int:
    """Tell what the system said, as far as that can be told, and return the exit code."""
    from contextlib import suppress

    from repx import console

    reader_left = isinstance(problem, BrokenPipeError)  # `repx list jobs | head`: say nothing
    with suppress(OSError):
        if not reader_left:
            console.error(f"{problem.strerror or problem}{_named(problem)}")
    for stream in (sys.stdout, sys.stderr):
        console.abandon(stream)
    return _BROKEN_PIPE if reader_left else _FAILED


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be an exception; before and after it ends the process without a traceback."""
    ours = signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _named(problem: OSError) -> str:
    return "" if problem.filename is None else f": {os.fsdecode(problem.filename)}"


def _run(arguments: list[str]) -> int:
    from repx.cli.group import root

    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from repx.cli.completions import answer

        return answer(root, instruction)
    try:
        with root.make_context("repx", [*arguments]) as click_context, _hints_to_paste(arguments):
            result = root.invoke(click_context)
    except FileNotFoundError:
        from repx.config import xdg

        xdg.current_folder()
        raise
    return result if isinstance(result, int) else 0


@contextmanager
def _hints_to_paste(arguments: Sequence[str]) -> Iterator[None]:
    """Let the hint of an error name commands that mean the same Lab and target as this one."""
    from click import get_current_context

    from repx.cli import paste
    from repx.errors import RepxError

    get_current_context().meta[paste.ARGUMENTS] = arguments
    try:
        yield
    except RepxError as error:
        error.hint = error.hint and paste.complete(error.hint)
        raise


def _usage_hint(mistake: object) -> str | None:
    """Return where the command that was mistyped explains itself."""
    place = getattr(mistake, "ctx", None)
    return f"`{place.command_path} --help` shows how" if place else None


def _report(problem: RepxError) -> None:
    from repx import console
    from repx.errors import ProblemsError

    messages = [problem.message]
    if isinstance(problem, ProblemsError):
        messages = [str(each) for each in problem.problems]
    for message in messages[:-1]:
        console.error(message)
    console.error(messages[-1], hint=problem.hint)
    if console.verbosity() > 1:
        console.traceback()


def _report_bug(arguments: list[str]) -> None:
    import shlex

    from repx import __version__, console

    console.traceback()
    console.error(
        f"this is a bug in repx {__version__}, not a mistake of yours",
        hint=f"report the lines above with the command: {shlex.join(['repx', *arguments])}",
    )
