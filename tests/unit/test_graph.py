"""Facts about graphs, held against networkx where it knows them too."""

from __future__ import annotations

import itertools

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repx import graph
from repx.errors import GraphError

Needs = dict[int, tuple[int, ...]]


@st.composite
def acyclic(draw: st.DrawFn) -> Needs:
    """Each node needs only smaller ones; the mapping's order is any."""
    nodes = draw(st.permutations(range(draw(st.integers(0, 12)))))
    return {
        node: tuple(draw(st.sets(st.integers(0, node - 1), max_size=4)) if node else ())
        for node in nodes
    }


@st.composite
def any_graph(draw: st.DrawFn) -> Needs:
    size = draw(st.integers(1, 8))
    node = st.integers(0, size - 1)
    return {each: tuple(draw(st.sets(node, max_size=3))) for each in range(size)}


def as_networkx(needs: Needs) -> nx.DiGraph[int]:
    known: nx.DiGraph[int] = nx.DiGraph()
    known.add_nodes_from(needs)
    known.add_edges_from((node, need) for node, wanted in needs.items() for need in wanted)
    return known


@given(acyclic())
def test_order_puts_every_need_first_and_is_stable(needs: Needs) -> None:
    place = {node: index for index, node in enumerate(graph.order(needs))}

    assert sorted(needs) == sorted(place)
    assert all(place[need] < place[node] for node in needs for need in needs[node])
    assert graph.order(needs) == graph.order(dict(needs))


def test_order_keeps_independent_nodes_as_they_come() -> None:
    assert ("b", "a", "c") == graph.order({"b": (), "a": (), "c": ()})


@given(any_graph())
def test_a_cycle_is_found_exactly_when_there_is_one(needs: Needs) -> None:
    cycle = graph.find_cycle(needs)

    assert (cycle is None) is nx.is_directed_acyclic_graph(as_networkx(needs))
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(need in needs[node] for node, need in itertools.pairwise(cycle))


def test_a_node_that_needs_itself_is_a_cycle() -> None:
    assert ["a", "a"] == graph.find_cycle({"a": ("a",)})


def test_order_of_a_cycle_names_it() -> None:
    with pytest.raises(GraphError, match="circle: b -> c -> b"):
        graph.order({"a": ("b",), "b": ("c",), "c": ("b",)})


def test_a_need_that_is_no_node_is_named() -> None:
    with pytest.raises(GraphError, match="a needs ghost, which does not exist"):
        graph.order({"a": ("ghost",)})


@given(acyclic(), st.data())
def test_closure_is_all_that_can_be_reached(needs: Needs, data: st.DataObject) -> None:
    start = data.draw(st.sets(st.sampled_from(sorted(needs)))) if needs else set()
    known = as_networkx(needs)

    assert start.union(*(nx.descendants(known, node) for node in start)) == graph.closure(
        needs, start
    )


@given(acyclic(), st.data())
def test_closure_over_dependents_is_all_that_reaches(needs: Needs, data: st.DataObject) -> None:
    start = data.draw(st.sets(st.sampled_from(sorted(needs)))) if needs else set()
    known = as_networkx(needs)

    assert start.union(*(nx.ancestors(known, node) for node in start)) == graph.closure(
        graph.dependents(needs), start
    )


def test_finals_are_members_that_no_other_member_needs() -> None:
    needs = {"a": (), "b": ("a",), "c": ("b",), "outside": ("b", "c")}

    assert ("c",) == graph.finals(needs, ("a", "b", "c"))
    assert ("a",) == graph.finals(needs, ("a",))


@given(acyclic())
def test_components_are_the_weakly_connected_parts(needs: Needs) -> None:
    parts = graph.components(needs)
    position = {node: index for index, node in enumerate(needs)}

    assert {frozenset(part) for part in parts} == {
        frozenset(part) for part in nx.weakly_connected_components(as_networkx(needs))
    }
    assert all(part == sorted(part, key=position.__getitem__) for part in parts)


def test_a_chain_of_a_hundred_thousand_needs_no_recursion() -> None:
    last = 99_999
    needs = {node: (node - 1,) if node else () for node in range(last + 1)}

    assert tuple(range(last + 1)) == graph.order(needs)
    assert last + 1 == len(graph.closure(needs, [last]))
    assert graph.find_cycle(needs) is None
    assert 1 == len(graph.components(needs))
    assert last + 2 == len(graph.find_cycle({**needs, 0: (last,)}) or ())
