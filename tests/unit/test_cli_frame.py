"""What every command shares: options, exit codes, errors with a way out."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import pytest

from repx import __version__, console
from repx.cli import group
from repx.cli.context import Context, command
from repx.errors import InputError, Problem, ProblemsError, RepxError

Repx: TypeAlias = Callable[..., Any]  # see conftest.py
Given: TypeAlias = Callable[[Callable[..., Any]], None]

REPX: Final = [sys.executable, "-m", "repx"]
NOT_WHOLE: Final = (
    "this installation of repx cannot be read in full: no repx.seen\n"
    "hint: install repx again, or ask whoever installed it to let you read it"
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Return what puts a function in the place of ``repx list``."""

    def put(function: Callable[..., Any]) -> None:
        made = command(examples="none", name="list")(function)
        monkeypatch.setattr("repx.cli.list.list_", made)

    return put


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["-v", "-V"]])
def test_version_is_told(repx: Repx, words: list[str]) -> None:
    assert repx(*words) == (0, f"repx {__version__}\n", "")


def test_no_command_shows_the_help(repx: Repx) -> None:
    said = repx()

    assert said.code == 0
    assert all(name in said.out for name in group.COMMANDS)


def test_unknown_command_suggests_the_nearest(repx: Repx) -> None:
    assert repx("lst") == (2, "", "error: unknown command 'lst'\nhint: did you mean 'list'?\n")


def test_unknown_subcommand_suggests_the_nearest(repx: Repx) -> None:
    said = repx("list", "job")

    assert said.code == 2
    assert said.err == "error: unknown command 'repx list job'\nhint: did you mean 'jobs'?\n"


def test_unknown_option_names_the_help(repx: Repx) -> None:
    said = repx("list", "--bogus")

    assert said.code == 2
    assert said.err.endswith("hint: `repx list --help` shows how\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--lab", "x", "--target", "t", "--json", "-v", "list"],
        ["list", "--lab", "x", "--target", "t", "--json", "-v"],
        ["--lab", "other", "--target", "t", "list", "--lab", "x", "--json", "-v"],
    ],
    ids=["before", "after", "the one after wins"],
)
def test_common_options_stand_before_or_after_the_command(
    repx: Repx, given: Given, words: list[str]
) -> None:
    seen: list[Context] = []
    given(seen.append)

    assert repx(*words).code == 0
    assert [Context(lab_path=Path("x"), target_name="t", json=True, verbose=1)] == seen


def test_common_options_reach_a_command_below_a_group(repx: Repx, labs: Path) -> None:
    said = repx("--lab", "nowhere", "list", "--json", "groups", "--lab", labs / "simple-two-runs")

    assert said.code == 0
    assert '"compute"' in said.out


def raising(error: BaseException) -> Callable[[Context], None]:
    """Return a command's function that fails."""

    def fail(_: Context) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [
        (InputError("no a", hint="a b"), 2, "error: no a\nhint: a b\n"),
        (RepxError("no a"), 3, "error: no a\n"),
        (
            ProblemsError(
                [Problem("f", 2, 1, "b"), Problem("f", 1, 0, "a")],
                hint="h",
            ),
            2,
            "error: f:1: a\nerror: f:2:1: b\nhint: h\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (PermissionError(13, "Permission denied", "/x"), 3, "error: Permission denied: /x\n"),
        (
            ModuleNotFoundError("no repx.seen"),
            3,
            f"error: {NOT_WHOLE}\n",
        ),
        (
            click.UsageError("No such thing."),
            2,
            "error: No such thing\nhint: `repx list --help` shows how\n",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_kind_of_error_has_its_exit_code(
    repx: Repx, given: Given, error: BaseException, code: int, err: str
) -> None:
    given(raising(error))

    assert repx("list") == (code, "", err)


def test_a_package_that_cannot_be_read_is_no_bug(
    repx: Repx, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_init").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    given(lambda _: importlib.import_module("without_init").Something)

    said = repx("list")

    assert said.code == 3
    assert "cannot be read in full: module 'without_init' has no attribute" in said.err


def test_a_bug_shows_a_traceback_and_what_to_report(repx: Repx, given: Given) -> None:
    given(raising(ValueError("oops")))

    said = repx("list", "--lab", "a b")

    assert said.code == 70
    assert "ValueError: oops" in said.err
    assert "error: this is a bug in repx" in said.err
    assert "repx list --lab 'a b'" in said.err


def test_twice_verbose_shows_where_an_error_comes_from(repx: Repx, given: Given) -> None:
    given(raising(RepxError("no a")))

    assert "Traceback" not in repx("list", "-v").err
    assert "Traceback" in repx("list", "-vv").err


def test_exit_code_is_what_a_command_returns(repx: Repx, given: Given) -> None:
    given(lambda _: 1)

    assert repx("list").code == 1


def test_control_characters_in_an_error_are_shown_not_obeyed(repx: Repx, given: Given) -> None:
    given(raising(InputError("a\x1b[31mb\x07")))

    assert repx("list").err == "error: a\\x1b[31mb\\x07\n"


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(labs: Path) -> None:
    shell = (
        f"{sys.executable} -m repx list jobs -l {labs / 'sweep'} | true; echo ${{PIPESTATUS[0]}}"
    )

    done = subprocess.run(["bash", "-c", shell], text=True, capture_output=True, check=True)

    assert done.stdout in ("141\n", "0\n")  # 0: all was written before the reader left
    assert done.stderr == ""


FULL: Final = "error: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("words", "streams", "code", "err"),
    [
        ("list -l sweep", ">/dev/full", 3, FULL),
        ("list -l sweep", ">&-", 0, ""),
        ("list -l sweep", "2>&-", 0, ""),
        ("--version", ">/dev/full", 3, FULL),
        ("--version", ">&-", 0, ""),
        ("--help", ">/dev/full", 3, FULL),
        ("list --nonsense", "2>/dev/full", 2, ""),
        ("list nothing", ">/dev/full 2>&1", 2, ""),
    ],
)
def test_streams_that_cannot_be_written(
    labs: Path, unbuffered: str, words: str, streams: str, code: int, err: str
) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    shell = f"{sys.executable} -m repx {words} {streams}"

    done = subprocess.run(
        ["bash", "-c", shell],
        env=env,
        cwd=labs,
        text=True,
        capture_output=True,
        check=False,
    )

    assert (code, err) == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("result", "code"), [(0, 3), (1, 1)], ids=["nothing else is wrong", "jobs failed"]
)
def test_what_cannot_be_said_on_stderr_changes_no_other_exit_code(
    repx: Repx, given: Given, monkeypatch: pytest.MonkeyPatch, result: int, code: int
) -> None:
    def talk(_: Context) -> int:
        console.note("some talk")
        console.out("data")
        return result

    given(talk)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)

        said = repx("list")

    assert (code, "data\n") == said[:2]


@pytest.mark.slow
def test_output_survives_a_locale_without_unicode() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}

    done = subprocess.run(
        [*REPX, "list", "-l", "/no/é"], env=env, text=True, capture_output=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: no Lab at /no/\\xe9\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("init",), ("init", "x"), ("list",), ("run",), ("build",), ("targets",)], ids=" ".join
)
def test_a_deleted_current_folder_is_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    repx = f"{shlex.quote(sys.executable)} -m repx {' '.join(words)}"
    said = subprocess.run(
        ["bash", "-c", f'cd "$1" && rmdir "$1" && exec {repx}', "bash", gone],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == said.returncode
    assert said.stderr.startswith("error: the current folder has been deleted\nhint: ")
