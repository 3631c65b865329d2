"""utils.range counts as `range:` of lab.yaml does, to the last bit."""

from __future__ import annotations

import json
from math import ldexp
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repx.lab.build import build
from repx.lab.load import open_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix"),
]

YAML: Final = """\
stages: {{a: {{parameters: [x], outputs: {{o: $out/o}}, run: 'true'}}}}
pipelines: {{p: [a]}}
runs: {{{runs}}}
"""
MISTAKES: Final = [
    (
        "3 1",
        (
            "the range from 3 to 1 is empty: write range { from = 3; to = 1; step = -1; } to "
            "count down"
        ),
    ),
    (
        "{ from = 0; to = 1; step = 0; }",
        "the range from 0 to 1 in steps of 0 is 0: it never reaches its end",
    ),
    ("{ from = 0; }", "it needs two numbers, or { from = 0; to = 1; step = 0.25; }"),
    ("{ from = 0; to = 2; stp = 1; }", "unknown attribute 'stp', did you mean 'step'?"),
    ("1 20000000", "the range from 1 to 20000000 has 20000000 values, more than 10000000"),
    ('1 "3"', "it needs numbers, not a string"),
    ("{ from = 1.0e-30; to = 1; }", "1e-30 has too many digits to count with"),
    ("0 9000000000000000000", "has too many digits to count with"),
]

decimals = st.decimals(-1000, 1000, allow_nan=False, places=3).map(float)
numbers = st.one_of(st.integers(-1000, 1000), decimals)


def in_nix(number: float) -> str:
    """Return a number as Nix writes it, which has no negative ones."""
    return f"({number})" if number >= 0 else f"(0 - {abs(number)})"


@st.composite
def bounds(draw: st.DrawFn) -> tuple[float, float, float]:
    first, step = draw(numbers), draw(numbers.filter(lambda step: abs(step) > 0.1))
    last = round(first + step * draw(st.integers(0, 9)) + draw(st.sampled_from([0, step / 3])), 4)
    return first, last, step


def of_yaml(ranges: list[tuple[float, float, float]], folder: Path) -> list[list[Any]]:
    """Return the values that a lab.yaml's ranges give."""
    runs = ", ".join(
        f"r{index}: {{parameters: {{x: {{range: {json.dumps(each)}}}}}}}"
        for index, each in enumerate(ranges)
    )
    source = folder / "lab.yaml"
    source.write_text(YAML.format(runs=runs), encoding="utf-8")
    lab = open_lab(build(source, folder / "result", lambda *_: None).path).lab
    return [
        sorted(lab.jobs[job].params["x"] for job in lab.runs[f"r{index}"].jobs)
        for index in range(len(ranges))
    ]


@settings(max_examples=4, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.lists(bounds(), min_size=40, max_size=40))
def test_both_forms_count_alike(
    nix: Nix, tmp_path_factory: pytest.TempPathFactory, ranges: list[tuple[float, float, float]]
) -> None:
    asked = " ".join(
        "(repx.utils.range { "
        f"from = {in_nix(first)}; to = {in_nix(last)}; step = {in_nix(step)}; }})"
        for first, last, step in ranges
    )
    run = f'map (x: {{ name = "r"; pipelines = [ ]; parameters = {{ inherit x; }}; }}) [ {asked} ]'
    body = f"map (run: (repx.runs2Lab [ run ]).blueprint.runs) ({run})"

    sent = [runs[0]["parameter_axes"]["x"] for runs in nix.value(body)]

    counted = [
        sorted(ldexp(*each["$float"]) if isinstance(each, dict) else each for each in values)
        for values in sent
    ]
    wanted = of_yaml(ranges, tmp_path_factory.mktemp("yaml"))
    # `repr` tells 1 from 1.0; -0.0 is 0.0 here, since Nix has no such number to write.
    assert [[repr(value + 0) for value in values] for values in wanted] == [
        [repr(value + 0) for value in values] for values in counted
    ]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[each[0] for each in MISTAKES])
def test_a_mistake_is_named(nix: Nix, words: str, message: str) -> None:
    told = nix.mistake(f"repx.utils.range {words}")

    assert told.startswith("error: repx: utils.range: ")
    assert message in told
