"""The classes of RepX 0.5 behave as they did, so that old analyses keep running."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import repx_py
from repx_py import (
    ArtifactResolver,
    Experiment,
    JobCollection,
    JobView,
    LocalCacheResolver,
    ManifestResolver,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CALC = "1a3w5namblrpglvbpwd14hsb93hs2gz1-calc-1.0"
PREP = "1sfq5r0bydrm3w14jczk5n45v3rvf8n3-prep-1.0"
SQUARES = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"


@pytest.fixture
def sweep(labs: Path, tmp_path: Path) -> Experiment:
    return Experiment(labs / "sweep", resolver=LocalCacheResolver(tmp_path))


@pytest.fixture
def squares(labs: Path) -> JobView:
    return Experiment(labs / "scatter-gather").get_job(SQUARES)


def test_experiment_needs_a_lab_or_metadata() -> None:
    with pytest.raises(ValueError, match="needs lab_path or metadata"):
        Experiment()


def test_folder_without_manifest_is_no_lab(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no Lab in"):
        Experiment(tmp_path)


def test_runs_are_metadata_by_name(labs: Path) -> None:
    experiment = Experiment(labs / "simple-two-runs")

    assert set(experiment.runs()) == {"simulation-run", "analysis-run"}
    assert experiment.runs()["analysis-run"]["dependencies"] == {
        "revision/metadata-simulation-run.json": "soft"
    }
    assert len(experiment.jobs()) == 4
    assert experiment.path == labs / "simple-two-runs"
    assert isinstance(experiment.resolver, LocalCacheResolver)


def test_run_that_cannot_be_read_is_skipped_with_a_warning(
    labs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(labs / "simple-two-runs", lab, symlinks=True)
    (lab / "revision" / "metadata-analysis-run.json").write_text("{")

    with caplog.at_level(logging.WARNING):
        experiment = Experiment(lab)

    assert set(experiment.runs()) == {"simulation-run"}
    assert "skipped the run in revision/metadata-analysis-run.json" in caplog.text


def test_jobs_are_found_by_id(sweep: Experiment) -> None:
    assert sweep.get_job(CALC).name == "calc-1.0"
    name, metadata = sweep.get_run_for_job(CALC)
    assert (name, metadata["name"]) == ("sweep-run", "sweep-run")


def test_job_is_the_same_object_each_time(sweep: Experiment) -> None:
    job = sweep.get_job(CALC)

    assert sweep.get_job(CALC) is job
    assert next(other for other in sweep.jobs() if other.id == CALC) is job


def test_shared_job_belongs_to_the_last_run_that_lists_it() -> None:
    jobs: dict[str, Any] = {"0-s-1.0": {"params": {}}}
    runs = {name: {"name": name, "jobs": jobs} for name in ("a", "b")}

    assert Experiment(_preloaded_metadata=runs).get_run_for_job("0-s-1.0")[0] == "b"


def test_table_that_cannot_be_read_is_named_by_the_error_that_pandas_raises(
    sweep: Experiment, tmp_path: Path
) -> None:
    errors = pytest.importorskip("pandas.errors")
    out = tmp_path / CALC / "out"
    out.mkdir(parents=True)
    (out / "result.csv").touch()

    with pytest.raises(errors.EmptyDataError, match=r"out/result\.csv: the file is empty"):
        sweep.get_job(CALC).load_csv("result")


def test_classes_are_where_old_code_imports_them_from() -> None:
    from repx_py import models

    for name in models.__all__:
        assert getattr(models, name) is getattr(repx_py, name)


@pytest.mark.parametrize("method", ["get_job", "get_run_for_job"])
def test_unknown_id_is_a_key_error(sweep: Experiment, method: str) -> None:
    with pytest.raises(KeyError, match="calc"):
        getattr(sweep, method)("calc")


def test_effective_params_by_job(sweep: Experiment) -> None:
    assert sweep.effective_params[CALC] == {"seed": 2, "factor": 5, "label": "five"}
    assert sweep.get_job(CALC).effective_params == sweep.effective_params[CALC]


def test_view_of_a_simple_job(sweep: Experiment) -> None:
    job = sweep.get_job(CALC)

    assert job.stage_type == "simple"
    assert job.params == {"factor": 5, "label": "five"}
    assert job.executable_path == f"jobs/{CALC}/bin/calc"
    assert job.outputs == {"result": "$out/result.csv"}
    assert [mapping["target_input"] for mapping in job.input_mappings] == ["base"]
    assert [other.id for other in job.dependencies] == [PREP]


def test_view_of_a_scatter_gather_job(squares: JobView) -> None:
    assert squares.stage_type == "scatter-gather"
    assert squares.executable_path is None
    assert squares.outputs == {"summary": "$out/gathered.txt"}
    assert [mapping["target_input"] for mapping in squares.input_mappings] == ["number_list"]
    assert [job.name for job in squares.dependencies] == ["a-make-list-1.0"]


def test_other_attributes_are_fields_of_the_metadata(sweep: Experiment) -> None:
    job = sweep.get_job(CALC)

    assert job.resource_hints == {"mem": "32M", "cpus": 1, "time": "00:01:00"}
    assert set(job.executables) == {"main"}
    with pytest.raises(AttributeError, match="no attribute 'seed'"):
        _ = job.seed


def pickled(job: JobView) -> JobView:
    return pickle.loads(pickle.dumps(job))  # type: ignore[no-any-return]  # noqa: S301  # our own


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_view_survives_copy_and_pickle(
    sweep: Experiment, again: Callable[[JobView], JobView]
) -> None:
    other = again(sweep.get_job(CALC))

    assert other.id == CALC
    assert other.resource_hints["cpus"] == 1
    assert other.effective_params["seed"] == 2


def test_collection_is_a_sequence(sweep: Experiment) -> None:
    jobs = sweep.jobs()

    assert len(jobs) == 8
    assert isinstance(jobs[0], JobView)
    assert isinstance(jobs[1:3], JobCollection)
    assert [job.id for job in jobs[1:3]] == [jobs[1].id, jobs[2].id]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"name": "calc-1.0"}, 6),
        ({"name": "calc-1.0", "id__startswith": "1a3w"}, 1),
        ({"name__startswith": "pr"}, 2),
        ({"name__endswith": "-1.0"}, 8),
        ({"name__contains": "al"}, 6),
        ({"resource_hints__contains": "32M"}, 6),
        ({"stage_type": "simple"}, 8),
        ({"params": {"seed": 1}}, 1),
        ({"seed": 1}, 0),
        ({"param_seed": 1}, 0),
    ],
    ids=str,
)
def test_filter_compares_attributes_and_drops_jobs_without(
    sweep: Experiment, conditions: dict[str, Any], expected: int
) -> None:
    assert len(sweep.jobs().filter(**conditions)) == expected


def test_filter_by_what_is_no_attribute_warns(
    sweep: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(sweep.jobs().filter(seed=1)) == 0
        assert "no job has the attribute 'seed'" in caplog.text
        caplog.clear()
        assert len(sweep.jobs().filter(resource_hints={}, name__startswith="x")) == 0

    assert not caplog.text


def test_filter_takes_a_predicate_too(sweep: Experiment) -> None:
    found = sweep.jobs().filter(lambda job: job.effective_params["seed"] == 1, name="calc-1.0")

    assert len(found) == 3


def test_unknown_operator_warns_and_means_equality(
    sweep: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = sweep.jobs().filter(name__matches="calc-1.0")

    assert len(found) == 6
    assert "unknown operator '__matches'" in caplog.text


def test_outputs_are_found_in_a_cache(sweep: Experiment, tmp_path: Path) -> None:
    path = sweep.get_job(CALC).get_output_path("result")

    assert path == tmp_path / CALC / "out" / "result.csv"
    assert LocalCacheResolver().cache_dir == Path.cwd() / ".repx-cache"


def test_undeclared_output_is_a_key_error_that_lists_the_outputs(sweep: Experiment) -> None:
    with pytest.raises(KeyError, match=r"output 'run\.log' not found in .*; outputs: \['result'\]"):
        sweep.get_job(CALC).get_output_path("run.log")


def test_outputs_are_found_by_a_manifest(labs: Path, tmp_path: Path) -> None:
    resolver = ManifestResolver(job_output_map={CALC: tmp_path})
    experiment = Experiment(labs / "sweep", resolver=resolver)
    assert experiment.get_job(CALC).get_output_path("result") == tmp_path / "result.csv"
    assert resolver.mapping == {CALC: tmp_path}
    with pytest.raises(FileNotFoundError, match="not found in the manifest"):
        experiment.get_job(PREP).get_output_path("base")


def test_own_resolver_is_asked(labs: Path, tmp_path: Path) -> None:
    class Flat(ArtifactResolver):
        def resolve_path(self, job: JobView, relative_path: str | Path) -> Path:
            return tmp_path / f"{job.name}-{relative_path}"

    job = Experiment(labs / "sweep", resolver=Flat()).get_job(CALC)

    assert job.get_output_path("result") == tmp_path / "calc-1.0-result.csv"


def test_csv_is_loaded_by_output_or_by_file(sweep: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    out = tmp_path / CALC / "out"
    out.mkdir(parents=True)
    (out / "result.csv").write_text("value\n7\n")
    (out / "other.csv").write_text("value;more\n8;9\n")
    job = sweep.get_job(CALC)

    assert job.load_csv("result").value.tolist() == [7]
    assert job.load_csv("other.csv", sep=";").more.tolist() == [9]


def test_table_has_name_and_effective_parameters(sweep: Experiment) -> None:
    pytest.importorskip("pandas")

    table = sweep.jobs().filter(name="calc-1.0").to_dataframe()

    assert table.index.name == "job_id"
    assert table.columns.tolist() == ["name", "seed", "factor", "label"]
    assert table.loc[CALC].tolist() == ["calc-1.0", 2, 5, "five"]
    assert sweep.jobs().filter(name="none").to_dataframe().empty


def test_parameters_never_hide_columns() -> None:
    """Nested parameters are joined by dots; ``name`` and ``job_id`` get ``param_`` in front."""
    pytest.importorskip("pandas")
    params: dict[str, Any] = {
        "name": "n",
        "job_id": "j",
        "param_job_id": "p",
        "deep": {"a": {"b": 1}, "c": {}},
    }
    params["deep.a.b"] = 2
    run = {"name": "r", "jobs": {"0-s-1.0": {"name": "s-1.0", "params": params}}}

    table = Experiment(_preloaded_metadata={"r": run}).jobs().to_dataframe()

    assert table.loc["0-s-1.0"].to_dict() == {
        "name": "s-1.0",
        "param_name": "n",
        "param_param_job_id": "j",
        "param_job_id": "p",
        "deep.a.b": 2,
        "param_deep.a.b": 1,
        "deep.c": {},
    }


def test_cyclic_jobs_do_not_recurse_for_ever() -> None:
    def needing(other: str) -> dict[str, Any]:
        inputs = [{"job_id": other, "source_output": "x", "target_input": "x"}, {"job_id": "self"}]
        return {"params": {other: 1}, "executables": {"main": {"path": "p", "inputs": inputs}}}

    run = {"name": "r", "jobs": {"a": needing("b"), "b": needing("a")}}
    experiment = Experiment(_preloaded_metadata={"r": run})

    assert experiment.effective_params["a"] == {"a": 1, "b": 1}
    assert [job.id for job in experiment.get_job("a").dependencies] == ["b"]


def test_stage_reads_a_run_through_its_inputs(labs: Path, tmp_path: Path) -> None:
    """Inside a job only the metadata file and the store are there, no Lab."""
    metadata = tmp_path / "artifacts" / "revision" / "0abc-metadata-sweep-run.json"
    metadata.parent.mkdir(parents=True)
    shutil.copy(labs / "sweep" / "revision" / "metadata-sweep-run.json", metadata)
    (tmp_path / "outputs").mkdir()

    experiment = Experiment.from_run_metadata(metadata, tmp_path)

    assert list(experiment.runs()) == ["sweep-run"]
    assert experiment.path is None
    assert (
        experiment.get_job(CALC).get_output_path("result")
        == tmp_path / "outputs" / CALC / "out" / "result.csv"
    )


def test_store_base_without_outputs_is_itself_the_cache(labs: Path, tmp_path: Path) -> None:
    metadata = labs / "sweep" / "revision" / "metadata-sweep-run.json"

    job = Experiment.from_run_metadata(metadata, tmp_path).get_job(CALC)

    assert job.get_output_path("result") == tmp_path / CALC / "out" / "result.csv"


def test_only_a_run_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Experiment.from_run_metadata(tmp_path / "gone.json", tmp_path)
    (tmp_path / "top.json").write_text(json.dumps({"type": "root", "runs": []}))
    with pytest.raises(ValueError, match="not the metadata of a run"):
        Experiment.from_run_metadata(tmp_path / "top.json", tmp_path)
