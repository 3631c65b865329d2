"""Arrays start and cancel exactly the jobs that the plain job graph would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repx.schedulers.slurm import arrays
from repx.schedulers.slurm.arrays import Array, Condition, Dependency, Group, Node, Reference


@dataclass(frozen=True, slots=True)
class Waits:
    """What one job waits for, in terms of jobs."""

    ok: frozenset[str]
    ended: frozenset[str]


def plain(nodes: Sequence[Node], groups: Sequence[Group]) -> dict[str, Waits]:
    """What each node waits for as the graph itself says it."""
    found = {}
    for node in nodes:
        ok, ended = set(node.needs), set(node.ends)
        for number in node.groups:
            (ok if groups[number].ok else ended).update(groups[number].nodes)
        found[node.id] = Waits(frozenset(ok), frozenset(ended - ok))
    return found


def compiled(
    made: Sequence[Array], placed: Mapping[str, Reference]
) -> dict[str, tuple[set[str], set[str]]]:
    """What each array element waits for, as sbatch(1) defines the conditions; joins included."""
    outside = {reference: name for name, reference in placed.items()}
    found: dict[str, tuple[set[str], set[str]]] = {}
    for array in made:
        for index, name in array.elements.items():
            ok: set[str] = set()
            ended: set[str] = set()
            for dependency in array.dependencies:
                members = _members(made, outside, dependency, index)
                (ended if dependency.condition is Condition.ANY else ok).update(members)
            found[name] = (ok, ended)
    return found


def _members(
    made: Sequence[Array], outside: Mapping[Reference, str], dependency: Dependency, index: int
) -> set[str]:
    on = dependency.on
    if dependency.condition is Condition.CORRESPONDING:
        assert on.index is None
        on = Reference(on.array, index)
    if isinstance(on.array, str):
        return {outside[on]}
    elements = made[on.array].elements
    return set(elements.values()) if on.index is None else {elements[on.index]}


# What job i of a new layer needs of the layer before and of everything so far.
WIRINGS: Final[Mapping[str, Callable[[list[str], list[str], int], list[str]]]] = {
    "none": lambda _before, _all, _i: [],
    "each": lambda before, _, i: before[i % len(before) :][:1] if before else [],
    "half": lambda before, _, i: before[i // 2 % len(before) :][:1] if before else [],
    "all": lambda before, _all, _i: before,
    "two": lambda _, every, i: [every[i % len(every)], every[-1 - i % len(every)]] if every else [],
    "scattered": lambda _, every, i: every[i :: i + 2],
}


@st.composite
def graphs(
    draw: st.DrawFn,
) -> tuple[list[Node], list[Group], dict[str, Reference]]:
    """Layers of stages whose jobs are wired one to one, fanned out, fanned in or at random."""
    width = draw(st.integers(1, 9))
    placed = {
        f"p{i}": Reference(str(100 + i // 5), i % 5 if draw(st.booleans()) else None)
        for i in range(draw(st.integers(0, 4)))
    }
    if len(set(placed.values())) < len(placed):
        placed = {}
    nodes: list[Node] = []
    groups: list[Group] = []
    layers: list[list[str]] = [list(placed)]
    for depth in range(draw(st.integers(1, 5))):
        before = draw(st.sampled_from(layers))
        everything = [name for layer in layers for name in layer]
        if everything and draw(st.integers(0, 3)) == 0:
            members = draw(st.lists(st.sampled_from(everything), unique=True, min_size=1))
            groups.append(Group(nodes=tuple(members), ok=draw(st.booleans())))
        wiring = draw(st.sampled_from(sorted(WIRINGS)))
        layer = []
        for i in range(draw(st.integers(1, width))):
            needs = tuple(dict.fromkeys(WIRINGS[wiring](before, everything, i)))
            soft = draw(st.integers(0, 4)) == 0
            held = bool(groups) and draw(st.integers(0, 2)) == 0
            nodes.append(
                Node(
                    id=f"n{depth}.{i}",
                    key=draw(st.sampled_from([f"s{depth}", f"s{depth}", "shared"])),
                    needs=() if soft else needs,
                    ends=needs if soft else (),
                    groups=(len(groups) - 1,) if held else (),
                )
            )
            layer.append(f"n{depth}.{i}")
        layers.append(layer)
    return nodes, groups, placed


@given(graphs(), st.integers(1, 6), st.data())
@settings(max_examples=120, deadline=None)
def test_arrays_start_and_cancel_what_the_graph_starts_and_cancels(
    graph: tuple[list[Node], list[Group], dict[str, Reference]], max_size: int, data: st.DataObject
) -> None:
    """Play both through, job by job, with random outcomes: the same can start, the same dies."""
    nodes, groups, placed = graph
    made = arrays.compile(nodes, groups, max_size=max_size, placed=placed)
    truth = {name: (set(w.ok), set(w.ended)) for name, w in plain(nodes, groups).items()}
    ours = compiled(made, placed)
    state = dict.fromkeys([*placed, *truth], "")
    running = set(placed)
    while True:
        _cancel(truth, state)
        shadow = dict(state)
        assert not _cancel(ours, shadow)
        expected = _startable(truth, state) - running

        assert expected == _startable(ours, state) - running

        running |= expected
        if not running:
            break
        done = data.draw(st.sampled_from(sorted(running)))
        running.remove(done)
        state[done] = data.draw(st.sampled_from(["ok", "ok", "failed"]))
    assert all(state.values())


def _startable(
    waits: Mapping[str, tuple[set[str], set[str]]], state: Mapping[str, str]
) -> set[str]:
    return {
        name
        for name, (ok, ended) in waits.items()
        if not state[name] and all(state[n] == "ok" for n in ok) and all(state[n] for n in ended)
    }


def _cancel(waits: Mapping[str, tuple[set[str], set[str]]], state: dict[str, str]) -> bool:
    """Do as --kill-on-invalid-dep=yes until nothing changes; return whether anything did."""
    changed, again = False, True
    while again:
        again = False
        for name, (ok, _) in waits.items():
            if not state[name] and any(state[need] in ("failed", "cancelled") for need in ok):
                state[name] = "cancelled"
                changed = again = True
    return changed


@given(graphs(), st.integers(1, 6))
@settings(max_examples=120, deadline=None)
def test_every_job_is_in_one_array_within_the_limit(
    graph: tuple[list[Node], list[Group], dict[str, Reference]], max_size: int
) -> None:
    nodes, groups, placed = graph
    made = arrays.compile(nodes, groups, max_size=max_size, placed=placed)

    assert sorted(node.id for node in nodes) == sorted(
        name for array in made for name in array.elements.values()
    )
    largest = (
        max(max_size - 1, *(r.index or 0 for r in placed.values())) if placed else max_size - 1
    )
    for number, array in enumerate(made):
        assert list(array.elements) == sorted(array.elements)
        assert max(array.elements) <= largest
        assert all(isinstance(d.on.array, str) or d.on.array < number for d in array.dependencies)


@given(graphs(), st.integers(1, 6))
@settings(max_examples=120, deadline=None)
def test_a_low_limit_on_references_changes_nothing_but_the_joins(
    graph: tuple[list[Node], list[Group], dict[str, Reference]], max_size: int
) -> None:
    """A job that stands for others waits for exactly those others."""
    nodes, groups, placed = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "MAX_REFERENCES", 2)
        made = arrays.compile(nodes, groups, max_size=max_size, placed=placed)
    ours = compiled(made, placed)
    joins = {name for a in made if a.key is None for name in a.elements.values()}

    for name, waits in plain(nodes, groups).items():
        ok, ended = ours[name]
        while hidden := ok & joins:
            for join in hidden:
                ok = ok - {join} | ours[join][0]
        while hidden := ended & joins:
            for join in hidden:
                ended = ended - {join} | ours[join][1]
        assert (set(waits.ok), set(waits.ended)) == (ok, ended - ok)
    for array in made:
        kinds = [d.condition for d in array.dependencies]
        assert kinds.count(Condition.OK) <= 2
        assert kinds.count(Condition.ANY) <= 2


def sweep(count: int, stages: int) -> list[Node]:
    """Chains of equal length, stage by stage."""
    return [
        Node(id=f"{s}-{i}", key=s, needs=(f"{s - 1}-{i}",) if s else ())
        for s in range(stages)
        for i in range(count)
    ]


def test_a_sweep_is_one_array_per_stage_and_cut() -> None:
    made = arrays.compile(sweep(23, 3), max_size=5)

    assert [5, 5, 5, 5, 3] * 3 == [len(array.elements) for array in made]
    assert all(
        array.dependencies == (Dependency(Condition.CORRESPONDING, Reference(n - 5)),)
        for n, array in enumerate(made)
        if n >= 5
    )


@pytest.mark.slow
def test_one_hundred_thousand_jobs_are_few_arrays_in_seconds() -> None:
    """33,333 chains of three and a gather: 34 arrays a stage, the gather behind the last 34."""
    nodes = sweep(33_333, 3)
    gather = Node(id="gather", key="gather", needs=tuple(f"2-{i}" for i in range(33_333)))
    made = arrays.compile([*nodes, gather], max_size=1000)

    assert 3 * 34 + 1 == len(made)
    assert 34 == len(made[-1].dependencies)


def test_jobs_behind_a_whole_run_cost_no_edge_each() -> None:
    """10,000 jobs behind 10,000 jobs: one group, named once."""
    first = [Node(id=f"a{i}", key="a") for i in range(10_000)]
    group = Group(nodes=tuple(node.id for node in first), ok=True)
    second = [Node(id=f"b{i}", key="b", groups=(0,)) for i in range(10_000)]
    made = arrays.compile([*first, *second], [group], max_size=1000)

    assert 20 == len(made)
    assert all(
        [Dependency(Condition.OK, Reference(n)) for n in range(10)] == list(array.dependencies)
        for array in made[10:]
    )


def test_shuffled_roots_of_one_chain_still_get_one_index() -> None:
    """Two roots listed in opposite orders meet element by element, not one array each."""
    a = [Node(id=f"a{i}", key="a") for i in range(50)]
    b = [Node(id=f"b{i}", key="b") for i in reversed(range(50))]
    c = [Node(id=f"c{i}", key="c", needs=(f"a{i}", f"b{i}")) for i in range(50)]
    made = arrays.compile([*a, *b, *c], max_size=1000)

    assert [50, 50, 50] == [len(array.elements) for array in made]
    assert {Dependency(Condition.CORRESPONDING, Reference(n)) for n in (0, 1)} == set(
        made[2].dependencies
    )


@pytest.mark.parametrize(
    ("producers", "per_producer", "expected"),
    [(1, 40, 2), (2, 20, 3), (20, 2, 3), (40, 1, 2)],
    ids=["one feeds all", "two feed halves", "pairs", "one to one"],
)
def test_a_fan_out_takes_the_fewer_arrays(producers: int, per_producer: int, expected: int) -> None:
    nodes = [Node(id=f"a{i}", key="a") for i in range(producers)]
    nodes += [
        Node(id=f"b{i}.{k}", key="b", needs=(f"a{i}",))
        for i in range(producers)
        for k in range(per_producer)
    ]
    assert expected == len(arrays.compile(nodes, max_size=1000))


def test_jobs_behind_elements_of_an_earlier_submission_wait_element_by_element() -> None:
    placed = {f"a{i}": Reference("4711", i) for i in (2, 3, 7)}
    nodes = [Node(id=f"b{i}", key="b", needs=(f"a{i}",)) for i in (2, 3, 7)]
    (made,) = arrays.compile(nodes, max_size=1000, placed=placed)

    assert {2: "b2", 3: "b3", 7: "b7"} == made.elements
    assert (Dependency(Condition.CORRESPONDING, Reference("4711")),) == made.dependencies
