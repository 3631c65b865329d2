"""Plain lines while jobs run: the counts now and then, how it ended left to the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx.cli.progress import Tally, watch
from repx.submissions import Event

if TYPE_CHECKING:
    import pytest


def test_counts_are_said_while_jobs_run_and_not_once_all_have_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = Event(time_s=1.0, kind="start", job="a-x-1.0")
    end = Event(time_s=1.1, kind="end", job="a-x-1.0")

    watch([[start]], Tally(total=1))
    assert "0/1 ok, 1 running\n" == capsys.readouterr().err
    watch([[start, end]], Tally(total=1))
    assert "" == capsys.readouterr().err


def test_a_job_that_was_to_start_and_has_to_wait_does_not_run() -> None:
    tally = Tally(total=1)
    for kind in ("start", "wait"):
        tally.add(Event(time_s=1.0, kind=kind, job="a-x-1.0"))

    assert "0/1 ok, 1 waiting" == tally.line()


def test_what_was_left_when_the_scheduler_ended_does_not_wait() -> None:
    tally = Tally(total=2)
    tally.add(Event(time_s=1.0, kind="end", job="a-x-1.0", ok=False, reason="exit 1"))
    tally.add(Event(time_s=2.0, kind="agent-end"))

    assert "0/2 ok, 1 failed, 1 not started" == tally.line()


def test_many_phases_that_end_well_are_not_all_listed(capsys: pytest.CaptureFixture[str]) -> None:
    ends = [
        Event(time_s=1.0, kind="end", job="a-x-1.0", phase=f"branch-{i}/step-s", wall_s=1.0)
        for i in range(200)
    ]
    failed = Event(time_s=2.0, kind="end", job="a-x-1.0", ok=False, reason="exit 1")

    watch([[end] for end in (*ends, failed)], Tally(total=1))

    said = capsys.readouterr().err.splitlines()
    assert "  ok a-x-1.0 branch-0/step-s (1s)" in said
    assert 40 == sum(line.startswith("  ok ") for line in said)
    assert ["  ... more are ok; only failures are listed from here on"] == [
        line for line in said if line.startswith("  ...")
    ]
    assert "FAIL a-x-1.0: exit 1" in said
