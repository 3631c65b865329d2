"""One store for repx and RepX 0.5: what keeps our results there, and what a failed step means."""

from __future__ import annotations

import glob
import re
from typing import TYPE_CHECKING, Final

from repx.model import STEP_PREFIX
from repx.store import FAIL, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Collection

    from repx.model import JobId
    from repx.store import Store

# RepX 0.5 writes the time of each run here. Ours is alone in its folder, so any will do, and one
# that never changes is made once.
_ROOT_NAME: Final = "2000-01-01_00-00-00"
_FAILED: Final = re.compile(
    rf"outputs/(?P<job>[^/]+)/(?:scatter|branch-(?P<branch>\d+)/{STEP_PREFIX}(?P<step>[^/]+))/repx/{FAIL}"
)


def root(lab: str) -> str:
    """Return the key of the link to a Lab's manifest that RepX 0.5 keeps the Lab's results for.

    Its ``gc`` deletes the outputs of every job that no link below ``gcroots`` leads to. It keeps
    the five newest links of each folder, so each Lab has a folder of its own.
    """
    return f"gcroots/auto/repx_{lab}/{_ROOT_NAME}_{lab}"


def failed_phases(store: Store, jobs: Collection[JobId]) -> dict[JobId, str]:
    """Return why scatter-gather jobs without a marker failed, in words, if RepX 0.5 ran them.

    It marks the scatter or the step that failed, and not the job.
    """
    if not jobs:
        return {}
    homes = [f"outputs/{glob.escape(job)}" for job in jobs]
    phases = ("scatter", f"branch-*/{STEP_PREFIX}*")
    found = store.glob(*(f"{home}/{phase}/repx/{FAIL}" for home in homes for phase in phases))
    reasons: dict[JobId, str] = {}
    for key in sorted(found, reverse=True):  # the first of a job wins
        place = _FAILED.fullmatch(key)
        if place is not None and _is_theirs(store, place["job"], key):
            step = f"step {place['step']} of branch {place['branch']} failed"
            reasons[place["job"]] = step if place["step"] else "scatter failed"
    return reasons


def _is_theirs(store: Store, job: JobId, failed: str) -> bool:
    """Return whether the mark of a failed phase counts: we leave a lock, and mark the job."""
    locked = store.exists(f"outputs/{job}/repx/lock")
    return not locked and not store.exists(f"{failed.removesuffix(FAIL)}{SUCCESS}")
