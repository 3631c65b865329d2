"""The phases of a scatter-gather job as a person names them, and which of them failed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from repx.model import STEP_PREFIX
from repx.storage import FAIL

if TYPE_CHECKING:
    from pathlib import Path

STEP: Final = re.compile(rf"branch-(?P<branch>\d+)/{STEP_PREFIX}(?P<step>.+)", re.DOTALL)


def failed(home: Path) -> str | None:
    """Return the first phase that failed below a job's folder."""
    records = [*home.glob("scatter/repx"), *home.glob(f"branch-*/{STEP_PREFIX}*/repx")]
    names = [str(path.parent.relative_to(home)) for path in records if (path / FAIL).exists()]
    if not names and all((home / "repx" / name).exists() for name in (FAIL, "gather_inputs.json")):
        return "gather"
    return min(names, key=in_order, default=None)


def record(home: Path, phase: str | None) -> Path:
    """Return the folder with the logs of a phase; None, ``main`` and ``gather`` are the job's."""
    return (home if phase in (None, "main", "gather") else home / phase) / "repx"


def known(home: Path) -> list[str]:
    """Return the phases that have left a record, in order."""
    records = [*home.glob("scatter/repx"), *home.glob(f"branch-*/{STEP_PREFIX}*/repx")]
    return sorted((str(path.parent.relative_to(home)) for path in records), key=in_order)


def in_order(phase: str) -> tuple[int, str]:
    """Return by what phases are sorted: scatter, then the steps by branch number."""
    step = STEP.fullmatch(phase)
    return (-1, phase) if step is None else (int(step["branch"]), step["step"])
