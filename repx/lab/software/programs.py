"""How a build runs other programs, and the short form of their error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST_SAID: Final = 600
_TELLS_NOTHING: Final = ("subprocess-exited-with-error", "This error originates from a subprocess")


class SoftwareError(Exception):
    """Why software cannot be put into a Lab."""


class Programs(Protocol):
    """Runs a program in a folder: its exit code, stdout and stderr, None if it is not installed."""

    def __call__(self, argv: Sequence[str], cwd: Path) -> tuple[int, str, str] | None:
        """Run the program to its end."""
        ...


def run(programs: Programs, argv: Sequence[str], cwd: Path, *, missing: str) -> str:
    """Run a program; return its output. Raises SoftwareError, ``missing`` if not installed."""
    done = programs(argv, cwd)
    if done is None:
        raise SoftwareError(missing)
    code, printed, complaint = done
    if code != 0:
        raise SoftwareError(f"{shown(argv)} failed: {reason(complaint or printed)}")
    return printed


def shown(argv: Sequence[str]) -> str:
    """Return a short name for a command: its program and its first word, without options."""
    words = argv[argv.index("-m") + 1 :] if "-m" in argv else argv
    return " ".join([word for word in words if not word.startswith(("-", "/"))][:2])


def reason(complaint: str) -> str:
    """Return the lines of a tool's output that name the error."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    telling = [line for line in lines if not any(word in line for word in _TELLS_NOTHING)]
    errors = [line for line in telling if "error" in line.lower() or "fatal" in line.lower()]
    return "; ".join(errors or lines[-3:])[:_LONGEST_SAID] or "it did not say why"
