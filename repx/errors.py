"""Every error repx raises on purpose, each with its exit code and a way out.

The tree, with exit codes::

    RepxError                 3   the target or a tool failed; the base of all
      InputError              2   the user's input is wrong
        ProblemsError         2   many mistakes in files, shown together
        LabError              2   the Lab is missing, broken or tampered with
        GraphError            2   a cycle, or a need that nothing provides
      RenderError             3   a template could not be filled
      CommandError            3   a process failed
        CommandNotFoundError  3   a process could not be started
      StorageError            3   a store could not be read or written
      SchedulerError          3   a scheduler gave an unexpected answer
      JobsFailedError         1   the run ended and some jobs did not succeed
      InterruptedRunError   130   the user asked to stop
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class RepxError(Exception):
    """An error message, and in ``hint`` a way out."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and the hint apart, so that the terminal can show both."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # for tracebacks, which notebooks show


class InputError(RepxError):
    """The user's input is wrong."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file: its place (1-based line and column, 0 if unknown) and a message."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """Return ``file:line:column: message``, without the parts that are unknown."""
        where = [self.file, *(str(part) for part in (self.line, self.column) if part)]
        return f"{':'.join(where)}: {self.message}"


class ProblemsError(InputError):
    """Every mistake found in the user's files, shown together."""

    def __init__(self, problems: Iterable[Problem], *, hint: str | None = None) -> None:
        """Sort the problems by place and join them, one to a line."""
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)


class LabError(InputError):
    """The Lab is missing, broken or tampered with."""


class GraphError(InputError):
    """The jobs do not form a directed acyclic graph."""


class RenderError(RepxError):
    """A template could not be filled."""


class CommandError(RepxError):
    """A process failed: the command, ready to paste, and the end of its stderr."""

    def __init__(
        self, argv: Sequence[str], code: int, stderr: str, *, hint: str | None = None
    ) -> None:
        """Describe the command with its exit code and last lines of stderr."""
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr
        tail = "\n".join(stderr.strip().splitlines()[-5:])
        message = f"`{shlex.join(argv)}` failed with exit code {code}"
        super().__init__(f"{message}\n{tail}" if tail else message, hint=hint)


class CommandNotFoundError(RepxError):
    """A program that is needed is not installed."""


class StorageError(RepxError):
    """A store could not be read or written."""


class ConnectionLostError(RepxError):
    """A target on another machine cannot be reached, or the connection was lost."""

    def __init__(self, name: str, said: str, argv: Sequence[str]) -> None:
        """Keep the message of ssh, and hint at a command that tests the connection without repx."""
        *ssh, _ = argv
        super().__init__(f"cannot reach {name}: {said}", hint=f"try: {shlex.join([*ssh, 'true'])}")


class SchedulerError(RepxError):
    """A scheduler gave an unexpected answer."""


class BusyError(SchedulerError):
    """A scheduler does not answer now, or not as it should."""

    def __init__(self, message: str) -> None:
        """Take what it said."""
        super().__init__(message, hint="try again in a while")


class OutOfReachError(SchedulerError):
    """A job has to wait for a job that its scheduler does not know."""

    def __init__(self, job: str, by: str, scheduler: str) -> None:
        """Name the job that must end first, and ``by``, its owner."""
        super().__init__(
            f"job {job} waits or runs where {scheduler} cannot wait for it"
            f" ({by or 'not submitted'})",
            hint="try again when it has ended; `repx status` follows it",
        )


class JobsFailedError(RepxError):
    """The run ended and some jobs did not succeed."""

    exit_code = 1


class InterruptedRunError(RepxError):
    """The user asked to stop."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the known word closest to ``word``, or None."""
    import difflib  # only needed for a mistake

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None
