"""`repx show`, `repx log`, `repx verify` and `repx viz`: what a person asks about one Lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

A: Final = "15h0xgj4swj9gxrrkkvv867l55w1n9hq-stage-a-generate-1.0"
TOTAL: Final = "06picx6cgcpvjhlv2nf0zgk8dl0sg19d-stage-c-total-1.0"
SQUARE: Final = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"


@pytest.fixture
def two(repx: Repx, labs: Path, ran: Path) -> Repx:
    """Return a call of ``repx`` on the Lab of two runs, all of which succeeded."""
    known = ("-l", labs / "simple-two-runs", "--targets", ran / "targets.yaml")
    return lambda *words: repx(*known, *words)


@pytest.fixture
def same(labs: Path, ran: Path) -> str:
    """Return the options that a command to paste needs to mean what ``two`` means."""
    return f" -l {labs / 'simple-two-runs'} --targets {ran / 'targets.yaml'}"


@pytest.fixture
def scattered(repx: Repx, labs: Path, ran: Path) -> Repx:
    """Return a call of ``repx`` on the scatter-gather Lab, one branch of which failed."""
    known = ("-l", labs / "scatter-gather", "--targets", ran / "targets.yaml")
    return lambda *words: repx(*known, *words)


# --- show ---------------------------------------------------------------------------------


def test_job_is_explained_block_by_block(two: Repx, ran: Path) -> None:
    said = two("show", "job", "simulation-run")

    assert (said.code, said.err) == (0, "")
    blocks = said.out.split("\n\n")
    assert f"Job:   {TOTAL}\n" in blocks[0]
    assert "State: succeeded\n" in blocks[0]
    assert "Parameters of upstream jobs\n  count   5\n  factor  3\n  offset  10" in blocks
    assert "Resources\n  no resources are requested" in blocks
    home = f"{ran}/store/outputs/{TOTAL}"
    assert f"Outputs\n  data.total  {home}/out/total.txt" in blocks
    assert "Output files\n  4B  out/total.txt\n" in blocks


def test_resources_tell_where_they_came_from(two: Repx, tmp_path: Path) -> None:
    rules = tmp_path / "mine.yaml"
    rules.write_text("rules: [{stage: stage-a-*, time: 5m}]\n", encoding="utf-8")

    said = two("show", "job", A, "--resources", rules)

    lines = [line.split() for line in said.out.splitlines()]
    assert ["mem", "64M", "from", "the", "Lab"] in lines
    (time_line,) = [line for line in lines if line[:1] == ["time"]]
    assert ["time", "5m", "from"] == time_line[:3]
    assert "mine.yaml" in " ".join(time_line[3:])


def test_slurm_target_tells_what_slurm_is_asked(two: Repx) -> None:
    asked = json.loads(two("show", "job", A, "--target", "cluster", "--json").out)["slurm"]

    assert {"--mem=64M", "--time=00:01:00", "--partition=main", "--account=proj7"} <= set(
        asked["main"]
    )


def test_phases_of_a_scatter_gather_job_come_in_order(scattered: Repx) -> None:
    found = json.loads(scattered("show", "job", SQUARE, "--json").out)

    assert ["scatter", "step-extract", "step-square", "gather"] == list(found["resources"])
    assert {"value": 96 << 20, "from": "Lab"} == found["resources"]["gather"]["mem_bytes"]
    assert found["inputs"]["step-extract"]["worker__item"]["path"].endswith(
        f"{SQUARE}/branch-N/repx/work_item.json"
    )
    assert "failed" == found["state"]["state"]


def test_job_that_never_ran_is_explained_too(scattered: Repx) -> None:
    said = scattered("show", "job", "sg-run")

    assert said.code == 0
    assert "State: skipped" in said.out
    assert "Output files" not in said.out


def test_output_files_with_their_sizes(two: Repx, ran: Path) -> None:
    said = two("show", "output", TOTAL)

    assert "4B\ttotal.txt\n" == said.out
    assert f"in {ran}/store/outputs/{TOTAL}/out\n" == said.err
    assert {"total.txt": 4} == json.loads(two("show", "output", TOTAL, "--json").out)["files"]


def test_output_file_is_printed_as_it_is(two: Repx) -> None:
    assert (0, "195\n", "") == two("show", "output", TOTAL, "total.txt")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("totl.txt", "did you mean 'total.txt'?"),
        ("../repx/SUCCESS", "there are: total.txt"),
        ("/etc/passwd", "there are: total.txt"),
        (".", "there are: total.txt"),
    ],
)
def test_what_is_no_output_file(two: Repx, path: str, hint: str) -> None:
    said = two("show", "output", TOTAL, path)

    assert (2, "") == (said.code, said.out)
    assert said.err.endswith(f"hint: {hint}\n")


def test_job_without_output(scattered: Repx) -> None:
    assert scattered("show", "output", "sg-run").err.endswith("no files yet\n")


def test_stage_in_the_place_of_a_job(two: Repx, same: str) -> None:
    said = two("show", "job", "stage-a-generate")

    assert said == (
        2,
        "",
        (
            "error: no run, group or job named 'stage-a-generate'\n"
            f"hint: it is a stage: `repx run --stage stage-a-generate{same}` runs its jobs, "
            f"`repx list jobs --stage stage-a-generate{same}` lists them\n"
        ),
    )


# --- log ----------------------------------------------------------------------------------


def test_log_is_the_end_of_stdout(two: Repx) -> None:
    assert two("log", TOTAL).out.startswith("[stage-c-total] out=")
    assert "" == two("log", TOTAL, "-n", "0").out


def test_log_of_a_failed_phase_comes_first(scattered: Repx) -> None:
    assert "branch 2 told to fail\n" == scattered("log", SQUARE, "--stderr").out
    assert "scatter/out" in scattered("log", SQUARE, "--phase", "scatter").out


def test_log_of_an_unknown_phase_names_the_known(scattered: Repx) -> None:
    said = scattered("log", SQUARE, "--phase", "branch-9/step-extract")

    assert said.code == 2
    assert "hint: there are: scatter, branch-0/step-extract" in said.err


def test_silent_log_says_why(two: Repx, same: str, scattered: Repx) -> None:
    assert two("log", TOTAL, "--stderr").err == (
        f"nothing here; `repx log {TOTAL[:12]}{same}` shows stdout.log\n"
    )
    assert "the job has not started yet\n" == scattered("log", "sg-run").err


@pytest.mark.slow
def test_follow_ends_with_the_job(labs: Path, tmp_path: Path) -> None:
    """What is printed while the job runs is shown, and the end of the job is the end."""
    (tmp_path / "targets.yaml").write_text(
        f"targets: {{local: {{base_path: {tmp_path}/store}}}}\n", encoding="utf-8"
    )
    repx = [sys.executable, "-m", "repx", "-l", str(labs / "simple-two-runs")]
    follow = subprocess.Popen(
        [*repx, "log", A, "--follow"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    env = {**os.environ, "REPX_FIXTURE_SLEEP": "1"}
    subprocess.run([*repx, "run", A], cwd=tmp_path, env=env, check=True, capture_output=True)

    out, _ = follow.communicate(timeout=30)
    assert 0 == follow.returncode
    assert [f"[stage-a-generate] out={tmp_path}/store/outputs/{A}/out"] == out.splitlines()


def test_follow_of_a_job_that_has_ended_returns(two: Repx) -> None:
    assert 1 == len(two("log", TOTAL, "-f").out.splitlines())


# --- verify and viz -----------------------------------------------------------------------


def test_verify_reads_every_file_each_time(repx: Repx, labs: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(labs / "sweep", lab, symlinks=True)
    for _ in range(2):
        assert 0 < json.loads(repx("verify", "-l", lab, "--json").out)["hashed"]

    script = next(lab.glob("jobs/*calc*/bin/calc"))
    script.chmod(0o755)
    time.sleep(0.01)
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    said = repx("verify", "-l", lab)
    assert (2, "") == (said.code, said.out)
    assert str(script) in said.err
    assert "expected sha256" in said.err


@pytest.mark.slow
@pytest.mark.needs("graphviz")
@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.svg", b"<?xml"),
        ("a.PNG", b"\x89PNG"),
        ("a.pdf", b"%PDF"),
        ("a.gv", b"digraph"),
        ("a.mmd", b"flowchart LR"),
    ],
)
def test_suffix_decides_what_is_drawn(repx: Repx, labs: Path, name: str, begins: bytes) -> None:
    assert (0, f"{name}\n", "") == repx("viz", "-l", labs / "sweep", "-o", name)
    assert Path(name).read_bytes().startswith(begins)
    assert [name] == [path.name for path in Path().glob("a.*")]


def test_picture_to_stdout(repx: Repx, labs: Path) -> None:
    assert repx("viz", "-l", labs / "sweep", "-o", "-").out.startswith("digraph")
    words = ("--format", "mermaid", "-o", "-", "--show-params")
    assert "seed: 1, 2" in repx("viz", "-l", labs / "sweep", *words).out


def test_without_graphviz_it_is_mermaid(
    repx: Repx, labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    said = repx("viz", "-l", labs / "sweep", "-o", "a.svg")

    assert (0, "a.mmd\n") == (said.code, said.out)
    assert "warning: Graphviz (`dot`) is not installed" in said.err
    assert Path("a.mmd").read_text(encoding="utf-8").startswith("flowchart")


def test_picture_coloured_by_state(repx: Repx, labs: Path, ran: Path) -> None:
    known = ("-l", labs / "scatter-gather", "--targets", ran / "targets.yaml")

    assert "1 skipped" in repx("viz", *known, "--status", "-o", "-").out


@pytest.mark.parametrize(
    ("name", "code", "err"),
    [
        ("a.pngg", 2, "error: cannot tell the format of a.pngg from its suffix\n"),
        ("no/a.dot", 3, "error: cannot write no/a.dot: No such file or directory\n"),
    ],
)
def test_picture_that_cannot_be_written(
    repx: Repx, labs: Path, name: str, code: int, err: str
) -> None:
    said = repx("viz", "-l", labs / "sweep", "-o", name)

    assert code == said.code
    assert said.err.startswith(err)
