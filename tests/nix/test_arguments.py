"""Which arguments functions of a definition get: those they name, or all where they take any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.nix.machine import Nix

pytestmark = [
    pytest.mark.xdist_group("nix"),
    pytest.mark.real,
    pytest.mark.needs("nix"),
]

RUNS: Final = (
    "{ pkgs, repx-lib, ... }: %s repx-lib",
    "{ pkgs, ... }@args: %s args.repx-lib",
    "args: %s args.repx-lib",
    "{ jq, ... }@all: %s all.repx-lib",
)
MAKE: Final = (
    '(lib: { name = "r"; pipelines = [ { a = lib.callStage stage [ ]; } ]; '
    "parameters.n = lib.utils.range 1 3; })"
)
WORDS: Final = (
    '{ outputs, parameters, ... }: "${parameters.n} ${outputs.o}"',
    '{ inputs, outputs, parameters, pkgs }: "${parameters.n} ${outputs.o}"',
    '{ outputs, ... }@it: "${it.parameters.n} ${it.outputs.o}"',
    'it: "${it.params.n} ${it.outputs.o}"',
    '{ ... }@it: "${it.params.n} ${it.outputs.o}"',
)


def stage(run: str) -> str:
    return f'{{ pkgs }}: {{ parameters = [ "n" ]; outputs.o = "$out/o"; run = {run}; }}'


@pytest.mark.parametrize("run", RUNS)
def test_a_run_file_gets_the_library_as_it_asks(nix: Nix, run: str) -> None:
    body = (
        f"let stage = {stage(WORDS[0])}; in (repx.mkLab {{ inherit pkgs; "
        f"runs.r = repx.callRun ({run % MAKE}) [ ]; }}).lab.blueprint.runs"
    )

    (made,) = nix.value(body)

    assert made["parameter_axes"] == {"n": [1, 2, 3]}


@pytest.mark.parametrize("run", WORDS)
def test_the_lines_of_a_stage_get_what_they_ask_for(nix: Nix, run: str) -> None:
    body = (
        f'(repx.runs2Lab [ {{ name = "r"; parameters.n = [ 1 ]; '
        f"pipelines = [ {{ a = repx.callStage ({stage(run)}) [ ]; }} ]; }} ]).blueprint.runs"
    )

    (made,) = nix.value(body)

    (found,) = made["pipelines"][0]["stages"]
    lines = found["executables"]["main"]["script"]["body"]["lines"]
    assert lines == "${parameters[n]} $out/o"


@pytest.mark.parametrize("ask", ["{ parameters }", "{ parameters, ... }", "{ params }", "it"])
def test_a_function_of_parameters_gets_them(nix: Nix, ask: str) -> None:
    given = {"it": "it.parameters", "{ params }": "params"}.get(ask, "parameters")
    function = f'{ask}: "a-${{toString {given}.n}}"'
    with_name = stage(WORDS[0]).replace("run = ", f"pname = {function}; run = ", 1)
    body = (
        f'(repx.runs2Lab [ {{ name = "r"; parameters.n = [ 1 2 ]; '
        f"pipelines = [ {{ a = repx.callStage ({with_name}) [ ]; }} ]; }} ]).blueprint.runs"
    )

    (made,) = nix.value(body)

    (found,) = made["pipelines"][0]["stages"]
    assert ["a-1", "a-2"] == [leaf["leaf"]["pname"] for _, leaf in found["variants"]["cases"]]


def test_the_input_of_a_flake_names_the_revision_of_its_packages(nix: Nix) -> None:
    source = f"outPath = toString {nix.packages};"
    flake = f'{{ {source} inputs.some = {{ outPath = %s; rev = "c0ffee"; }}; }}'
    body = (
        "repx.runs2Lab {{ inherit pkgs; flake = {}; hostTools = false; "
        'runs = [ {{ name = "r"; pipelines = [ ]; }} ]; }}'
    )
    known = body.format(flake % "toString pkgs.path")
    other = body.format(flake % '"/elsewhere"')

    assert nix.value(f"({known}).blueprint.provenance.nixpkgs") == "c0ffee"
    assert nix.value(f"({other}).blueprint.provenance.nixpkgs") == "mini"
