"""The expander: one job per combination, mistakes are refused, the same bytes always."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from repx.lab import expand
from repx.lab.expand import BlueprintError
from repx.lab.load import open_lab
from repx.lab.metadata import RESERVED_RUNS
from repx.lab.verify import verify
from tests.blueprints import Raw, blueprint, expanded, feed, run, stage

FOLDER: Final = os.fspath(Path(expand.__file__).parent)


# --- combinations -----------------------------------------------------------------------------


def test_a_stage_has_one_job_for_each_combination_that_reaches_it(tmp_path: Path) -> None:
    stages = (
        stage("a", parameters={"x": 0}),
        stage("b", feed("a", "out"), parameters={"y": 0}),
        stage("c", parameters={"z": 0}),
    )
    axes = {"x": [1, 2], "y": [1, 2, 3], "z": [1, 2, 3, 4]}

    jobs = expanded(tmp_path, run("r", *stages, parameter_axes=axes))

    counts = {name: sum(job["name"] == f"{name}-1.0" for job in jobs.values()) for name in "abc"}
    assert counts == {"a": 2, "b": 6, "c": 4}


def test_each_job_reads_the_job_of_its_own_combination(tmp_path: Path) -> None:
    stages = (
        stage("a", parameters={"x": 0, "w": 0}),
        stage("b", feed("a", "out"), parameters={"y": 0}),
    )
    axes = {"w": [7], "x": [1, 2, 3], "y": [5, 6]}

    jobs = expanded(tmp_path, run("r", *stages, parameter_axes=axes))

    pairs = sorted(
        (jobs[job["executables"]["main"]["inputs"][0]["job_id"]]["params"]["x"], job["params"]["y"])
        for job in jobs.values()
        if job["name"] == "b-1.0"
    )
    assert pairs == [(x, y) for x in (1, 2, 3) for y in (5, 6)]


def test_a_dotted_axis_is_for_one_stage_and_null_is_the_default(tmp_path: Path) -> None:
    stages = (stage("a", parameters={"seed": 9}), stage("b", parameters={"seed": 9}))
    axes = {"seed": [1], "b.seed": [None, 2]}

    jobs = expanded(tmp_path, run("r", *stages, parameter_axes=axes))

    found = sorted((job["name"], job["params"]["seed"]) for job in jobs.values())
    assert found == [("a-1.0", 1), ("b-1.0", 2), ("b-1.0", 9)]


def test_templates_are_filled_for_each_combination(tmp_path: Path) -> None:
    part = stage(
        "a",
        parameters={"model": "x", "size": 1},
        outputs={"out": "$out/{model}-{{{size}}}.txt"},
        pname="train-{model}",
        resources={
            "mem": "{size}G",
            "cpus": "{size}",
            "when": [{"if": {"model": ["big", "huge"], "size": 2.0}, "time": "1:00:00"}],
        },
    )
    reader = stage("b", feed("a", "out"))
    axes = {"model": ["big", "small"], "size": [1, 2]}

    jobs = expanded(tmp_path, run("r", part, reader, parameter_axes=axes))

    found = {
        job["name"]: (job["executables"]["main"]["outputs"]["out"], job["resource_hints"])
        for job in jobs.values()
        if job["params"].get("size") == 2
    }
    assert found == {
        "train-big-1.0": ("$out/big-{2}.txt", {"mem": "2G", "cpus": 2, "time": "1:00:00"}),
        "train-small-1.0": ("$out/small-{2}.txt", {"mem": "2G", "cpus": 2}),
    }
    templates = {
        job["executables"]["main"]["inputs"][0]["job_id_template"]
        for job in jobs.values()
        if job["name"] == "b-1.0"
    }
    assert templates == {"train-big", "train-small"}


@pytest.mark.parametrize("value", ["a/b", "..", "line\nbreak", "$out", "x" * 300])
def test_a_value_that_is_no_file_name_is_refused(tmp_path: Path, value: str) -> None:
    part = stage("a", parameters={"x": 0}, outputs={"out": "$out/{x}"})

    with pytest.raises(BlueprintError, match="stage 'a', output 'out'"):
        expanded(tmp_path, run("r", part, parameter_axes={"x": [value]}))


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([run("top", stage("a"))], "a run cannot be called 'top'"),
        ([run("a/b", stage("a"))], "'a/b' cannot be a run's name"),
        ([run("r", stage("a")), run("r", stage("a"))], "two runs are called 'r'"),
        ([run("r", stage("a"), stage("a"))], "pipeline 'main' has a stage twice"),
        ([run("r")], "run 'r' has no jobs: its pipelines are empty"),
        (
            [run("r", stage("a"), parameter_axes={"x": []})],
            "run 'r': the sweep over 'x' is empty",
        ),
        (
            [run("r", stage("a", feed("b", "out")), stage("b", feed("a", "out")))],
            "stages depend on each other: a -> b -> a",
        ),
        (
            [run("r", stage("a", feed("b", "out")))],
            "'a' needs 'b', which is not among the stages",
        ),
        ([run("r", stage("a"), inter_run_dep_types={"r": "hard"})], "runs depend on each other"),
        (
            [run("r", stage("a", pname="{x}", parameters={"x": "a b"}))],
            "stage 'a': 'a b' cannot be a pname",
        ),
        (
            [run("r", stage("a", parameters={"x": float("inf")}))],
            "inf is not a number that JSON can hold",
        ),
        (
            [
                run(
                    "r",
                    stage("a", pname="x"),
                    stage("b", pname="x", text="other"),
                    hash_mode="pure",
                ),
                run("s", stage("a", pname="x", resources={"cpus": 2})),
            ],
            "two different jobs have the id",
        ),
        (
            [
                run(
                    "r",
                    stage("a", pname="x", text="one"),
                    stage("b", pname="x", text="two"),
                    hash_mode="params-only",
                )
            ],
            "-x-1.0: give their stages different pnames, or use the hash mode 'pure'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_blueprint_that_is_no_lab_is_refused(
    tmp_path: Path, runs: list[Raw], message: str
) -> None:
    with pytest.raises(BlueprintError) as caught:
        expand.expand(blueprint(*runs), os.fspath(tmp_path / "lab"))

    assert message in str(caught.value)


def test_a_file_that_changes_during_the_build_is_noticed(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("before", encoding="utf-8")
    source = {"label": "data.csv", "path": os.fspath(data)}
    named = {**source, "name": expand.store_name(source)}
    data.write_text("after", encoding="utf-8")

    with pytest.raises(BlueprintError, match=r"data\.csv changed while the Lab was being built"):
        expand.expand(blueprint(run("r", stage("a")), files=[named]), os.fspath(tmp_path / "lab"))


# --- what is written --------------------------------------------------------------------------


def hostile() -> Raw:
    values = ["a b", "quo'te\"", "new\nline", "$HOME", "é€😀", "", 1.0, 1e-7, None, [1, {"k": "v"}]]
    part = stage("a", parameters={"value": "default"})
    return blueprint(
        run("r", part, parameter_axes={"value": values}),
        files=[{"label": "odd name\n.csv", "text": "x"}],
        groups={"all": ["r"]},
    )


def test_the_lab_is_read_and_verified_by_repx(tmp_path: Path) -> None:
    expand.expand(hostile(), os.fspath(tmp_path / "lab"))

    opened = open_lab(tmp_path / "lab")

    verify(opened, cache=tmp_path / "cache")
    assert len(opened.lab.jobs) == 10
    assert opened.lab.groups == {"all": ("r",)}
    assert opened.lab.id == expand.lab_id(hostile())


def test_the_same_blueprint_gives_the_same_bytes_and_modes(tmp_path: Path) -> None:
    for name, mask in (("one", 0o077), ("two", 0o002)):
        before = os.umask(mask)
        expand.expand(hostile(), os.fspath(tmp_path / name))
        os.umask(before)

    one, two = tmp_path / "one", tmp_path / "two"
    names = sorted(os.fspath(path.relative_to(one)) for path in one.rglob("*"))
    assert names == sorted(os.fspath(path.relative_to(two)) for path in two.rglob("*"))
    files = [name for name in names if (one / name).is_file()]
    assert filecmp.cmpfiles(one, two, files, shallow=False) == (files, [], [])
    modes = [[(root / name).lstat().st_mode for name in names] for root in (one, two)]
    assert modes[0] == modes[1]


def test_a_job_is_a_relative_link_to_one_script_for_all(tmp_path: Path) -> None:
    expand.expand(hostile(), os.fspath(tmp_path / "lab"))

    links = list((tmp_path / "lab").glob("jobs/*/bin/a"))
    text = b"echo a\n"
    digest = hashlib.sha256(text).hexdigest()
    assert {path.readlink() for path in links} == {Path(f"../../../store/{digest[:32]}-a")}
    manifest = json.loads((tmp_path / "lab/lab/lab-metadata.json").read_text(encoding="utf-8"))
    listed = {each["path"]: each["sha256"] for each in manifest["files"]}
    assert {listed[os.fspath(path.relative_to(tmp_path / "lab"))] for path in links} == {digest}
    assert list(listed) == sorted(listed)


def test_the_lab_id_follows_content_not_places(tmp_path: Path) -> None:
    ids = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "data.csv"
        path.write_text("same", encoding="utf-8")
        files = [{"label": "data.csv", "path": os.fspath(path)}]
        ids.add(expand.lab_id(blueprint(run("r", stage("a")), files=files)))

    assert len(ids) == 1


def test_a_folder_in_the_store_keeps_names_and_execute_bits(tmp_path: Path) -> None:
    tree = {"sub/tool.sh": {"text": "echo\n", "executable": True}, "data": {"text": "x"}}
    source = {"label": "bundle", "tree": tree}

    expand.expand(blueprint(run("r", stage("a")), files=[source]), os.fspath(tmp_path / "lab"))

    folder = tmp_path / "lab/store" / expand.store_name(source)
    found = {
        os.fspath(path.relative_to(folder)): os.access(path, os.X_OK)
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {"sub/tool.sh": True, "data": False}


# --- alone ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(hostile()), encoding="utf-8")
    command = [
        sys.executable,
        "-I",
        "-S",
        FOLDER,
        "--blueprint",
        "b.json",
    ]

    done = subprocess.run(
        [*command, "--output", "lab"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stderr == f"{expand.lab_id(hostile())}: 10 jobs in 1 runs\n"
    assert len(open_lab(tmp_path / "lab").lab.jobs) == 10


@pytest.mark.slow
def test_alone_it_reports_mistakes_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(blueprint(run("top"))), encoding="utf-8")
    command = [
        sys.executable,
        "-I",
        "-S",
        FOLDER,
        "--blueprint",
        "b.json",
    ]

    done = subprocess.run(
        [*command, "--output", "lab"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: a run cannot be called 'top'")


def test_the_reader_and_the_expander_reserve_the_same_names_of_runs() -> None:
    assert frozenset(expand.RESERVED_RUNS) == RESERVED_RUNS  # expand stands alone
