"""`repx list` and `repx trace-params`: what a Lab holds, as lines that pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

Repx: TypeAlias = Callable[..., Any]  # see conftest.py

A: Final = "15h0xgj4swj9gxrrkkvv867l55w1n9hq-stage-a-generate-1.0"
B: Final = "1cwc8p01cdgkzhrnm2nsvfb7bmksfjch-stage-b-transform-1.0"
C: Final = "06picx6cgcpvjhlv2nf0zgk8dl0sg19d-stage-c-total-1.0"
ANALYSIS: Final = "11br30xd3qm2hsgbawwjkyd6yph2z97k-stage-analysis-1.0"

DIAMOND: Final = """\
stages:
  base: {outputs: {a: $out/a}, run: 'touch "${outputs[a]}"'}
  below: {inputs: [a], outputs: {b: $out/b}, run: 'cp "${inputs[a]}" "${outputs[b]}"'}
  left: {inputs: [b], outputs: {c: $out/c}, run: 'cp "${inputs[b]}" "${outputs[c]}"'}
  right: {inputs: [b], outputs: {d: $out/d}, run: 'cp "${inputs[b]}" "${outputs[d]}"'}
  top: {inputs: [c, d], run: 'cat "${inputs[c]}" "${inputs[d]}"'}
pipelines: {p: [base, below, left, right, top]}
runs: {r: {pipelines: [p]}}
"""


@pytest.fixture
def two(repx: Repx, labs: Path) -> Repx:
    """Return a call of ``repx`` on the Lab of two runs."""
    return lambda *words: repx("-l", labs / "simple-two-runs", *words)


def firsts(said: Any) -> list[str]:  # noqa: ANN401  # what a command said
    """Return the first column, after checking that all went well."""
    assert (said.code, said.err) == (0, "")
    return [line.split("\t")[0] for line in said.out.splitlines()]


@pytest.mark.parametrize("words", [["list"], ["list", "runs"]], ids=" ".join)
def test_runs_with_jobs_needs_and_groups(two: Repx, words: list[str]) -> None:
    assert two(*words).out == (
        "simulation-run\t3\t\t@all @compute\nanalysis-run\t1\tsimulation-run (soft)\t@all\n"
    )


def test_runs_as_json(two: Repx) -> None:
    runs = json.loads(two("list", "runs", "--json").out)

    assert {
        "name": "analysis-run",
        "jobs": 1,
        "needs": {"simulation-run": "soft"},
        "groups": ["all"],
    } == runs[1]


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ([], [C, ANALYSIS, A, B]),
        (["simulation-run"], [C, A, B]),
        (["sim"], [C, A, B]),
        (["@all"], [C, ANALYSIS, A, B]),
        (["@compute"], [C, A, B]),
        ([A], [A]),
        (["15"], [A]),
        (["1"], [ANALYSIS, A, B]),
        (["15h0xgj4swj9-stage-a"], [A]),
        (["-s", "stage-b"], [B]),
        (["simulation-run", "--stage", "none"], []),
    ],
    ids=str,
)
def test_jobs_by_name(two: Repx, name: list[str], jobs: list[str]) -> None:
    said = two("list", "jobs", *name)

    assert said.code == 0
    assert sorted(jobs) == sorted(line.split("\t")[0] for line in said.out.splitlines())
    assert said.err == ("" if jobs else "no jobs match\n")


def test_the_jobs_of_a_run_by_way_of_runs(two: Repx) -> None:
    assert two("list", "jobs", "simulation-run") == two("list", "runs", "simulation-run")


def test_an_empty_name_names_nothing(two: Repx) -> None:
    assert two("list", "jobs", "").code == 2


def test_an_unknown_name_is_answered_with_the_runs(two: Repx) -> None:
    said = two("list", "jobs", "simulaton-run")

    assert said == (
        2,
        "",
        "error: no run, group or job named 'simulaton-run'\nhint: did you mean 'simulation-run'?\n",
    )


def test_parameters_of_a_job_and_of_those_before_it(two: Repx) -> None:
    said = two("list", "jobs", "simulation-run", "-p", "factor", "-p", "count")

    assert {
        A: ["-", "5"],
        B: ["3", "5"],
        C: ["3", "5"],
    } == {line.split("\t")[0]: line.split("\t")[1:] for line in said.out.splitlines()}


def test_jobs_by_state(repx: Repx, labs: Path, ran: Path) -> None:
    words = ("list", "jobs", "-l", labs / "scatter-gather", "--targets", ran / "targets.yaml")

    assert firsts(repx(*words, "--status", "succeeded")) == [
        "1dkac634z1fwsnz5q0jxhbcl0in9xdrv-a-make-list-1.0"
    ]
    assert firsts(repx(*words, "--status", "failed", "--status", "skipped")) == [
        "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0",
        "0gxz6rw8jwygn206a2jcssa444f75mgb-c-report-1.0",
    ]


def test_unknown_state_names_the_known(two: Repx) -> None:
    said = two("list", "jobs", "--status", "failing")

    assert said.code == 2
    assert "'failed'" in said.err


def test_output_paths_of_executed_jobs(repx: Repx, labs: Path, ran: Path) -> None:
    words = ("list", "jobs", "--output-paths", "-l", labs / "scatter-gather")
    said = repx(*words, "--targets", ran / "targets.yaml")

    outputs = {line.split("\t")[0][:3]: line.split("\t")[-1] for line in said.out.splitlines()}
    made = "1dkac634z1fwsnz5q0jxhbcl0in9xdrv-a-make-list-1.0"
    assert outputs["1dk"] == f"{ran}/store/outputs/{made}/out"
    assert outputs["0gx"] == "(not executed)"


def test_jobs_in_the_order_of_their_stages(repx: Repx, labs: Path) -> None:
    said = repx("list", "jobs", "-g", "-l", labs / "sweep")

    assert ["calc"] * 6 + ["prep"] * 2 == firsts(said)


def test_jobs_as_json(two: Repx) -> None:
    jobs = json.loads(two("list", "jobs", "15h", "--json").out)

    assert [
        {
            "id": A,
            "name": "stage-a-generate-1.0",
            "stage": "stage-a-generate",
            "runs": ["simulation-run"],
            "params": {"count": 5, "offset": 10},
        }
    ] == jobs


def test_dependencies_are_a_tree_with_the_runs_before(two: Repx) -> None:
    assert f"{C}\n  {B}\n    {A}\n" == two("list", "deps", "simulation-run").out
    assert f"{ANALYSIS}\n  run simulation-run (soft)\n" == two("list", "deps", "11").out
    assert {C: [B], B: [A], A: []} == json.loads(two("list", "deps", "06", "--json").out)


@pytest.mark.slow
def test_dependencies_shown_before_are_not_repeated(repx: Repx) -> None:
    """A diamond: what both sides need is shown in full once."""
    Path("lab.yaml").write_text(DIAMOND, encoding="utf-8")
    assert repx("build").code == 0

    shown = [line.partition("-") for line in repx("list", "deps", "r").out.splitlines()]
    assert [
        ("", "top-1.0"),
        ("  ", "left-1.0"),
        ("    ", "below-1.0"),
        ("      ", "base-1.0"),
        ("  ", "right-1.0"),
        ("    ", "below-1.0 (see above)"),
    ] == sorted_sides([(head[: -len(head.strip())], name) for head, _, name in shown])


def sorted_sides(shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Name the side that comes first ``left``: the order of ids, not of names, decides."""
    if ("  ", "right-1.0") == shown[1]:
        swap = {"left-1.0": "right-1.0", "right-1.0": "left-1.0"}
        return [(indent, swap.get(name, name)) for indent, name in shown]
    return shown


def test_groups_and_their_runs(two: Repx, repx: Repx, labs: Path) -> None:
    assert two("list", "groups").out == "@all\t2\n@compute\t1\n"
    assert two("list", "groups", "@compute").out == "simulation-run\t3\n"
    assert json.loads(two("list", "groups", "--json").out)["compute"] == ["simulation-run"]
    assert two("list", "groups", "al").err == (
        "error: no group '@al' in this Lab\nhint: did you mean 'all'?\n"
    )
    assert repx("list", "groups", "-l", labs / "scatter-gather") == (
        0,
        "",
        "this Lab has no groups\n",
    )


def test_effective_parameters_are_laid_over_those_before(repx: Repx, labs: Path) -> None:
    one = repx("trace-params", "07jc6m1amxzh-calc", "-l", labs / "sweep")
    every = repx("trace-params", "-l", labs / "sweep")

    assert {"factor": 3, "label": "three", "seed": 2} == next(iter(json.loads(one.out).values()))
    assert 8 == len(json.loads(every.out))


def test_every_reading_command_says_what_is_wrong_without_a_lab(repx: Repx) -> None:
    for words in (
        ["list"],
        ["list", "jobs"],
        ["list", "deps", "x"],
        ["list", "groups"],
        ["show", "job", "x"],
        ["show", "output", "x"],
        ["log", "x"],
        ["trace-params"],
        ["verify"],
        ["viz"],
        ["debug-run", "x"],
    ):
        said = repx(*words)

        assert (2, "") == (said.code, said.out)
        assert said.err == (
            "error: no Lab at ./result\n"
            "hint: build one with `repx build`, or name one with `--lab PATH`\n"
        )


# --- order and mistyped parameters ----------------------------------------------------------------

SWEEP = """\
stages:
  make:
    parameters: {n: null}
    outputs: {o: $out/o}
    run: 'echo "${parameters[n]}" > "${outputs[o]}"'
  fit:
    parameters: {lr: null}
    inputs: [o]
    outputs: {p: $out/p}
    run: 'echo "${parameters[lr]}" "${inputs[o]}" > "${outputs[p]}"'
pipelines: {main: [make, fit]}
runs: {r: {parameters: {n: [10, 9, 2], lr: [0.5, 0.25]}}}
"""


@pytest.mark.slow
def test_jobs_come_by_stage_and_parameters_not_by_hash(repx: Repx, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(SWEEP)
    assert repx("build").code == 0
    said = repx("list", "jobs", "-p", "n", "-p", "lr")

    fits = [f"{n} {lr}" for n in (2, 9, 10) for lr in (0.25, 0.5)]
    rows = [" ".join(line.split("\t")[1:]) for line in said.out.splitlines()]
    assert ["2 -", "9 -", "10 -", *fits] == rows


@pytest.mark.slow
def test_a_mistyped_parameter_is_an_error_with_a_suggestion(repx: Repx, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(SWEEP)
    assert repx("build").code == 0

    assert (
        2,
        "",
        "error: none of these jobs has a parameter 'lrr'\nhint: did you mean 'lr'?\n",
    ) == repx("list", "jobs", "-p", "n", "-p", "lrr")
    assert "hint: their parameters are: lr, n\n" in repx("list", "jobs", "-p", "zzz").err
    assert repx("list", "jobs", "--stage", "none", "-p", "zzz").code == 0


def test_dependencies_may_be_spelt_out(two: Repx) -> None:
    assert two("list", "deps", "simulation-run") == two("list", "dependencies", "simulation-run")
    assert "dependencies" not in two("list", "--help").out.partition("Commands")[2]


def test_deleted_current_folder_is_named(repx: Repx, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()

    said = repx("targets")

    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: the current folder has been deleted\nhint: go to another one, e.g. `cd ~`\n"
    )


@pytest.mark.slow
def test_files_come_by_their_own_names_and_numbers_in_them_by_size(
    repx: Repx, tmp_path: Path
) -> None:
    for name in ("part-10.csv", "part-2.csv", "part-1.csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "lab.yaml").write_text(SWEEP.replace("n: [10, 9, 2]", 'n: {files: "*.csv"}'))
    assert repx("build").code == 0
    said = repx("list", "jobs", "--stage", "make", "-p", "n")

    names = [line.split("\t")[1] for line in said.out.splitlines()]
    assert ["part-1.csv", "part-2.csv", "part-10.csv"] == names
