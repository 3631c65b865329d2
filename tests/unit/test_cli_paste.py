"""Commands in messages mean the Lab and the target of the call that prints them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

pytestmark = pytest.mark.slow  # `repx build` starts bash

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

LAB: Final = """\
stages:
  a: {outputs: {o: $out/o}, run: 'echo told >&2; exit 3'}
pipelines: {main: [a]}
runs: {r: {}}
"""
TARGETS: Final = "targets: {one: {base_path: one}, two: {base_path: two}}\ndefault: one\n"


def commands(text: str) -> list[list[str]]:
    """Return what stands between backquotes, as words."""
    return [shlex.split(part) for part in text.split("`")[1::2]]


def test_a_failure_names_a_debug_command_for_the_same_lab_and_target(
    repx: Repx, tmp_path: Path
) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "targets.yaml").write_text(TARGETS)
    repx("build", "-o", "my lab")

    said = repx("run", "-l", "my lab", "--target", "two")

    assert said.code == 1
    (debug,) = (line for line in said.err.splitlines() if line.startswith("  debug: "))
    words = shlex.split(debug.removeprefix("  debug: "), comments=True)
    assert words[:2] == ["repx", "debug-run"]
    assert words[3:] == ["-l", "my lab", "--target", "two"]


def test_hints_of_errors_mean_the_same_lab(repx: Repx, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    repx("build", "-o", "other")

    plain = repx("build") and repx("list", "jobs", "a")
    said = repx("list", "jobs", "a", "-l", "other")

    assert commands(plain.err) == [
        ["repx", "run", "--stage", "a"],
        ["repx", "list", "jobs", "--stage", "a"],
    ]
    assert commands(said.err) == [[*words, "-l", "other"] for words in commands(plain.err)]


def test_the_build_that_is_offered_makes_the_lab_that_is_older(repx: Repx, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(LAB)
    repx("build", "two.yaml", "-o", "second")
    (tmp_path / "two.yaml").write_text(LAB.replace("exit 3", "exit 4"))

    (offered,) = commands(repx("list", "-l", "second").err)
    repx(*offered[1:])

    assert ["repx", "build", "two.yaml", "-o", "second"] == offered
    assert "" == repx("list", "-l", "second").err
