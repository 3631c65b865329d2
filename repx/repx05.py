"""One store for repx and RepX 0.5: protect repx's results there, and read its failed steps."""

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

# RepX 0.5 writes the time of each run here. repx uses a constant time, so that each link is made
# once; each link is alone in its folder.
_ROOT_NAME: Final = "2000-01-01_00-00-00"
_FAILED: Final = re.compile(
    rf"outputs/(?P<job>[^/]+)/(?:scatter|branch-(?P<branch>\d+)/{STEP_PREFIX}(?P<step>[^/]+))/repx/{FAIL}"
)


def root(lab: str) -> str:
    """Return the key of the link to a Lab's manifest that protects its results from RepX 0.5.

    ``gc`` of RepX 0.5 deletes the outputs of every job without a link below ``gcroots``. It keeps
    the five newest links of each folder, so each Lab has its own folder.
    """
    return f"gcroots/auto/repx_{lab}/{_ROOT_NAME}_{lab}"


def failed_phases(store: Store, jobs: Collection[JobId]) -> dict[JobId, str]:
    """Return why scatter-gather jobs without a marker failed, in words, if RepX 0.5 ran them.

    RepX 0.5 marks the scatter or step that failed, but not the job.
    """
    if not jobs:
        return {}
    homes = [f"outputs/{glob.escape(job)}" for job in jobs]
    phases = ("scatter", f"branch-*/{STEP_PREFIX}*")
    found = store.glob(*(f"{home}/{phase}/repx/{FAIL}" for home in homes for phase in phases))
    reasons: dict[JobId, str] = {}
    for key in sorted(found, reverse=True):  # the first failure of a job wins
        place = _FAILED.fullmatch(key)
        if place is not None and _is_theirs(store, place["job"], key):
            step = f"step {place['step']} of branch {place['branch']} failed"
            reasons[place["job"]] = step if place["step"] else "scatter failed"
    return reasons


def _is_theirs(store: Store, job: JobId, failed: str) -> bool:
    """Return whether RepX 0.5 left a phase's FAIL: repx would leave a lock and mark the job."""
    locked = store.exists(f"outputs/{job}/repx/lock")
    return not locked and not store.exists(f"{failed.removesuffix(FAIL)}{SUCCESS}")
