"""An error of a job's program names the user's own line, not only the store's copy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from repx.lab import origin
from repx.lab.build import build

LAB: Final = """\
stages:
  lines:
    outputs: {o: $out/o}
    run: |
      x=1

      nosuchcommand "$x" > "${outputs[o]}"
  flow: {outputs: {p: $out/p}, run: 'echo "$undefined" > "${outputs[p]}"'}
  program: {outputs: {q: $out/q}, script: src/fit.py, files: [src/more.sh]}
  many:
    inputs: [o]
    scatter: {run: 'echo "[1]" > "${outputs[work__items]}"'}
    steps:
      one:
        inputs: [worker__item]
        outputs: {s: $out/s}
        run: |-
          false
          nosuchstep
    gather: {outputs: {g: $out/g}, run: ': > "${outputs[g]}"'}
pipelines: {main: [lines, flow, program, many]}
runs: {r: {}}
"""
PYTHON: Final = """\
#!/usr/bin/env python3
import json


def load():
    return json.loads("{")


load()
"""


def no_tool(argv: object, stdin: str) -> None:
    del argv, stdin


@pytest.fixture
def link(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/fit.py").write_text(PYTHON)
    (tmp_path / "src/more.sh").write_text("#!/bin/sh\n")
    (tmp_path / "lab.yaml").write_text(LAB)
    build(tmp_path / "lab.yaml", tmp_path / "result", no_tool)
    return tmp_path / "result"


def script(link: Path, text: str) -> tuple[Path, int]:
    """Return the script that holds a line, and the number of the line in it."""
    for path in (link / "store").iterdir():
        if path.is_file() and text in path.read_text():
            return path, path.read_text().partition(text)[0].count("\n") + 1
    raise AssertionError(text)


def place(link: Path, text: str, shift: int = 0) -> str | None:
    path, line = script(link, text)
    said = f"/b/artifacts/store/{path.name}: line {line + shift}: x: command not found\n"
    return (origin.of(f"before\n{said}", link) or "").removeprefix(f"{link.parent}/") or None


def test_a_line_of_bash_is_that_of_the_definition(link: Path) -> None:
    assert "lab.yaml:7" == place(link, "nosuchcommand")
    assert "lab.yaml:5" == place(link, "x=1")
    assert "lab.yaml:8" == place(link, "$undefined")
    assert "lab.yaml:19" == place(link, "nosuchstep")


def test_lines_that_are_not_the_users_are_passed_over(link: Path) -> None:
    assert place(link, "x=1", -1) is None
    assert place(link, "nosuchcommand", 3) is None
    assert origin.of("/b/store/00000000000000000000000000000000-x: line 3: y", link) is None
    assert origin.of("/usr/lib/x.py: line 3: y", link) is None
    assert origin.of("", link) is None


def test_a_definition_that_has_changed_is_told(link: Path) -> None:
    definition = link.parent / "lab.yaml"
    definition.write_text(f"# one line more\n{LAB}")
    assert "lab.yaml:8" == place(link, "nosuchcommand")
    definition.write_text(LAB.replace("x=1", "x=2"))
    changed = f"({definition} has changed since)"
    assert f"line 3 of the `run:` lines of lines {changed}" == place(link, "nosuchcommand")
    definition.write_text("{")
    assert f"line 2 of the `run:` lines of many, step-one {changed}" == place(link, "nosuchstep")


@pytest.mark.slow
def test_a_traceback_names_the_users_file(link: Path) -> None:
    (copy,) = (link / "store").glob("*/src/fit.py")
    said = subprocess.run(
        [sys.executable, copy.resolve()], capture_output=True, text=True, check=False
    )
    found = origin.of(said.stderr, link)

    own = link.parent / "src/fit.py"
    assert f"{own}:6" == found
    own.write_text(f"{PYTHON}# more\n")
    assert f"{own}:6 (the file has changed since)" == origin.of(said.stderr, link)
    own.unlink()
    assert origin.of(said.stderr, link) is None


@pytest.mark.parametrize(
    "words",
    ["{}: line 3: x", '  File "{}", line 3, in f', "at {} line 3.", "Error in {}:3: x", "{}:3"],
)
def test_places_of_many_languages_are_understood(link: Path, words: str) -> None:
    (copy,) = (link / "store").glob("*/src/more.sh")

    own = link.parent / "src/more.sh"
    assert f"{own}:3" == origin.of(words.format(copy), link)


def test_a_lab_of_somebody_elses_has_no_origin(link: Path, tmp_path: Path) -> None:
    text = f"{script(link, 'x=1')[0]}: line 80: x"

    assert origin.of(text, tmp_path / "nowhere") is None
    assert origin.of(text, link.resolve()) is None
    assert re.search("line", text)


def test_a_phase_is_started_by_its_own_name(link: Path) -> None:
    """Steps run as `jobs/ID/bin/NAME`, a link into the store."""
    path, line = script(link, "nosuchstep")
    (phase,) = (each for each in link.glob("jobs/*/bin/*") if each.readlink().name == path.name)

    said = f"/b/labs/x/{phase.relative_to(link)}: line {line}: nosuchstep: command not found\n"

    assert origin.of(said, link) == f"{link.parent}/lab.yaml:19"
