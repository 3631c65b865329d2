"""The schedulers a target profile can name: one table, and the questions asked of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from repx.schedulers.dialect import DialectScheduler
from repx.schedulers.local import Local
from repx.schedulers.slurm.member import Slurm
from repx.target import SchedulerName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repx.schedulers.contract import Scheduler
    from repx.target import Target

MEMBERS: Final[Mapping[SchedulerName, Scheduler]] = {
    SchedulerName.LOCAL: Local(),
    SchedulerName.SLURM: Slurm(),
    SchedulerName.DIALECT: DialectScheduler(),
}


def of(target: Target) -> Scheduler:
    """Return the scheduler of a target."""
    member = MEMBERS[target.scheduler]
    return DialectScheduler(target.dialect) if isinstance(member, DialectScheduler) else member
