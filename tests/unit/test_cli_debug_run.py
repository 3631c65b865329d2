"""`repx debug-run`: the job as it runs, and nothing of it changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.slow  # each starts a process

TOTAL: Final = "06picx6cgcpvjhlv2nf0zgk8dl0sg19d-stage-c-total-1.0"
SQUARE: Final = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"


@pytest.fixture
def place(ran: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder in which the Labs were run."""
    folder = tmp_path / "it's here"
    shutil.copytree(ran, folder, symlinks=True)
    text = (ran / "targets.yaml").read_text(encoding="utf-8")
    (folder / "targets.yaml").write_text(
        text.replace(str(ran), f'"{folder}').replace("/store", '/store"'), encoding="utf-8"
    )
    return folder


def debug(place: Path, labs: Path, *words: str, lab: str) -> subprocess.CompletedProcess[str]:
    """Run ``repx debug-run`` as a process: it becomes another program."""
    return subprocess.run(
        [sys.executable, "-m", "repx", "debug-run", "-l", labs / lab, *words],
        cwd=place,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )


def fingerprint(folder: Path) -> dict[Path, tuple[float, int]]:
    """Return what would change if any file below the folder did."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_program_runs_as_it_does_in_a_run(place: Path, labs: Path) -> None:
    before = fingerprint(place / "store/outputs")

    done = debug(place, labs, TOTAL, "-c", "../run && cat total.txt", lab="simple-two-runs")

    assert 0 == done.returncode, done.stderr
    assert done.stdout.endswith("\n195\n")
    assert before == fingerprint(place / "store/outputs")


def test_environment_is_that_of_the_target(place: Path, labs: Path) -> None:
    line = 'pwd; echo "$GREETING"; type -P fixture-hello; cat ../parameters.json'
    done = debug(place, labs, SQUARE, "-c", line, lab="scatter-gather")

    pwd, greeting, tool, *parameters = done.stdout.splitlines()
    assert f"{place}/store/debug/{SQUARE}/out" == pwd
    assert "hello $HOME" == greeting
    assert tool.startswith(f"{place}/store/labs/")
    assert {"addend": 10} == json.loads("".join(parameters))


def test_prologue_of_a_slurm_target_is_run(place: Path, labs: Path) -> None:
    words = ("--target", "cluster", "-c", 'echo "$SITE"')
    done = debug(place, labs, TOTAL, *words, lab="simple-two-runs")

    assert "lab\n" == done.stdout


def test_exit_code_passes_through(place: Path, labs: Path) -> None:
    assert 7 == debug(place, labs, TOTAL, "-c", "exit 7", lab="simple-two-runs").returncode


def test_each_time_begins_in_an_empty_folder(place: Path, labs: Path) -> None:
    for _ in range(2):
        done = debug(place, labs, TOTAL, "-c", "ls; touch left", lab="simple-two-runs")

        assert "" == done.stdout


def test_failed_phase_is_what_is_debugged(place: Path, labs: Path) -> None:
    done = debug(place, labs, SQUARE, "-c", "../run && cat number.txt", lab="scatter-gather")

    assert "branch-2/step-extract" in done.stderr
    assert done.stdout.endswith("\n3\n")


def test_failed_gather_is_what_is_debugged(place: Path, labs: Path) -> None:
    home = place / "store/outputs" / SQUARE
    (home / "branch-2/step-extract/repx/FAIL").unlink()
    (home / "repx/FAIL").touch()
    (home / "repx/gather_inputs.json").touch()
    (home / "repx/worker_outs_manifest.json").touch()
    done = debug(place, labs, SQUARE, "-c", "true", lab="scatter-gather")

    assert ", gather in " in done.stderr


def test_program_can_be_traced(place: Path, labs: Path) -> None:
    done = debug(place, labs, TOTAL, "-c", "bash -x ../run", lab="simple-two-runs")

    assert "+ echo 195\n" in done.stderr


def test_phase_can_be_named(place: Path, labs: Path) -> None:
    words = ("--phase", "branch-1/step-square", "-c", "../run && cat squared.txt")
    done = debug(place, labs, SQUARE, *words, lab="scatter-gather")

    assert done.stdout.endswith("\n14\n")


@pytest.mark.parametrize("phase", ["step-square", "branch-1/step-none", "branch-x/step-square"])
def test_unknown_phase_names_the_known(place: Path, labs: Path, phase: str) -> None:
    done = debug(place, labs, SQUARE, "--phase", phase, lab="scatter-gather")

    assert 2 == done.returncode
    assert (
        "hint: there are: scatter, branch-N/step-extract, branch-N/step-square, gather\n"
        in done.stderr
    )


def test_missing_input_names_what_to_run_first(place: Path, labs: Path) -> None:
    shutil.rmtree(next((place / "store/outputs").glob("1cwc*")))

    done = debug(place, labs, TOTAL, "-c", "true", lab="simple-two-runs")

    assert 2 == done.returncode
    assert f"error: job {TOTAL}: inputs are missing:\n  values: {place}" in done.stderr
    assert done.stderr.endswith(
        "hint: run what makes them first: repx run 1cwc8p01cdgk-stage-b-transform-1.0\n"
    )


def test_folder_belongs_to_one_shell_at_a_time(place: Path, labs: Path) -> None:
    again = f"{sys.executable} -m repx -l {labs}/simple-two-runs debug-run {TOTAL} -c true"
    line = f"cd {str(place)!r}; {again}"
    done = debug(place, labs, TOTAL, "-c", line, lab="simple-two-runs")

    assert 2 == done.returncode
    assert "is in use by another `repx debug-run`" in done.stderr
