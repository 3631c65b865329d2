"""A few attacks of each kind that `make campaign` makes by the thousand."""

from __future__ import annotations

import pytest

from campaign.run import IMPOSSIBLE, KINDS


@pytest.mark.parametrize(
    ("kind", "budget"),
    [
        *(("kills", 7), ("links", 5), ("disks", 3), ("faults", 4), ("copies", 4), ("cuts", 4)),
        *(("fuzz", 120), ("surroundings", 40)),
    ],
)
def test_a_few_attacks_break_nothing(kind: str, budget: int) -> None:
    why_not = IMPOSSIBLE.get(kind, str)()
    if why_not:
        pytest.skip(why_not)

    verdict = KINDS[kind](budget, 11)

    assert budget == verdict.attacks
    assert verdict.failures == 0, "\n".join(verdict.notes)
