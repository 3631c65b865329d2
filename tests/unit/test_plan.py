"""What runs, in which order and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import graph, plan, status, waiting
from repx.errors import GraphError
from repx.model import DependencyType, Executable, Input, Job, Lab, Run, StageType
from repx.plan import Wish
from repx.status import Agent, JobState, State
from repx.target import Resources, RuntimeName
from tests.made import made_lab

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from repx.plan import Plan

Needs = dict[str, list[str]]


def job(name: str, needs: list[str], source_run: str | None = None, kind: str = "hard") -> Job:
    inputs = [Input(target=need, job_id=need, source_output="o") for need in needs]
    if source_run:
        inputs.append(
            Input(
                target=f"metadata__{source_run}",
                source_run=source_run,
                dependency_type=DependencyType(kind),
            )
        )
    main = Executable(path=f"jobs/{name}/bin/x", inputs=tuple(inputs), outputs={"o": "$out/o"})
    return Job(
        id=name, name=name, stage_type=StageType.SIMPLE, params={}, executables={"main": main}
    )


def lab(runs: Mapping[str, list[Job]], image: str | None = None) -> Lab:
    return made_lab(
        runs={
            name: Run(
                name=name,
                metadata="",
                jobs=tuple(job.id for job in jobs),
                image=image,
                dependencies=dependencies(jobs),
            )
            for name, jobs in runs.items()
        },
        jobs={job.id: job for jobs in runs.values() for job in jobs},
    )


def dependencies(jobs: list[Job]) -> dict[str, DependencyType]:
    """Return what reading a Lab finds in its jobs' inputs."""
    return {
        source.source_run: source.dependency_type
        for each in jobs
        for source in each.entry.inputs
        if source.source_run and source.dependency_type
    }


OTHER = Agent("other")


def states(of: Lab, **known: str) -> dict[str, status.JobState]:
    reported = {name: JobState(state=State(word), by=OTHER) for name, word in known.items()}
    needs = waiting.gated(of, reported)
    return status.derive(needs, graph.order(needs), reported)


def make(
    of: Lab,
    *wanted: str,
    force: bool = False,
    failed: bool = False,
    explain: plan.Explain = lambda _: {},
    **known: str,
) -> Plan:
    return plan.make(
        of,
        Wish(jobs=wanted or tuple(of.jobs), force=force, only_failed=failed),
        states(of, **known),
        resources=lambda job, run, phase: Resources(cpus=1),  # noqa: ARG005
        runtimes=(RuntimeName.BWRAP,),
        explain=explain,
    )


def ids(made: Plan) -> list[str]:
    return [task.job.id for task in made.tasks]


CHAIN = lab({"r": [job("c", ["b"]), job("b", ["a"]), job("a", [])]})


def test_jobs_come_after_what_they_need() -> None:
    assert ids(make(CHAIN)) == ["a", "b", "c"]


def test_what_has_succeeded_is_kept_and_no_need_of_it_runs() -> None:
    made = make(CHAIN, "c", b="succeeded")

    assert ids(made) == ["c"]
    assert made.done == ("b",)
    assert made.tasks[0].needs == ()


def test_a_wanted_job_pulls_in_what_it_needs_and_says_so() -> None:
    made = make(CHAIN, "c")

    assert [(task.job.id, task.reason) for task in made.tasks] == [
        ("a", "needed by b"),
        ("b", "needed by c"),
        ("c", "never ran"),
    ]


def test_what_is_known_of_jobs_that_never_ran_is_their_reason() -> None:
    asked: list[list[str]] = []

    def explain(jobs: Collection[str]) -> dict[str, str]:
        asked.append(sorted(jobs))
        return {"a": "script changed: a.py"}

    made = make(CHAIN, "c", explain=explain, b="failed")

    assert [["a", "c"]] == asked
    assert ["script changed: a.py", "failed before", "never ran"] == [
        task.reason for task in made.tasks
    ]


def test_where_nothing_runs_nothing_is_explained() -> None:
    def explain(jobs: Collection[str]) -> dict[str, str]:
        raise AssertionError(jobs)

    made = make(CHAIN, "c", explain=explain, a="succeeded", b="succeeded", c="succeeded")

    assert () == made.tasks


def test_force_runs_the_wanted_jobs_again_and_what_stands_on_them_but_not_what_they_need() -> None:
    made = make(CHAIN, "b", force=True, a="succeeded", b="succeeded", c="succeeded")

    assert [(task.job.id, task.reason, task.forced) for task in made.tasks] == [
        ("b", "forced", True),
        ("c", "b, upstream of this job, runs again", True),
    ]


def test_only_failed_jobs_run_when_asked_for() -> None:
    made = make(CHAIN, failed=True, a="succeeded", b="failed")

    assert [(task.job.id, task.reason) for task in made.tasks] == [("b", "failed before")]


def test_a_job_that_is_alive_elsewhere_is_waited_for() -> None:
    made = make(CHAIN, a="running")

    assert ids(made) == ["b", "c"]
    assert made.tasks[0].needs == ("a",)
    assert made.alive == {"a": OTHER}


def test_a_hard_dependency_brings_the_run_before_with_it() -> None:
    of = lab({"sim": [job("s1", []), job("s2", ["s1"])], "ana": [job("x", [], "sim")]})
    made = make(of, "x")

    assert ids(made) == ["s1", "s2", "x"]
    assert made.gates == (plan.Gate(run="sim", type=DependencyType.HARD, jobs=("s2",)),)
    assert made.tasks[2].gates == (0,)


@pytest.mark.parametrize(
    ("known", "state", "reason"),
    [
        ({}, "blocked", "s2"),
        ({"s1": "succeeded"}, "blocked", "s2"),
        ({"s1": "succeeded", "s2": "succeeded"}, "pending", "can start"),
        ({"s1": "failed"}, "skipped", "s1"),
        ({"s1": "succeeded", "s2": "running"}, "blocked", "s2"),
    ],
)
def test_a_job_behind_a_hard_dependency_is_held_by_the_jobs_of_that_run(
    known: dict[str, str], state: str, reason: str
) -> None:
    of = lab({"sim": [job("s1", []), job("s2", ["s1"])], "ana": [job("x", [], "sim")]})
    told = states(of, **known)

    assert (told["x"].state, told["x"].reason) == (state, reason)
    assert told.keys() == of.jobs.keys()


def test_a_soft_dependency_is_waited_for_only_when_it_runs_anyway() -> None:
    of = lab({"sim": [job("s1", []), job("s2", ["s1"])], "ana": [job("x", [], "sim", "soft")]})

    assert ids(make(of, "x")) == ["x"]
    assert make(of, "x").gates == ()
    assert ids(make(of)) == ["s1", "s2", "x"]
    assert make(of).gates[0].jobs == ("s1", "s2")


def test_a_hard_dependency_that_has_succeeded_holds_nothing_back() -> None:
    of = lab({"sim": [job("s1", [])], "ana": [job("x", [], "sim")]})
    made = make(of, s1="succeeded")

    assert ids(made) == ["x"]
    assert made.gates == ()


def test_runs_that_wait_for_each_other_are_a_cycle() -> None:
    of = lab({"p": [job("x", [], "q")], "q": [job("y", [], "p")]})

    with pytest.raises(GraphError):
        make(of)


def test_the_jobs_of_one_run_stand_together() -> None:
    of = lab({"p": [job("p1", []), job("p2", [])], "q": [job("q1", []), job("q2", [])]})

    assert ids(make(of, "q2", "p2", "q1", "p1")) in (
        ["p2", "p1", "q2", "q1"],
        ["p1", "p2", "q1", "q2"],
    )


def test_only_jobs_of_runs_with_an_image_leave_the_native_runtime() -> None:
    with_image = lab({"r": [job("a", [])]}, image="images/x")

    assert make(with_image).tasks[0].units[0].runtimes == (RuntimeName.BWRAP,)
    assert make(CHAIN).tasks[0].units[0].runtimes == (RuntimeName.NATIVE,)


@given(
    edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda e: e[0] > e[1])),
    done=st.sets(st.integers(0, 9)),
    wanted=st.sets(st.integers(0, 9), min_size=1),
)
def test_a_plan_is_complete_ordered_and_minimal(
    edges: set[tuple[int, int]], done: set[int], wanted: set[int]
) -> None:
    """Each wanted job succeeds in the end, after its needs, and nothing idle runs.

    A success stays, unless it stands on something that runs.
    """
    needs = {n: sorted(f"j{b}" for a, b in edges if a == n) for n in range(10)}
    of = lab({"r": [job(f"j{n}", needs[n]) for n in range(10)]})
    succeeded = {f"j{n}" for n in done}
    made = plan.make(
        of,
        Wish(jobs=tuple(f"j{n}" for n in sorted(wanted))),
        states(of, **dict.fromkeys(succeeded, "succeeded")),
        resources=lambda job, run, phase: Resources(),  # noqa: ARG005
        runtimes=(RuntimeName.NATIVE,),
    )

    ran: set[str] = set()
    for task in made.tasks:
        assert set(task.job.needs) <= succeeded
        assert task.forced == (task.job.id in succeeded)
        assert not task.forced or ran.intersection(task.job.needs)
        succeeded.add(task.job.id)
        ran.add(task.job.id)

    assert {f"j{n}" for n in wanted} <= succeeded
    used = {need for task in made.tasks for need in task.job.needs}
    assert all(task.job.id in used or int(task.job.id[1:]) in wanted for task in made.tasks)


@pytest.mark.parametrize(
    "order", [("free", "up", "gated"), ("up", "gated", "free"), ("gated", "up", "free")]
)
def test_runs_that_share_a_first_job_wait_each_for_its_own(order: tuple[str, ...]) -> None:
    shared = job("x", [])
    runs = {
        "free": [shared, job("q", ["x"])],
        "up": [job("u", [])],
        "gated": [shared, job("y", ["x"])],
    }
    of = lab({name: runs[name] for name in order})
    gated = dataclasses.replace(of.runs["gated"], dependencies={"up": DependencyType.HARD})
    of = dataclasses.replace(of, runs={**of.runs, "gated": gated})

    assert {"x", "q"} == {task.job.id for task in make(of, "x", "q").tasks}
    made = make(of, "x", "y")
    assert {"x", "y", "u"} == {task.job.id for task in made.tasks}
    assert {"x": (), "u": (), "y": (0,)} == {task.job.id: task.gates for task in made.tasks}
