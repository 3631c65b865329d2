"""Labs that are wrong say where and what."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repx.errors import LabError
from repx.lab.load import open_lab
from tests.spoilt import (
    ANALYSE,
    ANALYSIS,
    GENERATE,
    MANIFEST,
    SIMULATION,
    SQUARES,
    TOP,
    TOTAL,
    TRANSFORM,
    copied,
    drop,
    edit,
    main_of,
    many_jobs,
    put,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def folder(labs: Path, tmp_path: Path) -> Path:
    """Return the Lab with two runs, to be spoilt."""
    return copied(labs, tmp_path)


def test_no_lab_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no Lab at .*/result") as caught:
        open_lab(tmp_path / "result")

    assert "build one with `repx build`, or name one with `--lab PATH`" == caught.value.hint


def test_a_relative_path_is_shown_as_one_types_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(LabError, match=r"no Lab at \./result\b"):
        open_lab(Path("./result"))


def test_a_link_to_nothing_or_to_itself_is_no_lab(tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to("result")

    with pytest.raises(LabError, match="no Lab at"):
        open_lab(tmp_path / "result")


def test_a_folder_that_is_no_lab_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="lab: missing, so this is not a Lab"):
        open_lab(tmp_path)
    (tmp_path / "lab").mkdir()
    with pytest.raises(LabError, match=r"lab: no \*lab-metadata\.json"):
        open_lab(tmp_path)


def test_the_folder_of_a_project_is_no_lab_but_its_result_is(folder: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "result").symlink_to(folder)

    with pytest.raises(LabError, match="so this is not a Lab") as caught:
        open_lab(project)

    assert caught.value.hint == f"did you mean '{project}/result'?"


def test_several_manifests_are_refused(folder: Path) -> None:
    shutil.copy(folder / MANIFEST, folder / "lab/0abc-lab-metadata.json")

    with pytest.raises(LabError, match=r"several manifests: 0abc-lab-metadata\.json, lab-meta"):
        open_lab(folder)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (MANIFEST, put("../top.json", "metadata"), "field `metadata`: the path '../top.json' con"),
        (MANIFEST, put("/etc/passwd", "metadata"), "the path '/etc/passwd' is absolute"),
        (MANIFEST, put("revision/none.json", "metadata"), "revision/none.json: No such file"),
        (MANIFEST, put("revision", "metadata"), "revision: not a regular file"),
        (MANIFEST, put(7, "lab_version"), "field `lab_version`: expected a string, got an integer"),
        (MANIFEST, put("a/b", "labId"), "field `labId`: expected a name"),
        (MANIFEST, drop("labId"), "field `labId`: missing, expected a string"),
        (MANIFEST, put(None, "files"), "field `files`: expected a list, got null"),
        (MANIFEST, put(5, "files", 3), "field `files[3]`: expected an object, got an integer: 5"),
        (MANIFEST, put("", "files", 3, "path"), "field `files[3].path`: the path '' is empty"),
        (MANIFEST, put("/x", "files", 3, "path"), "field `files[3].path`: the path '/x' is abs"),
        (MANIFEST, put("a/../b", "files", 3, "path"), "the path 'a/../b' contains '..'"),
        (MANIFEST, put("a\0b", "files", 3, "path"), "contains a NUL character"),
        (MANIFEST, put(None, "files", 3, "sha256"), "field `files[3].sha256`: expected a string"),
        (MANIFEST, put(["x"], "files", 3, "path"), "field `files[3].path`: expected a string"),
        (MANIFEST, lambda d: d["files"].append({"path": SIMULATION, "sha256": "0"}), "twice"),
        (MANIFEST, lambda _: [1], "expected a JSON object, got list"),
        (TOP, put([5], "runs"), "field `runs[0]`: expected a string, got an integer: 5"),
        (TOP, put("x", "runs"), "field `runs`: expected a list, got a string"),
        (TOP, put(["../x"], "runs"), "field `runs[0]`: the path '../x' contains '..'"),
        (TOP, lambda d: {**d, "runs": [ANALYSIS]}, "depends on run 'simulation-run', which is not"),
        (TOP, put({"all": "x"}, "groups"), "field `groups.all`: expected a list"),
        (TOP, put({"all": ["nope"]}, "groups"), "field `groups.all[0]`: there is no run 'nope'"),
        (ANALYSIS, put("simulation-run", "name"), "run 'simulation-run' exists already"),
        (ANALYSIS, put("missing", "name"), "field `name`: 'missing' is reserved"),
        (ANALYSIS, put("pending", "name"), "field `name`: 'pending' is reserved"),
        (ANALYSIS, put("top", "name"), "field `name`: 'top' is reserved"),
        (ANALYSIS, put("a/b", "name"), "field `name`: expected a name without '/'"),
        (
            ANALYSIS,
            put({"x": "firm"}, "dependencies"),
            "field `dependencies.x`: expected 'hard' or",
        ),
        (ANALYSIS, put("../image", "image"), "field `image`: the path '../image' contains '..'"),
        (ANALYSIS, put("images/x", "image"), "no image images/x in the Lab"),
        (ANALYSIS, put([], "jobs"), "field `jobs`: expected an object, got a list"),
        (
            ANALYSIS,
            put({"path": "x"}, *main_of(ANALYSE)[:-1], "step-x/../../y"),
            "expected a name without '/'",
        ),
        (
            ANALYSIS,
            put("firm", *main_of(ANALYSE, "inputs", 0, "dependency_type")),
            "executables.main.inputs[0].dependency_type`: expected 'hard' or 'soft', got a string",
        ),
        (
            ANALYSIS,
            put("no-run", *main_of(ANALYSE, "inputs", 0, "source_run")),
            "depends on run 'no-run', which is not in the Lab",
        ),
        (
            SIMULATION,
            put(3, "jobs", TOTAL),
            f"field `jobs.{TOTAL}`: expected an object, got an integer: 3",
        ),
        (
            SIMULATION,
            put([], "jobs", TOTAL, "params"),
            f"field `jobs.{TOTAL}.params`: expected an object, got a list",
        ),
        (SIMULATION, drop("jobs", TOTAL, "params"), "params`: missing, expected an object"),
        (SIMULATION, put("odd", "jobs", TOTAL, "stage_type"), "'simple' or 'scatter-gather', got"),
        (SIMULATION, put(1, "jobs", TOTAL, "executables"), "executables`: expected an object"),
        (SIMULATION, put(1, *main_of(TOTAL)), "executables.main`: expected an object"),
        (SIMULATION, put({}, *main_of(TOTAL, "inputs")), "main.inputs`: expected a list"),
        (SIMULATION, put([1], *main_of(TOTAL, "inputs")), "main.inputs[0]`: expected an object"),
        (SIMULATION, put("/bin/sh", *main_of(TOTAL, "path")), "main.path`: the path '/bin/sh' is"),
        (
            SIMULATION,
            put("jobs/x", *main_of(TOTAL, "path")),
            "executable 'main' is missing: jobs/x",
        ),
        (SIMULATION, put("jobs", *main_of(TOTAL, "path")), "executable 'main' is missing: jobs"),
        (SIMULATION, put({"o": "\0"}, *main_of(TOTAL, "outputs")), "outputs.o`: contains a NUL"),
        (SIMULATION, put({"\0": "$out/o"}, *main_of(TOTAL, "outputs")), "outputs`: contains a NUL"),
        (
            SIMULATION,
            put([{"target_input": "a\0"}], *main_of(TOTAL, "inputs")),
            "inputs[0].target_input`: contains a NUL",
        ),
        (
            SIMULATION,
            put({"mem": 5}, "jobs", TOTAL, "resource_hints"),
            "hints.mem`: expected a str",
        ),
        (SIMULATION, put({"cpus": "1"}, "jobs", TOTAL, "resource_hints"), "hints.cpus`: expected"),
        (
            SIMULATION,
            put({"cpus": -1}, "jobs", TOTAL, "resource_hints"),
            "hints.cpus`: expected a n",
        ),
        (
            SIMULATION,
            put({"sbatch_opts": [1]}, "jobs", TOTAL, "resource_hints"),
            "resource_hints.sbatch_opts[0]`: expected a string",
        ),
        (
            SIMULATION,
            put("nobody-1.0", *main_of(TOTAL, "inputs", 0, "job_id")),
            f"job {TOTAL}: input 'values' needs job nobody-1.0, which is not in the Lab",
        ),
        (
            SIMULATION,
            put("speed", *main_of(TOTAL, "inputs", 0, "source_output")),
            f"needs output 'speed' of job {TRANSFORM}, whose outputs are: scaled",
        ),
        (
            SIMULATION,
            put({"scaled": 5}, *main_of(TRANSFORM, "outputs")),
            f"needs output 'scaled' of job {TRANSFORM}, whose outputs are: scaled",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_file(
    folder: Path, path: str, change: Callable[[Any], object], message: str
) -> None:
    edit(folder, path, change)

    with pytest.raises(LabError) as caught:
        open_lab(folder)

    assert message in caught.value.message
    assert caught.value.message.startswith(str(folder))


@pytest.mark.parametrize(
    "job_id", ["a/b", ".", "..", "", "a\nb", "a\0b", "a\x1bb", "x" * 300, "\u00e9" * 150, "self"]
)
def test_a_job_id_must_be_a_safe_name(folder: Path, job_id: str) -> None:
    edit(folder, SIMULATION, lambda d: put(d["jobs"].pop(TOTAL), "jobs", job_id)(d))

    with pytest.raises(LabError, match="field `jobs`"):
        open_lab(folder)


@pytest.mark.parametrize("job_id", ["a b'\"$`#;*?", "-rf", "\u00e9\u4e2d\U0001f600", "...", "~"])
def test_a_job_id_may_be_any_other_name(folder: Path, job_id: str) -> None:
    edit(folder, SIMULATION, lambda d: put(d["jobs"].pop(TOTAL), "jobs", job_id)(d))

    assert job_id == open_lab(folder).lab.jobs[job_id].id


def test_jobs_in_a_circle_are_shown(folder: Path) -> None:
    need = {"target_input": "x", "job_id": TOTAL, "source_output": "data.total"}
    edit(folder, SIMULATION, put([need], *main_of(GENERATE, "inputs")))

    with pytest.raises(LabError) as caught:
        open_lab(folder)

    circle = f"{TOTAL} -> {TRANSFORM} -> {GENERATE} -> {TOTAL}"
    assert f"{folder}/{SIMULATION}: jobs need each other in a circle: {circle}" == (
        caught.value.message
    )


def test_a_job_that_needs_itself_is_a_circle(folder: Path) -> None:
    need = {"target_input": "x", "job_id": GENERATE, "source_output": "numbers"}
    edit(folder, SIMULATION, put([need], *main_of(GENERATE, "inputs")))

    with pytest.raises(LabError, match=f"in a circle: {GENERATE} -> {GENERATE}"):
        open_lab(folder)


def test_runs_in_a_circle_are_shown(folder: Path) -> None:
    edit(folder, SIMULATION, put({ANALYSIS: "soft"}, "dependencies"))

    with pytest.raises(LabError, match="runs depend on each other in a circle: simulation-run ->"):
        open_lab(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(["nope"], "step-square", "deps"), "step 'square' depends on 'nope', which is no step"),
        (put(["square"], "step-extract", "deps"), "in a circle: extract -> square -> extract"),
        (drop("step-square", "deps"), "several steps that no other depends on: extract, square"),
        (drop("gather"), "has no executable 'gather'"),
        (drop("scatter"), "has no executable 'scatter'"),
        (lambda d: [d.pop(k) for k in ("step-extract", "step-square")] and d, "'step-*'"),
    ],
)
def test_steps_that_do_not_fit_are_refused(
    labs: Path, tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    folder = copied(labs, tmp_path, "scatter-gather")
    edit(
        folder,
        "revision/metadata-sg-run.json",
        lambda d: change(d["jobs"][SQUARES]["executables"]) and None,
    )

    with pytest.raises(LabError) as caught:
        open_lab(folder)

    assert SQUARES in caught.value.message
    assert message in caught.value.message


def test_gather_may_read_an_output_of_its_own_scatter(labs: Path, tmp_path: Path) -> None:
    folder = copied(labs, tmp_path, "scatter-gather")
    own = {"target_input": "items", "job_id": "self", "source_output": "work__items"}
    path = "revision/metadata-sg-run.json"
    gather = ("jobs", SQUARES, "executables", "gather", "inputs")
    edit(folder, path, put([own], *gather))

    assert SQUARES not in open_lab(folder).lab.needs[SQUARES]

    edit(folder, path, put([{**own, "source_output": "none"}], *gather))
    with pytest.raises(LabError, match="needs output 'none' of job"):
        open_lab(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"a":', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"labId": "\\ud800"}', "surrogates not allowed"),
        (b"9" * 5000, "not valid JSON"),
        (b"null", "expected a JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=[
        "empty",
        "cut",
        "not utf-8",
        "nan",
        "surrogate",
        "huge number",
        "null",
        "lists",
        "objects",
    ],
)
def test_what_is_no_json_object_is_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / MANIFEST).write_bytes(content)

    with pytest.raises(LabError, match=message):
        open_lab(folder)


def test_a_hundred_megabytes_of_brackets_end_in_an_error(folder: Path) -> None:
    (folder / SIMULATION).write_bytes(b"[" * 100_000_000)

    with pytest.raises(LabError, match=r"metadata-simulation-run\.json: JSON nested too deep"):
        open_lab(folder)


def test_metadata_too_big_to_be_true_is_not_read(folder: Path) -> None:
    with (folder / SIMULATION).open("r+b") as file:
        file.truncate((2 << 30) + 1)

    with pytest.raises(LabError, match="2147483649 bytes, more than metadata may have"):
        open_lab(folder)


def test_parameters_nested_beyond_reason_are_refused(folder: Path) -> None:
    """Python could read them, and then fail to write them."""
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    edit(folder, SIMULATION, put({"x": deep}, "jobs", TOTAL, "params"))

    with pytest.raises(LabError, match="params`: nested more than 64 levels deep"):
        open_lab(folder)


@pytest.mark.parametrize("path", [MANIFEST, TOP, SIMULATION, "lab", "revision"])
def test_metadata_behind_a_link_out_is_refused(folder: Path, tmp_path: Path, path: str) -> None:
    shutil.move(folder / path, tmp_path / "outside")
    (folder / path).symlink_to(tmp_path / "outside")

    with pytest.raises(LabError, match="leads out of the Lab"):
        open_lab(folder)


@pytest.mark.parametrize("path", [MANIFEST, TOP, SIMULATION])
def test_a_fifo_for_metadata_does_not_hang(folder: Path, path: str) -> None:
    (folder / path).unlink()
    os.mkfifo(folder / path)

    with pytest.raises(LabError, match="not a regular file"):
        open_lab(folder)


OUTSIDE = (
    "/etc/passwd",
    "$out/../repx/lock",
    "$out/../../x",
    "x",
    "$output/x",
    "/proc/self/environ",
)


@pytest.mark.parametrize("template", OUTSIDE)
def test_an_output_outside_of_the_jobs_folder_is_refused(folder: Path, template: str) -> None:
    edit(folder, SIMULATION, put(template, *main_of(TOTAL, "outputs", "x")))
    with pytest.raises(LabError) as caught:
        open_lab(folder)

    assert f"`jobs.{TOTAL}.executables.main.outputs.x`" in caught.value.message
    assert f"{template!r} leads out of the job's folder" in caught.value.message


def test_an_output_outside_is_refused_among_many_jobs(folder: Path) -> None:
    ids = many_jobs(folder, 1500)
    edit(folder, SIMULATION, put("/etc/passwd", *main_of(ids[1200], "outputs", "x")))
    with pytest.raises(LabError, match="leads out of the job's folder"):
        open_lab(folder)


@pytest.mark.parametrize("template", ["", "$out", "$out/a/..b/{x}"])
def test_an_output_may_be_empty_or_any_place_in_the_folder(folder: Path, template: str) -> None:
    edit(folder, SIMULATION, put(template, *main_of(TOTAL, "outputs", "x")))

    assert template == open_lab(folder).lab.jobs[TOTAL].entry.outputs["x"]


def test_the_example_of_a_work_item_may_be_any_text(labs: Path, tmp_path: Path) -> None:
    lab = copied(labs, tmp_path, "scatter-gather")
    outputs = ("jobs", SQUARES, "executables", "scatter", "outputs")
    edit(lab, "revision/metadata-sg-run.json", put("a number", *outputs, "worker__arg"))

    assert "a number" == open_lab(lab).lab.jobs[SQUARES].entry.outputs["worker__arg"]


def test_a_lab_of_somebody_elses_is_told_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *, strict: bool) -> Path:  # root may read everything
        del strict
        raise PermissionError(13, "Permission denied", str(path / ".repx"))

    monkeypatch.setattr(Path, "resolve", refuse)
    with pytest.raises(LabError) as caught:
        open_lab(tmp_path)

    assert f"cannot read {tmp_path}: no access to {tmp_path}/.repx" == caught.value.message
