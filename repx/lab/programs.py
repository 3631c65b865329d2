"""How other programs are run for a build, and what their complaints come down to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST_SAID: Final = 600


class Programs(Protocol):
    """Runs a program in a folder: its exit code, stdout and stderr, None if it is not installed."""

    def __call__(self, argv: Sequence[str], cwd: Path) -> tuple[int, str, str] | None:
        """Run the program to its end."""
        ...


def reason(complaint: str) -> str:
    """Return the lines of a tool that say what is wrong."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return "; ".join(errors or lines[-3:])[:_LONGEST_SAID] or "it did not say why"
