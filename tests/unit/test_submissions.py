"""What a submission folder tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from repx import engine, submissions
from repx import store as stores
from repx.plan import Plan
from repx.status import Agent, JobState, State
from repx.submissions import Event

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def event(kind: str, job: str = "", **more: object) -> Event:
    return Event(time_s=1.0, kind=kind, job=job, **more)  # type: ignore[arg-type]  # test data


def test_events_are_read_and_broken_lines_passed_over() -> None:
    lines = ['{"t":1,"e":"start","job":"a"}', "[]", '{"t":2,"e":"end","job":"a","ok":fal']

    assert [each.kind for each in submissions.parse_events(lines)] == ["start"]


def test_a_job_ends_with_its_only_or_last_phase_or_any_failure() -> None:
    assert event("end", "a").ends_job
    assert event("end", "a", phase="gather").ends_job
    assert not event("end", "a", phase="step x 1").ends_job
    assert event("end", "a", phase="step x 1", ok=False).ends_job
    assert not event("start", "a").ends_job


def test_jobs_of_an_active_submission_are_queued_then_running_then_told_by_markers() -> None:
    happened = [event("start", "a"), event("end", "a"), event("start", "b"), event("skip", "d")]
    known = submissions.reported("s", ["a", "b", "c", "d"], happened)

    assert known == {
        "b": JobState(state=State.RUNNING, by=Agent("s"), since=1.0),
        "c": JobState(state=State.QUEUED, reason="waits for its turn", by=Agent("s")),
    }


def test_an_agent_that_has_ended_holds_nothing_until_it_starts_again() -> None:
    ended = [event("agent-start"), event("start", "a"), event("agent-end")]

    assert {} == submissions.reported("s", ["a", "b"], ended)
    again = submissions.reported("s", ["a", "b"], [*ended, event("agent-start")])
    assert {"a", "b"} == again.keys()


def test_a_broken_plan_is_empty(tmp_path: Path) -> None:
    store = stores.local(str(tmp_path))
    store.write("submissions/one/plan.json", b"{")

    assert submissions.ids(store) == ["one"]
    assert submissions.plan(store, "one") == {}
    assert submissions.events(store, "one") == []


def test_a_job_that_another_process_has_is_queued_even_if_it_was_to_start() -> None:
    happened = [event("start", "a"), event("wait", "a", because="n1 7")]

    assert submissions.reported("s", ["a"], happened) == {
        "a": JobState(state=State.QUEUED, reason="another process has it (n1 7)", by=Agent("s"))
    }


def test_a_scatter_gather_job_says_how_many_steps_have_ended_until_it_gathers() -> None:
    happened = [
        event("start", "a", phase="scatter"),
        event("end", "a", phase="scatter"),
        event("steps", "a", count=3),
        event("start", "a", phase="step x 0"),
        event("start", "a", phase="step x 1"),
        event("end", "a", phase="step x 0"),
    ]
    gathers = [event("end", "a", phase="step x 1"), event("start", "a", phase="gather")]

    assert "1 of 3 steps ended" == submissions.reported("s", ["a"], happened)["a"].reason
    assert "gather" == submissions.reported("s", ["a"], [*happened, *gathers])["a"].reason


def test_a_job_that_is_tried_again_runs_and_its_other_phases_do_not_revive_it() -> None:
    failed = [event("start", "a"), event("end", "a", ok=False)]
    step = [
        event("start", "b", phase="step x 0"),
        event("end", "b", phase="step x 0", ok=False),
        event("start", "b", phase="step x 1"),
    ]

    assert {} == submissions.reported("s", ["a", "b"], [*failed, *step])
    known = submissions.reported("s", ["a", "b"], [*failed, event("start", "a"), *step])
    assert {"a": State.RUNNING} == {job: said.state for job, said in known.items()}


def test_ids_sort_by_time_also_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "localtime", None)  # which goes back
    before = 1_792_889_999_999_900_000
    moments = [before + step for step in (0, 50_000, 100_000, 1_000_000, 10**9)]
    clock = iter(moments)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))

    made = [engine.new_id(Plan(tasks=())) for _ in moments]

    assert sorted(set(made)) == made
