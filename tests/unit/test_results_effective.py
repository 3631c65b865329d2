"""Effective parameters: what a job inherits from the jobs before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repx.results.effective import effective

Graph = dict[str, tuple[dict[str, object], list[str]]]


def merged(graph: Graph) -> dict[str, dict[str, object]]:
    return effective({job: graph[job][0] for job in graph}, lambda job: graph[job][1])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw jobs that need only earlier ones, listed in any order."""
    size = draw(st.integers(0, 7))
    values: st.SearchStrategy[object] = st.integers(0, 9)
    params = st.dictionaries(st.sampled_from("xyz"), values)
    graph: Graph = {}
    for number in range(size):
        needs = draw(st.lists(st.sampled_from(list(graph)), unique=True)) if graph else []
        graph[str(number)] = (draw(params), needs)
    return {job: graph[job] for job in draw(st.permutations(list(graph)))}


@given(graphs())
def test_is_what_the_format_says(graph: Graph) -> None:
    def told(job: str) -> dict[str, object]:
        params, needs = graph[job]
        found: dict[str, object] = {}
        for need in needs:
            found |= told(need)
        return found | params

    assert merged(graph) == {job: told(job) for job in graph}


def test_own_parameter_wins_over_the_upstream_of_this_name() -> None:
    graph: Graph = {"a": ({"x": 1, "y": 1}, []), "b": ({"x": 2}, ["a"]), "c": ({}, ["b"])}

    assert merged(graph)["c"] == {"x": 2, "y": 1}


def test_later_upstream_wins() -> None:
    graph: Graph = {"a": ({"x": 1}, []), "b": ({"x": 2}, []), "c": ({}, ["b", "a"])}

    assert merged(graph)["c"] == {"x": 1}


def test_cycle_and_unknown_job_contribute_nothing() -> None:
    graph: Graph = {"a": ({"x": 1}, ["b", "gone"]), "b": ({"y": 2}, ["a"])}

    assert merged(graph)["a"] == {"x": 1, "y": 2}


def test_chain_may_be_longer_than_the_stack() -> None:
    graph: Graph = {"0": ({"first": 1}, [])}
    graph |= {str(n): ({}, [str(n - 1)]) for n in range(1, 20_000)}

    assert merged(dict(reversed(graph.items())))["19999"] == {"first": 1}
