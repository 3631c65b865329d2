"""``max_running``: so many Slurm jobs of a submission at once; calls wait for each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from repx.schedulers.slurm.batches import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from repx.schedulers.slurm.batches import Call

_TINY: Final = frozenset((Kind.JOIN, Kind.GATHER))  # what waits for others does not run beside them


def at_most(calls: Sequence[Call], most: int) -> Iterator[Call]:
    """Yield the calls so that no more than ``most`` of their jobs run at once.

    Slurm limits the jobs of one array only. So as many calls as fit together make a wave, and those
    of the next one wait for the end of all of them.
    """
    wave: list[str] = []
    before: list[str] = []
    room = most
    for call in calls:
        if call.spec.kind in _TINY:
            yield call
            continue
        size = min(call.size, most)
        if size > room:
            before, wave, room = wave, [], most
        wave.append(call.name)
        room -= size
        yield replace(call, conditions=(*call.conditions, *_behind(call, before)))


def _behind(call: Call, names: Iterable[str]) -> Iterator[str]:
    """Yield the condition that waits for calls which the call does not wait for anyway."""
    waited = {
        condition.partition("=")[2]
        for condition in call.conditions
        if condition.startswith("afterok=") and "," not in condition
    }
    missing = [name for name in names if name not in waited]
    if missing:
        yield f"afterany={','.join(missing)}"
