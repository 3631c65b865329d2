"""Labs that are right are read whole, also big ones."""

from __future__ import annotations

import gc
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repx.errors import LabError
from repx.lab.load import open_lab
from repx.model import DependencyType, Hints, StageType
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
    edit,
    main_of,
    many_jobs,
    put,
)

if TYPE_CHECKING:
    from repx.model import Lab


@pytest.fixture
def folder(labs: Path, tmp_path: Path) -> Path:
    """Return the Lab with two runs, to be spoilt."""
    return copied(labs, tmp_path)


def test_a_lab_is_read_whole(labs: Path) -> None:
    opened = open_lab(labs / "simple-two-runs")
    lab = opened.lab

    assert ("0vmj8n3ym606mnlh6xkr06bgb0dravrb", "0.5.0") == (lab.id, lab.repx_version)
    assert (MANIFEST, TOP) == (lab.manifest, lab.metadata)
    assert ["simulation-run", "analysis-run"] == list(lab.runs)
    assert {"all": ("simulation-run", "analysis-run"), "compute": ("simulation-run",)} == lab.groups
    assert {"simulation-run": DependencyType.SOFT} == lab.runs["analysis-run"].dependencies
    assert (TOTAL, GENERATE, TRANSFORM) == lab.runs["simulation-run"].jobs
    assert {"count": 5, "offset": 10} == lab.jobs[GENERATE].params
    assert Hints(mem="64M", cpus=1, time="00:01:00") == lab.jobs[GENERATE].hints
    assert {TOTAL: (TRANSFORM,), TRANSFORM: (GENERATE,), GENERATE: (), ANALYSE: ()} == lab.needs
    assert {job.id: job.needs for job in lab.jobs.values()} == lab.needs
    assert 64 == len(lab.host_tools or "")
    assert 18 == len(lab.files)
    assert (labs / "simple-two-runs").resolve() == opened.root


def test_a_scatter_gather_job_is_read_with_its_steps(labs: Path) -> None:
    job = open_lab(labs / "scatter-gather").lab.jobs[SQUARES]

    assert StageType.SCATTER_GATHER is job.stage_type
    assert {
        "scatter": (),
        "step-extract": ("scatter",),
        "step-square": ("step-extract",),
        "gather": ("step-square",),
    } == {phase.name: phase.needs for phase in job.phases}
    assert Hints(mem="96M", cpus=1) == job.final.hints
    assert {"index": 0} == job.entry.outputs["worker__arg"]
    assert ["runner:worker_outputs"] == [source.source for source in job.final.inputs]


@pytest.mark.parametrize("name", ["simple-two-runs", "sweep", "scatter-gather"])
@pytest.mark.parametrize("prefix", [".", "result", "deep/er/lab"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_a_tar_holds_the_same_lab(
    labs: Path, tmp_path: Path, name: str, prefix: str, form: int
) -> None:
    with tarfile.open(tmp_path / "lab.tar", "w", format=form) as tar:
        tar.add(labs / name, arcname=prefix)
    opened = open_lab(tmp_path / "lab.tar")

    assert open_lab(labs / name).lab == opened.lab
    assert tmp_path / "lab.tar" == opened.root


def test_a_lab_is_found_behind_a_link(labs: Path, tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to(labs / "sweep")

    assert (labs / "sweep").resolve() == open_lab(tmp_path / "result").root


def test_names_with_hashes_of_older_labs_are_found(folder: Path) -> None:
    (folder / MANIFEST).rename(folder / "lab/0abc-lab-metadata.json")
    (folder / TOP).rename(folder / "revision/1def-metadata-top.json")
    (folder / SIMULATION).rename(folder / "revision/2ghi-metadata-simulation-run.json")
    edit(
        folder,
        "lab/0abc-lab-metadata.json",
        put("revision/1def-metadata-top.json", "metadata"),
    )
    edit(
        folder,
        "revision/1def-metadata-top.json",
        put("revision/2ghi-metadata-simulation-run.json", "runs", 0),
    )
    edit(
        folder,
        ANALYSIS,
        put({"revision/2ghi-metadata-simulation-run.json": "hard"}, "dependencies"),
    )
    lab = open_lab(folder).lab

    assert "lab/0abc-lab-metadata.json" == lab.manifest
    assert {"simulation-run": DependencyType.HARD} == lab.runs["analysis-run"].dependencies


def test_nulls_and_unknown_fields_change_nothing(folder: Path) -> None:
    expected = open_lab(folder).lab

    def loosen(document: Any) -> None:  # noqa: ANN401  # JSON
        document.update(image=None, novelty=[1])
        for job in document["jobs"].values():
            job.update(novelty={"x": None})
            job.setdefault("resource_hints", None)
            job["executables"]["main"].update(deps=None, resource_hints=None, novelty=1)
            for source in job["executables"]["main"]["inputs"]:
                source.update(source_stage_filter=None, novelty=True)

    edit(folder, SIMULATION, loosen)
    edit(folder, ANALYSIS, put(None, "dependencies"))
    edit(folder, TOP, put("new", "novelty"))

    assert expected == open_lab(folder).lab


def test_inputs_need_no_fields_they_do_not_use(folder: Path) -> None:
    expected = open_lab(folder).lab

    def tighten(document: Any) -> None:  # noqa: ANN401  # JSON
        for job in document["jobs"].values():
            main = job["executables"]["main"]
            main["inputs"] = [
                {key: value for key, value in source.items() if value is not None}
                for source in main["inputs"]
            ]

    edit(folder, SIMULATION, tighten)
    edit(folder, ANALYSIS, tighten)

    assert expected == open_lab(folder).lab


def test_everything_optional_may_be_null(folder: Path) -> None:
    nulls = ("name", "stage_type", "executables", "resource_hints")
    edit(folder, ANALYSIS, put({"params": {}} | dict.fromkeys(nulls), "jobs", ANALYSE))
    edit(folder, TOP, put(None, "groups"))
    lab = open_lab(folder).lab

    assert {} == lab.groups
    assert "stage-analysis-1.0" == lab.jobs[ANALYSE].name
    with pytest.raises(LabError, match=f"job {ANALYSE} cannot run: it has no executable 'main'"):
        _ = lab.jobs[ANALYSE].entry


def test_jobs_of_legacy_stage_types_are_left_out(folder: Path) -> None:
    edit(folder, SIMULATION, put("worker", "jobs", TOTAL, "stage_type"))
    lab = open_lab(folder).lab

    assert TOTAL not in lab.jobs
    assert (GENERATE, TRANSFORM) == lab.runs["simulation-run"].jobs


def test_a_job_that_needs_a_legacy_one_is_refused(folder: Path) -> None:
    edit(folder, SIMULATION, put("gather", "jobs", TRANSFORM, "stage_type"))

    with pytest.raises(LabError, match=f"needs job {TRANSFORM}, which is of a stage type that"):
        open_lab(folder)


def test_hard_wins_where_a_run_is_needed_in_both_ways(folder: Path) -> None:
    edit(folder, ANALYSIS, put("hard", *main_of(ANALYSE, "inputs", 0, "dependency_type")))

    dependencies = open_lab(folder).lab.runs["analysis-run"].dependencies

    assert {"simulation-run": DependencyType.HARD} == dependencies


def test_a_lab_without_host_tools_is_read(folder: Path) -> None:
    shutil.rmtree(folder / "host-tools")

    assert open_lab(folder).lab.host_tools is None


def test_the_garbage_collector_is_left_as_it_was(labs: Path, tmp_path: Path) -> None:
    assert gc.isenabled()
    open_lab(labs / "sweep")
    assert gc.isenabled()
    with pytest.raises(LabError):
        open_lab(tmp_path)
    assert gc.isenabled()


def needs(lab: Lab) -> dict[str, tuple[str, ...]]:
    return {job.id: job.needs for job in lab.jobs.values()}


def test_big_labs_are_read_like_small_ones(folder: Path) -> None:
    ids = many_jobs(folder, 1500)
    lab = open_lab(folder).lab

    assert (GENERATE,) == lab.needs[ids[0]]
    assert (ids[-2],) == lab.needs[ids[-1]]
    assert needs(lab) == lab.needs
    assert {"simulation-run": DependencyType.SOFT} == lab.runs["analysis-run"].dependencies


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("inputs", 0, "job_id"), "nobody", "needs job nobody, which is not in the Lab"),
        (("inputs", 0, "source_output"), "none", "needs output 'none' of job"),
        (("inputs", 0, "source_run"), "none", "depends on run 'none'"),
        (("inputs", 0, "job_id"), 5, "job_id`: expected a string"),
        (("inputs", 0), "x", "inputs[0]`: expected an object"),
        (("path",), "../../bin/sh", "contains '..'"),
        (("path",), "jobs/none", "executable 'main' is missing"),
    ],
)
def test_mistakes_are_found_among_many_jobs(
    folder: Path, keys: tuple[str | int, ...], value: object, message: str
) -> None:
    ids = many_jobs(folder, 1500)
    edit(folder, SIMULATION, put(value, *main_of(ids[700], *keys)))

    with pytest.raises(LabError) as caught:
        open_lab(folder)

    assert message in caught.value.message


def test_among_many_jobs_some_mistakes_wait_until_the_job_is_used(folder: Path) -> None:
    ids = many_jobs(folder, 1500)
    edit(folder, SIMULATION, put([], "jobs", ids[700], "params"))
    lab = open_lab(folder).lab

    with pytest.raises(LabError, match=f"run.json: field `jobs.{ids[700]}.params`: expected an"):
        _ = lab.jobs[ids[700]]


def test_a_circle_is_found_among_many_jobs(folder: Path) -> None:
    ids = many_jobs(folder, 1500)
    edit(folder, SIMULATION, put(ids[-1], *main_of(ids[0], "inputs", 0, "job_id")))
    edit(folder, SIMULATION, put("scaled", *main_of(ids[0], "inputs", 0, "source_output")))

    with pytest.raises(LabError, match="jobs need each other in a circle: "):
        open_lab(folder)
