"""Bundles hold connected work, as many as asked for, and never wait for each other in a circle."""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repx.errors import InputError
from repx.model import DependencyType, Executable, Job, StageType
from repx.plan import Gate, Plan, Task
from repx.schedulers.slurm import bundles
from repx.target import Bundle, Resources
from tests.made import made_units


def task(
    name: str, needs: Sequence[str] = (), bundle: str | None = "b", gates: Sequence[int] = ()
) -> Task:
    job = Job(
        id=name,
        name=name,
        stage_type=StageType.SIMPLE,
        params={},
        executables={"main": Executable(path=name)},
    )
    return Task(
        job=job,
        run="run",
        reason="",
        units=made_units(job, Resources(bundle=bundle, cpus=1, mem_bytes=10, time_s=30)),
        needs=tuple(needs),
        gates=tuple(gates),
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, list[Bundle]]:
    """Random graphs whose jobs are in one of two bundles or in none, with gates."""
    tasks: list[Task] = []
    gates: list[Gate] = []
    for i in range(draw(st.integers(1, 25))):
        before = [each.job.id for each in tasks]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=12)) if before else []
        if before and draw(st.integers(0, 5)) == 0:
            members = draw(st.lists(st.sampled_from(before), unique=True, min_size=1))
            kind = draw(st.sampled_from([DependencyType.HARD, DependencyType.SOFT]))
            gates.append(Gate(run="x", type=kind, jobs=tuple(members)))
        wants_gate: bool = draw(st.booleans())
        held = (len(gates) - 1,) if gates and wants_gate else ()
        tasks.append(task(f"j{i}", needs, draw(st.sampled_from(["a", "b", None])), held))
    described = [Bundle(name=name, count=draw(st.integers(1, 3))) for name in "ab"]
    return Plan(tasks=tuple(tasks), gates=tuple(gates)), described


@pytest.mark.slow
@given(plans())
@settings(max_examples=200, deadline=None)
def test_no_circle_and_every_job_once(drawn: tuple[Plan, list[Bundle]]) -> None:
    plan, described = drawn
    found = bundles.cut(plan, described)
    place = {each.job.id: f"bundle {n}" for n, one in enumerate(found) for each in one.tasks}
    waits: dict[str, set[str]] = {}
    for each in plan.tasks:
        own = place.get(each.job.id, each.job.id)
        needs = [*each.needs, *(job for gate in each.gates for job in plan.gates[gate].jobs)]
        waits.setdefault(own, set()).update(place.get(job, job) for job in needs)
    for own, before in waits.items():
        before.discard(own)
    counts = Counter(each.job.id for one in found for each in one.tasks)

    assert list(graphlib.TopologicalSorter(waits).static_order())
    assert {each.job.id: 1 for each in plan.tasks if each.units[0].resources.bundle} == dict(counts)
    assert all(one.bundle == each.units[0].resources.bundle for one in found for each in one.tasks)


def chains(count: int) -> list[Task]:
    return [task(f"{s}{i}", [f"a{i}"] if s == "b" else ()) for s in "ab" for i in range(count)]


def test_chains_stay_together_and_are_shared_out_evenly() -> None:
    plan = Plan(tasks=tuple(chains(12)))
    found = bundles.cut(plan, [Bundle(name="b", count=4)])

    assert [6] * 4 == [len(one.tasks) for one in found]
    for one in found:
        names = {each.job.id for each in one.tasks}
        assert all(each.needs == () or each.needs[0] in names for each in one.tasks)


def test_what_joins_many_chains_comes_after_their_bundles() -> None:
    report = task("report", [f"b{i}" for i in range(12)])
    plan = Plan(tasks=(*chains(12), report))

    assert [12, 12, 1] == [len(one.tasks) for one in bundles.cut(plan, [Bundle(name="b", count=2)])]
    assert [25] == [len(one.tasks) for one in bundles.cut(plan, [Bundle(name="b")])]


def test_without_a_count_connected_work_is_one_bundle() -> None:
    """A time limit is no estimate, and a bundle that comes to its own goes on."""
    plan = Plan(tasks=tuple(chains(12)))
    found = bundles.cut(plan, [Bundle(name="b", cpus=2, time_s=120)])

    assert 1 == len(found)
    assert {(2, 20, 120)} == {(one.cpus, one.mem_bytes, one.time_s) for one in found}


def test_a_bundle_nobody_described_is_named() -> None:
    plan = Plan(tasks=(task("j", bundle="shrot"),))

    with pytest.raises(InputError, match="no bundle 'shrot'") as caught:
        bundles.cut(plan, [Bundle(name="short")])
    assert "did you mean 'short'?" == caught.value.hint
