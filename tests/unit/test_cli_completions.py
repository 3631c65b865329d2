"""`repx completions`: what TAB offers, in a real bash."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

pytestmark = pytest.mark.slow  # each starts a process

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

BASH: Final = """
repx() { %s -m repx "$@"; }
eval "$(repx completions bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_repx_completion repx
((${#COMPREPLY[@]} == 0)) || printf '%%s\\n' "${COMPREPLY[@]}"
""" % shlex.quote(sys.executable)  # noqa: UP031  # the script is full of braces


def tab(folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *words],
        cwd=folder,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder)},
        text=True,
        capture_output=True,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["repx", "l"], ["log", "list"]),
        (["repx", "list", "gr"], ["groups"]),
        (["repx", "viz", "--format", "p"], ["png", "pdf"]),
        (["repx", "run", "sim"], ["simulation-run"]),
        (["repx", "run", "@c"], ["@compute"]),
        (["repx", "show", "job", ""], ["simulation-run", "analysis-run"]),
        (["repx", "log", "15"], ["15h0xgj4swj9gxrrkkvv867l55w1n9hq-stage-a-generate-1.0"]),
        (["repx", "log", "15h0xgj4swj9-s"], ["15h0xgj4swj9-stage-a-generate-1.0"]),
        (["repx", "run", "--stage", "stage-a"], ["stage-a-generate", "stage-analysis"]),
        (["repx", "run", "--target", "c"], ["cluster"]),
        (["repx", "list", "jobs", "--status", "s"], ["succeeded", "stale", "skipped"]),
        (["repx", "-l", "nowhere", "run", ""], []),
        (["repx", "completions", "f"], ["fish"]),
    ],
    ids=" ".join,
)
def test_bash_offers(
    labs: Path, ran: Path, tmp_path: Path, words: list[str], offered: list[str]
) -> None:
    (tmp_path / "result").symlink_to(labs / "simple-two-runs")
    (tmp_path / "targets.yaml").symlink_to(ran / "targets.yaml")

    assert offered == tab(tmp_path, *words)


def test_names_with_blanks_are_quoted(labs: Path, tmp_path: Path) -> None:
    shutil.copytree(labs / "simple-two-runs", tmp_path / "result", symlinks=True)
    root = tmp_path / "result/revision/metadata-top.json"
    root.write_text(root.read_text(encoding="utf-8").replace('"all":', '"two words":'), "utf-8")

    assert ["@two\\ words"] == tab(tmp_path, "repx", "run", "@t")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_printed_for_each_shell(repx: Repx, shell: str) -> None:
    said = repx("completions", shell)

    assert (0, "") == (said.code, said.err)
    assert f"_REPX_COMPLETE={shell}_complete" in said.out


@pytest.mark.needs("shellcheck")
def test_bash_script_has_no_flaws(repx: Repx) -> None:
    script = repx("completions", "bash").out

    done = subprocess.run(
        ["shellcheck", "--shell=bash", "-"],
        input=script,
        text=True,
        capture_output=True,
        check=False,
    )
    assert "" == done.stdout


def test_the_shell_may_be_an_option(repx: Repx) -> None:
    assert repx("completions", "zsh") == repx("completions", "--shell", "zsh")
    assert "error: name a shell: bash, zsh, fish\n" in repx("completions").err
