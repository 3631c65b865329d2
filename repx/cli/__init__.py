"""Where a command line becomes an exit code: the only place that catches errors."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repx.errors import RepxError

COMPLETION_VARIABLE = "_REPX_COMPLETE"

_INTERRUPTED = 130
_BUG = 70
_BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``argv`` (default: the process's arguments) names, then exit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        _print_version()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files need not be valid text
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_guarded(arguments))


def _print_version() -> NoReturn:
    """Answer before anything is imported: people ask this in shell prompts and makefiles."""
    from repx import __version__

    sys.stdout.write(f"repx {__version__}\n")
    sys.exit(0)


def _guarded(arguments: list[str]) -> int:
    """Run the command and return its exit code, whatever happens on the way."""
    from click.exceptions import Abort, ClickException, Exit

    from repx import console
    from repx.errors import RepxError

    console.setup(os.environ)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except Exit as wish:
        code = wish.exit_code
    except ClickException as mistake:
        console.error(mistake.format_message(), hint=_usage_hint(mistake))
        code = mistake.exit_code
    except RepxError as problem:
        _report(problem)
        code = problem.exit_code
    except (KeyboardInterrupt, Abort):
        console.note("interrupted")
        code = _INTERRUPTED
    except BrokenPipeError:
        # The reader left (`repx list jobs | head`): say nothing, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except Exception:  # noqa: BLE001  # the last resort; everything foreseen is above
        _report_bug(arguments)
        code = _BUG
    return code


def _run(arguments: list[str]) -> int:
    from repx.cli.group import root

    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from repx.cli.completions import answer

        return answer(root, instruction)
    with root.make_context("repx", arguments) as click_context:
        result = root.invoke(click_context)
    return result if isinstance(result, int) else 0


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
