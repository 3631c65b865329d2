"""The phases of a scatter-gather job as a person names them, and which of them failed."""

from __future__ import annotations

import glob
import re
from typing import TYPE_CHECKING, Final

from repx.model import STEP_PREFIX
from repx.store import FAIL

if TYPE_CHECKING:
    from repx.model import JobId
    from repx.store import Store

STEP: Final = re.compile(rf"branch-(?P<branch>\d+)/{STEP_PREFIX}(?P<step>.+)", re.DOTALL)
_RECORDS: Final = ("scatter/repx", f"branch-*/{STEP_PREFIX}*/repx")
_GATHER_FAILED: Final = (f"repx/{FAIL}", "repx/gather_inputs.json")


def failed(store: Store, job: JobId) -> str | None:
    """Return the first phase that failed of a job."""
    home = f"outputs/{glob.escape(job)}"
    found = store.glob(
        *(f"{home}/{record}/{FAIL}" for record in _RECORDS),
        *(f"{home}/{record}" for record in _GATHER_FAILED),
    )
    names = [_phase(job, key.removesuffix(f"/{FAIL}")) for key in found if _is_phase(job, key)]
    if not names and len(found) == len(_GATHER_FAILED):
        return "gather"
    return min(names, key=in_order, default=None)


def record(job: JobId, phase: str | None) -> str:
    """Return the key of a phase's logs; None, ``main`` and ``gather`` are the job's."""
    inner = "" if phase in (None, "main", "gather") else f"/{phase}"
    return f"outputs/{job}{inner}/repx"


def known(store: Store, job: JobId) -> list[str]:
    """Return the phases that have left a record, in order."""
    home = f"outputs/{glob.escape(job)}"
    found = store.glob(*(f"{home}/{record}" for record in _RECORDS))
    return sorted((_phase(job, key) for key in found), key=in_order)


def _is_phase(job: JobId, key: str) -> bool:
    return not key.startswith(f"outputs/{job}/repx/")


def _phase(job: JobId, key: str) -> str:
    return key.removeprefix(f"outputs/{job}/").removesuffix("/repx")


def in_order(phase: str) -> tuple[int, str]:
    """Return by what phases are sorted: scatter, then the steps by branch number."""
    step = STEP.fullmatch(phase)
    return (-1, phase) if step is None else (int(step["branch"]), step["step"])
