"""One state per job."""

from __future__ import annotations

from repx import status
from repx.status import Agent, JobState, State

NEEDS: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("b",)}


def derive(**known: JobState) -> dict[str, JobState]:
    return status.derive(NEEDS, ("a", "b", "c"), known)


def test_without_any_belief_first_jobs_are_pending_and_others_blocked_by_the_one_before() -> None:
    states = derive()

    assert states["a"] == JobState(state=State.PENDING, reason="can start")
    assert states["b"] == JobState(state=State.BLOCKED, reason="a")
    assert states["c"] == JobState(state=State.BLOCKED, reason="b")


def test_everything_after_a_failure_is_skipped_and_names_the_culprit() -> None:
    states = derive(a=JobState(state=State.FAILED, reason="exit 3"))

    assert states["a"] == JobState(state=State.FAILED, reason="exit 3")
    assert states["b"] == JobState(state=State.SKIPPED, reason="a")
    assert states["c"] == JobState(state=State.SKIPPED, reason="a")


def test_a_success_counts_whatever_happened_before_it() -> None:
    states = derive(a=JobState(state=State.FAILED), b=JobState(state=State.SUCCEEDED))

    assert states["b"].state is State.SUCCEEDED
    assert states["c"].state is State.PENDING


def test_a_live_job_keeps_what_is_known_of_it() -> None:
    states = derive(a=JobState(state=State.RUNNING, by=Agent("s1"), since=5.0, where="n1"))

    assert states["a"] == JobState(state=State.RUNNING, by=Agent("s1"), since=5.0, where="n1")
    assert states["b"] == JobState(state=State.BLOCKED, reason="a")


def test_a_run_shows_what_matters_most() -> None:
    assert status.of_run([State.SUCCEEDED, State.FAILED, State.RUNNING]) is State.RUNNING
    assert status.of_run([State.SUCCEEDED, State.FAILED]) is State.FAILED
    assert status.of_run([State.SUCCEEDED]) is State.SUCCEEDED
    assert status.of_run([]) is State.BLOCKED


def test_every_state_has_a_place_in_the_state_of_a_run() -> None:
    assert all(status.of_run([state]) is state for state in State)


def test_counts_name_every_state_in_order() -> None:
    counted = status.counts([State.PENDING, State.PENDING])

    assert list(counted) == list(State)
    assert counted[State.PENDING] == 2
