"""Mistakes in the programs, phases, files and defaults of stages are named with their place."""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx.errors import InputError, ProblemsError
from repx.lab.build import build
from repx.lab.load import open_lab
from tests.mistakes import GOOD, bash, mistakes, warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow  # each starts a process


# --- scatter-gather ---------------------------------------------------------------------------

SCATTER: Final = """\
stages:
  s:
    scatter:
      run: echo "[1]" > "${outputs[work__items]}"
    steps:
      one:
        inputs: [worker__item]
        outputs: {x: $out/x}
        run: cp "${inputs[worker__item]}" "${outputs[x]}"
      two:
        deps: [one]
        inputs: [x]
        outputs: {y: $out/y}
        run: cp "${inputs[x]}" "${outputs[y]}"
    gather:
      outputs: {z: $out/z}
      run: cp "${inputs[worker__outs]}" "${outputs[z]}"
pipelines: {main: [s]}
runs: {r: {}}
"""
SCATTER_CHANGES: Final = {
    "no steps": ("    steps:\n", "    gathers:\n", "lab.yaml:5:5: unknown key 'gathers'"),
    "unknown step": (
        "deps: [one]",
        "deps: [on]",
        "lab.yaml:11:16: step 'two' of stage 's' cannot read 'on', which is not there, did you",
    ),
    "cycle": (
        "inputs: [worker__item]",
        "inputs: [worker__item, y]\n        deps: [two]",
        "lab.yaml:5:5: stage 's': steps depend on each other: one -> two -> one",
    ),
    "no work item": (
        "inputs: [worker__item]",
        "inputs: []",
        "lab.yaml:5:5: stage 's': no step without 'deps' has the input 'worker__item'",
    ),
    "two last steps": (
        "deps: [one]\n        inputs: [x]",
        "inputs: [worker__item]",
        "lab.yaml:5:5: stage 's': one step must come last, but nothing needs any of: one, two",
    ),
    "two last outputs": (
        "{y: $out/y}",
        "{y: $out/y, w: $out/w}",
        "lab.yaml:5:5: stage 's': step 'two' comes last, so it must have exactly one output",
    ),
    "input nobody provides": (
        "inputs: [x]",
        "inputs: [x, xx]",
        "lab.yaml:10:7: step 'two' of stage 's': nothing provides its input 'xx'",
    ),
    "run beside scatter": (
        "    scatter:",
        "    run: echo\n    scatter:",
        "lab.yaml:3:5: in a scatter-gather stage, 'run' belongs to scatter, a step or gather",
    ),
    "work item of a simple stage": (
        "pipelines:",
        "  t: {inputs: [worker__item], run: ':'}\npipelines:",
        "lab.yaml:18:7: only steps have the input 'worker__item'",
    ),
}


def test_a_missing_phase_is_named(tmp_path: Path) -> None:
    text = SCATTER[: SCATTER.index("    gather:")] + SCATTER[SCATTER.index("pipelines:") :]

    assert "lab.yaml:2:3: stage 's': 'gather' is missing" in mistakes(tmp_path, text)


@pytest.mark.parametrize("name", SCATTER_CHANGES)
def test_a_mistake_in_scatter_gather_is_named(tmp_path: Path, name: str) -> None:
    old, new, message = SCATTER_CHANGES[name]
    assert SCATTER.count(old) == 1

    found = mistakes(tmp_path, SCATTER.replace(old, new))

    assert any(message in problem for problem in found), found


# --- files ------------------------------------------------------------------------------------


def test_a_missing_lab_yaml_names_the_way_to_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        build(tmp_path / "lab.yaml", tmp_path / "result", bash)

    assert caught.value.hint == "`repx init` writes one to start from, in a new folder"


@pytest.mark.needs("shellcheck")
def test_shellcheck_warns_and_its_errors_stop_the_build(tmp_path: Path) -> None:
    def tool(argv: Sequence[str], stdin: str) -> tuple[int, str]:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    doubtful = GOOD.replace('cat "${inputs[o]}"', 'y=1\n      cd sub\n      cat "${inputs[o]}"')
    (tmp_path / "lab.yaml").write_text(doubtful, encoding="utf-8")
    built = build(tmp_path / "lab.yaml", tmp_path / "result", tool)
    wrong = GOOD.replace('cat "${inputs[o]}"', 'for x in $(ls *.o "${inputs[o]}"); do :; done')
    (tmp_path / "lab.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        build(tmp_path / "lab.yaml", tmp_path / "result", tool)

    assert [problem.line for problem in built.warnings] == [13]
    assert "shellcheck SC2034" in built.warnings[0].message
    assert [problem.line for problem in caught.value.problems] == [13]
    assert "shellcheck SC2045" in str(caught.value)


# --- defaults of connected stages -------------------------------------------------------------

DEFAULTS: Final = """\
stages:
  a: {parameters: {n: A}, outputs: {o: $out/o}, run: 'echo "${parameters[n]}" > "${outputs[o]}"'}
  b: {parameters: {n: B}, outputs: {p: $out/p}, run: 'echo "${parameters[n]}" > "${outputs[p]}"'}
  c:
    parameters: {n: C}
    inputs: [o, p]
    outputs: {q: $out/q}
    run: 'cat "${inputs[o]}" "${inputs[p]}"; echo "${parameters[n]}" > "${outputs[q]}"'
pipelines: {main: [a, b, c]}
runs: {r: {parameters: GIVEN}}
"""


def defaults(a: str, b: str, c: str, given: str = "{}") -> str:
    parts = {"A": a, "B": b, "C": c, "GIVEN": given}
    return functools.reduce(lambda text, part: text.replace(*part), parts.items(), DEFAULTS)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (defaults("1", "1", "2"), [(5, 2), (5, 3)]),
        (defaults("1", "2", "{}"), [(3, 2)]),  # both are upstream of c
        (defaults("1", "true", "{}"), [(3, 2)]),
        (defaults("1", "1", "2", "{n: [null, 3]}"), [(5, 2), (5, 3)]),
        (defaults("1", "1", "2", "{a.n: 2}"), [(5, 3)]),
        (defaults("1", "1.0", "{}"), []),
        (defaults("1", "2", "3", "{n: [4, 5]}"), []),
        (defaults("1", "2", "3", "{a.n: 4, b.n: 4}"), []),
        (defaults("{}", "7", "{}"), []),
        (defaults("null", "null", "{}", "{n: 4}"), []),
    ],
    ids=str,
)
def test_different_defaults_of_connected_stages_are_a_mistake(
    tmp_path: Path, text: str, lines: list[tuple[int, int]]
) -> None:
    if not lines:
        assert [] == warnings(tmp_path, text)
        return
    found = mistakes(tmp_path, text)

    assert len(lines) == len(found)
    for (here, there), message in zip(lines, found, strict=True):
        assert message.startswith(f"lab.yaml:{here}:")
        assert f"(line {there}), which are connected: write `n: {{}}` in one of them" in message


def test_stages_that_are_not_connected_may_have_other_defaults(tmp_path: Path) -> None:
    text = defaults("1", "2", "1").replace("inputs: [o, p]", "inputs: [o]")

    assert [] == warnings(tmp_path, text.replace(' "${inputs[p]}"', ""))


def test_an_inherited_default_is_the_others(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(defaults("{}", "7", "{}"), encoding="utf-8")
    build(tmp_path / "lab.yaml", tmp_path / "result", bash)

    jobs = open_lab(tmp_path / "result").lab.jobs.values()
    # a and b are connected by c alone, which hands b's default on.
    assert {"a": 7, "b": 7, "c": 7} == {job.stage: job.params["n"] for job in jobs}


# --- files that are no programs and no data -----------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf#!/bin/sh\n", "'p.sh' begins with a byte order mark"),
        ("#!/bin/sh\n".encode("utf-16"), "'p.sh' begins with the byte order mark of UTF-16"),
    ],
)
def test_a_program_with_a_byte_order_mark_is_told_so(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "p.sh").write_bytes(content)
    (found,) = mistakes(tmp_path, re.sub(r"run: \|\n +echo.*", "script: p.sh", GOOD))

    assert f"lab.yaml:6:5: {message}" in found


@pytest.mark.parametrize("kind", ["fifo", "socket"])
@pytest.mark.parametrize("scan", ["files: 'd/*'", "dirs: d"])
def test_a_fifo_or_socket_in_a_scan_is_a_mistake(tmp_path: Path, kind: str, scan: str) -> None:
    (tmp_path / "d").mkdir()
    place = tmp_path / "d/x"
    if kind == "fifo":
        os.mkfifo(place)
    else:
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(os.path.relpath(place))
    (found,) = mistakes(tmp_path, GOOD.replace("x: [1, 2]", f"x: {{{scan}}}"))

    assert "is neither a file nor a folder" in found


def test_a_place_for_shared_parts_is_no_mistake(tmp_path: Path) -> None:
    text = "x-shared: &shared {cpus: 1}\n" + GOOD.replace(
        "    inputs: [o]", "    inputs: [o]\n    resources: *shared"
    )

    assert [] == warnings(tmp_path, text)
