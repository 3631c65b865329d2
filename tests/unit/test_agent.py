"""The decisions of the local scheduler, without a process."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import agent
from repx.agent import Admission, Elsewhere, Graph, Phases, Store, Unit

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


def _task(*needs: int, gates: tuple[int, ...] = (), waits: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"needs": list(needs), "gates": list(gates), "waits": list(waits)}


def _gate(kind: str, *tasks: int, waits: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"run": "r", "type": kind, "tasks": list(tasks), "waits": list(waits)}


def _taken(graph: Graph) -> list[int]:
    ready, graph.ready = sorted(graph.ready), []
    return ready


# --- the graph -------------------------------------------------------------------------------


def test_a_task_is_ready_when_all_it_needs_has_succeeded() -> None:
    graph = Graph([_task(), _task(), _task(0, 1)], [])

    assert [0, 1] == _taken(graph)
    graph.end(0, ok=True)
    assert [] == _taken(graph)
    graph.end(1, ok=True)
    assert [2] == _taken(graph)


def test_what_needs_a_failed_task_is_skipped_with_the_culprit() -> None:
    graph = Graph([_task(), _task(0), _task(1), _task()], [])

    graph.end(0, ok=False)

    assert [(1, 0), (2, 0)] == graph.skipped
    assert [0, 3] == _taken(graph)


def test_a_soft_gate_opens_with_any_end_a_hard_one_with_success_only() -> None:
    for kind in ("soft", "hard"):
        tasks = [_task(), _task(0), _task(gates=(0,))]
        graph = Graph(tasks, [_gate(kind, 0, 1)])
        _taken(graph)

        graph.end(0, ok=False)

        assert ([2] if kind == "soft" else []) == _taken(graph)
        assert ((2, 0) in graph.skipped) is (kind == "hard")


def test_a_gate_of_jobs_that_all_succeeded_before_is_open() -> None:
    assert [0] == _taken(Graph([_task(gates=(0,))], [_gate("hard")]))


def test_jobs_of_other_runners_are_waited_for() -> None:
    graph = Graph([_task(waits=("x",)), _task(gates=(0,))], [_gate("soft", waits=("x", "y"))])

    assert [] == _taken(graph)
    graph.end(graph.outside["x"], ok=True)
    assert [0] == _taken(graph)
    graph.end(graph.outside["y"], ok=False)
    assert [1] == _taken(graph)


def test_stopping_a_run_skips_what_waits_hard_for_it_and_frees_what_waits_softly() -> None:
    tasks = [_task(), _task(), _task(1), _task(gates=(0,)), _task(gates=(1,))]
    graph = Graph(tasks, [_gate("hard", 0, 2), _gate("soft", 0, 2)])
    _taken(graph)
    graph.state[0] = agent.STARTED
    graph.end(0, ok=False)

    graph.stop([0, 1, 2], culprit=0)

    assert [(3, 0)] == graph.skipped
    assert [4] == _taken(graph)
    assert [agent.STOPPED] * 2 == list(graph.state[1:3])


@given(st.data())
def test_every_task_ends_in_exactly_one_way(data: st.DataObject) -> None:
    """Whatever fails: what could run is offered once, the rest is skipped once."""
    count = data.draw(st.integers(1, 12))
    tasks = [
        _task(*data.draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else ())
        for i in range(count)
    ]
    fails = data.draw(st.sets(st.integers(0, count - 1)))
    graph = Graph(tasks, [])
    offered: list[int] = []
    while ready := _taken(graph):
        offered += ready
        for task in ready:
            graph.end(task, ok=task not in fails)

    doomed: set[int] = set()
    for i, entry in enumerate(tasks):
        if any(need in fails or need in doomed for need in entry["needs"]):
            doomed.add(i)
    skipped = [task for task, _ in graph.skipped]
    assert sorted(doomed) == sorted(skipped)
    assert sorted(set(range(count)) - doomed) == sorted(offered)


# --- admission -------------------------------------------------------------------------------


def _unit(task: int, cpus: int = 1, mem: int | None = None) -> Unit:
    return Unit(task, {"cpus": cpus, "mem": mem, "time": None}, None, 0, "", 0)


def _started(admission: Admission) -> list[int]:
    """Start all that may start."""
    found = []
    while (unit := admission.pop(lambda _unit: True)) is not None:
        found.append(unit.task)
    return found


def test_first_in_the_plan_starts_first_as_far_as_slots_go() -> None:
    admission = Admission(jobs=2, cpus=9, mem=0)
    for task in (3, 1, 2):
        admission.push(_unit(task))

    assert [1, 2] == _started(admission)


def test_cores_and_memory_limit_what_runs_and_small_jobs_fill_the_gaps() -> None:
    admission = Admission(jobs=9, cpus=4, mem=100)
    for task, (cpus, mem) in enumerate([(3, 10), (2, 10), (1, 95), (1, 10)]):
        admission.push(_unit(task, cpus, mem))

    assert [0, 3] == _started(admission)


def test_a_job_larger_than_the_machine_runs_alone() -> None:
    admission = Admission(jobs=9, cpus=2, mem=100)
    big, small = _unit(0, cpus=64), _unit(1)
    admission.push(big)
    admission.push(small)

    assert admission.too_large(big)
    assert [0] == _started(admission)
    admission.give_back(big)
    assert [1] == _started(admission)


def test_a_big_job_is_not_passed_for_ever() -> None:
    admission = Admission(jobs=99, cpus=2, mem=0)
    first, big = _unit(0), _unit(1, cpus=2)
    admission.push(first)
    assert [0] == _started(admission)
    admission.push(big)
    for task in range(2, 99):
        admission.push(_unit(task))
    running, passed = [first], 0
    while True:  # one small job ends after the other, and always one still runs
        started = admission.pop(lambda _unit: True)
        if started is not None:
            running.append(started)
            passed += 1
            continue
        if running[-1] is big:
            break
        admission.give_back(running.pop(0))

    assert agent.PATIENCE + 1 == passed


def test_many_shapes_of_memory_share_few_queues() -> None:
    admission = Admission(jobs=9, cpus=9, mem=1 << 50)
    for task in range(5000):
        admission.push(_unit(task, mem=(1 << 30) + task * 12345))

    assert len(admission.queues) < 16
    assert list(range(9)) == _started(admission)


def test_units_no_longer_wanted_are_dropped() -> None:
    admission = Admission(jobs=9, cpus=9, mem=0)
    for task in range(4):
        admission.push(_unit(task))

    unit = admission.pop(lambda unit: unit.task > 1)

    assert unit is not None
    assert 2 == unit.task


# --- scatter-gather --------------------------------------------------------------------------

_ASK = {"cpus": 1, "mem": None, "time": None}
_PLAN = {
    "scatter": _ASK,
    "gather": _ASK,
    "steps": {
        "a": {**_ASK, "deps": []},
        "b": {**_ASK, "deps": ["a"]},
        "c": {**_ASK, "deps": ["a", "b"]},
    },
}


def _labels(units: Any) -> list[str | None]:  # noqa: ANN401 -- whatever yields units
    return [unit.label for unit in units]


def test_steps_start_as_those_before_them_in_their_branch_end_and_gather_last() -> None:
    phases = Phases(0, _PLAN)

    assert "scatter" == phases.scatter().label
    assert ["step a 0", "step a 1"] == _labels(phases.branches(2, lambda *_: False))
    assert ["step b 0"] == _labels(phases.step_ended(0, "a"))
    assert ["step c 0"] == _labels(phases.step_ended(0, "b"))
    assert [] == _labels(phases.step_ended(0, "c"))
    for step, then in (("a", "step b 1"), ("b", "step c 1"), ("c", "gather")):
        assert [then] == _labels(phases.step_ended(1, step))


def test_kept_steps_are_not_started_but_those_behind_a_missing_one_are() -> None:
    kept = {(0, "a"), (0, "b"), (0, "c"), (1, "b"), (1, "c")}
    phases = Phases(0, _PLAN)

    assert ["step a 1"] == _labels(phases.branches(2, lambda i, step: (i, step) in kept))
    assert ["step b 1"] == _labels(phases.step_ended(1, "a"))


def test_nothing_to_do_goes_straight_to_gather() -> None:
    assert ["gather"] == _labels(Phases(0, _PLAN).branches(0, lambda *_: False))
    assert ["gather"] == _labels(Phases(0, _PLAN).branches(3, lambda *_: True))


# --- other runners ---------------------------------------------------------------------------


def test_an_agent_is_looked_at_once_a_look_however_many_of_its_jobs_are_waited_for(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    jobs = [f"job-{i}" for i in range(50)]
    theirs = tmp_path / "submissions" / "theirs"
    theirs.mkdir(parents=True)
    plan = {"version": agent.PLAN_VERSION, "tasks": [{"job": job} for job in jobs[:25]]}
    (theirs / "plan.json").write_text(json.dumps(plan))
    lock = os.open(theirs / "agent.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    read_plan, held = mocker.spy(agent, "read_plan"), mocker.spy(agent, "held")
    store = Store(str(tmp_path), str(theirs / "plan.json"))
    elsewhere = Elsewhere(store, str(tmp_path / "submissions"), "ours", jobs)

    looks = [list(elsewhere.ended()) for _ in range(agent.LOOKS)]

    assert [[], [], [(job, False) for job in sorted(jobs[25:])]] == looks
    assert read_plan.call_count == agent.LOOKS
    asked = [call.args[0] for call in held.call_args_list].count(f"{theirs}/agent.lock")
    assert asked == 2 * agent.LOOKS - 1  # whether it still lives, and for jobs nobody promised
    os.close(lock)
    assert [] == list(elsewhere.ended())
    assert not elsewhere.promised


@pytest.mark.parametrize("looks", [1, len(agent.LOOKERS_WAITS_S)])
def test_who_looks_whether_a_lock_is_held_is_not_taken_for_its_holder(
    tmp_path: Path, mocker: MockerFixture, looks: int
) -> None:
    looker, ours = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    fcntl.flock(looker, fcntl.LOCK_SH)
    waits = iter(range(1, looks + 1))

    def look_away(_seconds: float) -> None:
        if next(waits) == looks:
            fcntl.flock(looker, fcntl.LOCK_UN)

    mocker.patch("time.sleep", look_away)

    agent.lock_patiently(ours)

    assert agent.held(str(tmp_path / "lock"))
    for each in (looker, ours):
        os.close(each)


# --- the command line ------------------------------------------------------------------------


def test_sizes_are_read_with_their_units() -> None:
    assert [1, 2048, 4 << 30] == [agent.bytes_of(text) for text in ("1", "2k", "4G")]


def test_more_jobs_than_cores_may_be_asked_for() -> None:
    options = agent.parse(["x", "-j", "1000"])

    assert (1000, 1000) == (options.jobs, options.cpus)
