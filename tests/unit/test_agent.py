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

from repx.runner import locks, main, plan, table
from repx.runner.admission import PATIENCE, Admission
from repx.runner.dag import WHOLE, Dag
from repx.runner.foreign import LOOKS, ForeignJobs
from repx.runner.store import Store
from repx.runner.units import Unit

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


MAIN = {"unit": "main", "needs": [], "per_branch": False, "ask": 0}


def _task(
    *needs: int,
    gates: tuple[int, ...] = (),
    waits: tuple[str, ...] = (),
    units: tuple[dict[str, Any], ...] = (MAIN,),
) -> dict[str, Any]:
    told = {"needs": list(needs), "gates": list(gates), "waits": list(waits)}
    return {**told, "job": "j", "run": "r", "units": list(units), "retries": {"n": 0, "on": []}}


def _gate(kind: str, *tasks: int, waits: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"run": "r", "type": kind, "tasks": list(tasks), "waits": list(waits)}


def _taken(graph: Dag) -> list[int]:
    ready, graph.ready = sorted(graph.ready), []
    return ready


def _run(graph: Dag, node: int, *, ok: bool = True) -> None:
    graph.move(node, table.STARTED)
    graph.end(node, table.ENDED_WELL if ok else table.ENDED_BADLY)


# --- the graph -------------------------------------------------------------------------------


def test_a_task_is_ready_when_all_it_needs_has_succeeded() -> None:
    graph = Dag([_task(), _task(), _task(0, 1)], [])

    assert [0, 1] == _taken(graph)
    _run(graph, 0)
    assert [] == _taken(graph)
    _run(graph, 1)
    assert [2] == _taken(graph)


def test_what_needs_a_failed_task_is_skipped_with_the_culprit() -> None:
    graph = Dag([_task(), _task(0), _task(1), _task()], [])

    _run(graph, 0, ok=False)

    assert [(1, 0), (2, 0)] == graph.skipped
    assert [0, 3] == _taken(graph)


def test_a_soft_gate_opens_with_any_end_a_hard_one_with_success_only() -> None:
    for kind in ("soft", "hard"):
        tasks = [_task(), _task(0), _task(gates=(0,))]
        graph = Dag(tasks, [_gate(kind, 0, 1)])
        _taken(graph)

        _run(graph, 0, ok=False)

        assert ([2] if kind == "soft" else []) == _taken(graph)
        assert ((2, 0) in graph.skipped) is (kind == "hard")


def test_a_gate_of_jobs_that_all_succeeded_before_is_open() -> None:
    assert [0] == _taken(Dag([_task(gates=(0,))], [_gate("hard")]))


def test_jobs_of_other_runners_are_waited_for() -> None:
    graph = Dag([_task(waits=("x",)), _task(gates=(0,))], [_gate("soft", waits=("x", "y"))])

    assert [] == _taken(graph)
    graph.end(graph.foreign["x"], table.SEEN_DONE)
    assert [0] == _taken(graph)
    graph.end(graph.foreign["y"], table.SEEN_FAILED)
    assert [1] == _taken(graph)


def test_stopping_a_run_skips_what_waits_hard_for_it_and_frees_what_waits_softly() -> None:
    tasks = [_task(), _task(), _task(1), _task(gates=(0,)), _task(gates=(1,))]
    graph = Dag(tasks, [_gate("hard", 0, 2), _gate("soft", 0, 2)])
    _taken(graph)
    _run(graph, 0, ok=False)

    graph.end_all([0, 1, 2], table.STOP, culprit=0)

    assert [(3, 0)] == graph.skipped
    assert [4] == _taken(graph)
    assert [table.FAILED, table.STOPPED, table.STOPPED] == graph.state[:3]


@given(st.data())
def test_every_task_ends_in_exactly_one_way(data: st.DataObject) -> None:
    """Whatever fails: what could run is offered once, the rest is skipped once."""
    count = data.draw(st.integers(1, 12))
    tasks = [
        _task(*data.draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else ())
        for i in range(count)
    ]
    fails = data.draw(st.sets(st.integers(0, count - 1)))
    graph = Dag(tasks, [])
    offered: list[int] = []
    while ready := _taken(graph):
        offered += ready
        for task in ready:
            _run(graph, task, ok=task not in fails)

    doomed: set[int] = set()
    for i, entry in enumerate(tasks):
        if any(need in fails or need in doomed for need in entry["needs"]):
            doomed.add(i)
    skipped = [task for task, _ in graph.skipped]
    assert sorted(doomed) == sorted(skipped)
    assert sorted(set(range(count)) - doomed) == sorted(offered)


# --- admission -------------------------------------------------------------------------------


def _unit(task: int, cpus: int = 1, mem: int | None = None, **more: int) -> Unit:
    graph = Dag([_task() for _ in range(task + 1)], [])
    return Unit(graph, task, [[{"cpus": cpus, "mem": mem, "time": None, **more}]])


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


def test_gpus_are_shared_by_the_jobs_that_ask_for_some() -> None:
    admission = Admission(jobs=9, cpus=9, mem=0, gpus=["0", "1"])
    for task, count in enumerate([1, 1, 1, 0]):
        admission.push(_unit(task, gpus=count))

    assert [0, 1, 3] == _started(admission)


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

    assert PATIENCE + 1 == passed


def test_many_shapes_of_memory_share_few_queues() -> None:
    admission = Admission(jobs=9, cpus=9, mem=1 << 50)
    for task in range(500):
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


def _phased(*, retries: int = 0) -> dict[str, Any]:
    """Return a task of scatter, steps a, b (needs a) and c (needs both), and gather."""
    needs = {"scatter": [], "step-a": [0], "step-b": [1], "step-c": [1, 2], "gather": [3]}
    units = tuple(
        {"unit": name, "needs": before, "per_branch": name.startswith("step-"), "ask": 0}
        for name, before in needs.items()
    )
    return {**_task(units=units), "retries": {"n": retries, "on": ["oom", "timeout"]}}


def _labels(graph: Dag) -> list[str | None]:
    """Return what may start, in the order in which it does."""
    units = sorted((Unit(graph, node, [[]]) for node in _taken(graph)), key=lambda u: u.order)
    return [unit.label for unit in units]


def _end(graph: Dag, name: str, branch: int = WHOLE, *, ok: bool = True) -> None:
    """Run the unit of the first task that has this name."""
    for node in graph.nodes[0]:
        unit = Unit(graph, node, [[]])
        if (unit.name, unit.branch) == (name, branch):
            _run(graph, node, ok=ok)


def _spread(count: int, kept: set[tuple[str, int]] = frozenset()) -> Dag:  # type: ignore[assignment]
    """Return the graph of a task whose scatter has made ``count`` branches, and one behind it."""
    graph = Dag([_phased(), _task(0)], [])
    assert ["scatter"] == _labels(graph)
    graph.move(0, table.STARTED)
    graph.fan_out(0, count, lambda step, branch: (step, branch) in kept)
    graph.end(0, table.ENDED_WELL)
    return graph


def test_steps_start_as_those_before_them_in_their_branch_end_and_gather_last() -> None:
    graph = _spread(2)

    assert ["step a 0", "step a 1"] == _labels(graph)
    for branch, last in ((0, []), (1, ["gather"])):
        for step, then in (("a", [f"step b {branch}"]), ("b", [f"step c {branch}"]), ("c", last)):
            _end(graph, f"step-{step}", branch)
            assert then == _labels(graph)
    _end(graph, "gather")
    assert [None] == _labels(graph)
    assert [0, 1] == graph.open


def test_kept_steps_are_not_started_but_those_behind_a_missing_one_are() -> None:
    kept = {("step-a", 0), ("step-b", 0), ("step-c", 0), ("step-b", 1), ("step-c", 1)}
    graph = _spread(2, kept)

    assert ["step a 1"] == _labels(graph)
    _end(graph, "step-a", 1)
    assert ["step b 1"] == _labels(graph)


def test_nothing_to_do_goes_straight_to_gather() -> None:
    steps = ("step-a", "step-b", "step-c")
    for graph in (_spread(0), _spread(3, {(step, i) for step in steps for i in range(3)})):
        assert ["gather"] == _labels(graph)


def test_a_failed_step_skips_what_is_behind_it_and_leaves_other_branches_alone() -> None:
    graph = _spread(2)
    _taken(graph)

    _end(graph, "step-a", 0, ok=False)

    # Its own branch, gather, and the job behind; only that one is told to people.
    culprits = {culprit for _, culprit in graph.skipped}
    assert 1 == len(culprits)
    assert [1] == [graph.placed(node)[0] for node, _ in graph.skipped if node in graph.first]
    assert [1, 0] != graph.open  # steps of the other branch are still to come
    for step in "abc":
        _end(graph, f"step-{step}", 1)
    assert [0, 0] == graph.open


def test_an_attempt_after_too_little_memory_or_time_asks_for_more() -> None:
    ladder = [{"cpus": 1, "mem": mem, "time": mem} for mem in (100, 200, 400)]
    unit = Unit(Dag([_phased(retries=3)], []), 0, [ladder])

    asked = [unit.mem]
    for reason in ("out of memory", "timeout", "timeout"):
        assert unit.may_retry(reason)
        assert not unit.may_retry("exit 1")
        unit.retry(reason)
        asked.append(unit.mem)

    assert [100, 200, 400, 400] == asked
    assert (4, 400.0) == (unit.attempt, unit.limit_s)
    assert not unit.may_retry("timeout")


# --- the life of a unit ----------------------------------------------------------------------


@pytest.mark.parametrize("state", table.STATES)
@pytest.mark.parametrize("event", table.EVENTS)
def test_every_move_stands_in_the_table_or_raises(state: str, event: str) -> None:
    if (state, event) in table.TABLE:
        assert table.after(state, event) in table.STATES
    else:
        with pytest.raises(table.IllegalMoveError, match=f"{state} cannot be told: {event}"):
            table.after(state, event)


def test_the_table_knows_no_other_words_and_nothing_leaves_an_end() -> None:
    assert set(table.STATES) == {state for state, _ in table.TABLE} | set(table.TABLE.values())
    assert set(table.EVENTS) == {event for _, event in table.TABLE}
    left = {(s, n) for (s, _), n in table.TABLE.items() if s in table.ENDED and s != n}
    assert set() == left


def test_an_illegal_move_changes_nothing() -> None:
    graph = Dag([_task()], [])

    with pytest.raises(table.IllegalMoveError):
        graph.move(0, table.ENDED_WELL)

    assert [table.READY] == graph.state


# --- other runners ---------------------------------------------------------------------------


def test_an_agent_is_looked_at_once_a_look_however_many_of_its_jobs_are_waited_for(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    jobs = [f"job-{i}" for i in range(50)]
    theirs = tmp_path / "submissions" / "theirs"
    theirs.mkdir(parents=True)
    document = {"version": plan.VERSION, "tasks": [{"job": job} for job in jobs[:25]]}
    (theirs / "plan.json").write_text(json.dumps(document))
    lock = os.open(theirs / "agent.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    read, held = mocker.spy(plan, "load"), mocker.spy(locks, "held")
    store = Store(str(tmp_path), "ours")
    foreign = ForeignJobs(store, str(tmp_path / "submissions"), "ours", jobs)

    looks = [list(foreign.ended()) for _ in range(LOOKS)]

    assert [[], [], [(job, False) for job in sorted(jobs[25:])]] == looks
    assert read.call_count == LOOKS
    asked = [call.args[0] for call in held.call_args_list].count(f"{theirs}/agent.lock")
    assert asked == 2 * LOOKS - 1  # whether it still lives, and for jobs nobody promised
    os.close(lock)
    assert [] == list(foreign.ended())
    assert not foreign.promised


@pytest.mark.parametrize("looks", [1, len(locks.LOOKERS_WAITS_S)])
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

    locks.patiently(ours)

    assert locks.held(str(tmp_path / "lock"))
    for each in (looker, ours):
        os.close(each)


# --- the command line ------------------------------------------------------------------------


def test_sizes_are_read_with_their_units() -> None:
    assert [1, 2048, 4 << 30] == [main.bytes_of(text) for text in ("1", "2k", "4G")]


def test_more_jobs_than_cores_may_be_asked_for() -> None:
    options = main.parse(["x", "-j", "1000"])

    assert (1000, 1000) == (options.jobs, options.cpus)
