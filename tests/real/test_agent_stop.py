"""Signals and cancellations stop the local scheduler and its jobs."""

from __future__ import annotations

import signal
import time

import pytest

from tests.real.folders import TOUCH, MakeFolder, Work, ended, wait_until
from tests.real.traced import SLEEP, TRACE, is_locked, reasons, wait_for_trace

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "cancelled"), (signal.SIGTERM, "cancelled"), (signal.SIGUSR1, "timeout")],
)
def test_a_signal_ends_all_jobs(folder: MakeFolder, number: int, reason: str) -> None:
    made = folder({name: Work(body=SLEEP) for name in "abc"})
    agent = made.start_agent("-j2")
    wait_for_trace(made, "b")

    agent.send_signal(number)

    code, said = ended(agent)
    assert 130 == code
    assert said.endswith("0 succeeded, 2 failed, 0 skipped, 1 not started\n")
    assert [reason, reason] == [made.marker(job)["reason"] for job in "ab"]
    assert [] == made.markers("c")
    assert "interrupted" == made.events("agent-end")[0]["reason"]


def test_a_second_signal_kills(folder: MakeFolder) -> None:
    stubborn = f"trap '' TERM\n{TRACE}sleep 60 &\necho $! >\"$out/pid\"\nwait\nsleep 60\n"
    made = folder({"a": Work(body=stubborn)})
    agent = made.start_agent(REPX_GRACE_S="30")
    wait_until((made.home("a") / "out/pid").exists)
    time.sleep(0.2)

    agent.send_signal(signal.SIGINT)
    time.sleep(0.3)
    agent.send_signal(signal.SIGINT)

    assert 130 == ended(agent)[0]
    assert [] == made.markers("a")
    wait_until(lambda: not is_locked(made, "a"), 5)


def test_single_jobs_are_cancelled_by_name(folder: MakeFolder) -> None:
    """Running, waiting for their turn, waiting for others: the rest goes on."""
    made = folder(
        {
            "runs": Work(body=SLEEP),
            "queued": Work(body=TRACE + TOUCH),
            "needs": Work(needs=("queued",)),
            "goes-on": Work(body=TRACE + TOUCH),
        }
    )
    (made.path / "cancel").write_text("goes-on\n")  # of an earlier life: does not count
    agent = made.start_agent("-j1")
    wait_for_trace(made, "runs")

    with (made.path / "cancel").open("a") as stream:
        stream.write("runs\nqueued\n")
    agent.send_signal(signal.SIGHUP)

    assert 1 == ended(agent)[0]
    assert "cancelled" == made.marker("runs")["reason"]
    assert ["goes-on"] == made.succeeded()
    assert ["cancelled"] == reasons(made, "queued")
    assert [("needs", "queued")] == [(e["job"], e["because"]) for e in made.events("skip")]


def test_cancelling_everything_is_like_a_signal(folder: MakeFolder) -> None:
    made = folder({name: Work(body=SLEEP) for name in "ab"})
    agent = made.start_agent("-j1")
    wait_for_trace(made, "a")

    (made.path / "cancel").write_text("*\n")
    agent.send_signal(signal.SIGHUP)

    assert 130 == ended(agent)[0]
    assert "cancelled" == made.marker("a")["reason"]
