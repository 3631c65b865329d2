"""How often a batch system is asked by who watches, and when watching ends."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from repx import follow
from repx.status import JobState, State


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("changed", [False, True])
def test_pauses_grow_with_the_time_watched(jitter: float, changed: bool) -> None:  # noqa: FBT001
    """Whether or not something happens: 15 s after the first minute, 60 s after an hour."""
    pauses = follow.Pauses(jitter=lambda: jitter)
    for _ in range(3000):
        before = pauses.watched_s
        pause = pauses.next(changed=changed)

        assert pause >= (1 if before < 60 else 15 if before < 3600 else 60)
        assert pause <= 60 * 1.25


def test_a_day_of_watching_costs_few_questions() -> None:
    """A thousand people who watch for a day are no load for a controller."""
    pauses, count = follow.Pauses(), 0
    while pauses.watched_s < 86_400:
        pauses.next(changed=True)
        count += 1

    assert count <= 60 + 240 + 24 * 60


def test_watching_ends_when_a_job_can_never_start() -> None:
    """Slurm may keep it in the queue: it is skipped, not queued."""
    looks: list[Mapping[str, JobState]] = [
        {"a": JobState(state=State.RUNNING), "b": JobState(state=State.QUEUED)},
        {"a": JobState(state=State.FAILED), "b": JobState(state=State.SKIPPED, reason="a")},
    ]
    slept: list[float] = []
    told = list(follow.looks(lambda: looks.pop(0), ["a", "b"], sleep=slept.append))

    assert [] == looks
    assert 1 == len(slept)
    assert ["end", "skip"] == [event.kind for event in told[-1]]
