"""An analysis of a Lab: its jobs, how they ended, and how to find them."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from repx.errors import InputError, LabError
from repx.launch import own_name
from repx.status import State
from repx_py import Job, Lab
from tests.analysed import CALC_2_5, MARKER, TARGETS, end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def lab(labs: Path, tmp_path: Path) -> Lab:
    return Lab.from_path(labs / "sweep", store=tmp_path)


@pytest.fixture
def chain(labs: Path, tmp_path: Path) -> Lab:
    return Lab.from_path(labs / "simple-two-runs", store=tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, as a user without settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_store_is_the_built_in_one_without_targets(labs: Path, home: Path) -> None:
    store = Lab.from_path(labs / "sweep").store.root

    assert store == str(home / "XDG_DATA_HOME" / "repx" / "store")


def test_store_is_that_of_a_target(labs: Path, home: Path) -> None:
    (home / "targets.yaml").write_text(TARGETS)

    assert Lab.from_path(labs / "sweep").store.root == str(home / "results")
    assert Lab.from_path(labs / "sweep", target="there").store.root == "/elsewhere"


def test_hints_name_what_one_writes_in_python(labs: Path, home: Path) -> None:
    with pytest.raises(LabError) as no_lab:
        Lab.from_path("nothing", store=home)
    with pytest.raises(InputError) as no_targets:
        Lab.from_path(labs / "sweep", target="cluster")
    (home / "targets.yaml").write_text("targets: {a: {base_path: /a}, b: {base_path: /b}}")
    with pytest.raises(InputError) as several:
        Lab.from_path(labs / "sweep")

    assert no_lab.value.hint == (
        'build one with `repx build`, or give its path: Lab.from_path("PATH")'
    )
    assert "--targets" not in (no_targets.value.hint or "--targets")
    assert several.value.hint == 'choose one with `Lab.from_path(..., target="NAME")`: a, b'


def test_result_is_the_lab_unless_one_is_named(labs: Path, home: Path) -> None:
    with pytest.raises(LabError, match=r"no Lab at .*result"):
        Lab.from_path()
    (home / "result").symlink_to(labs / "sweep")

    assert Lab.from_path().path == labs / "sweep"


def test_deleted_current_folder_is_named(labs: Path, home: Path) -> None:
    (home / "gone").mkdir()
    os.chdir(home / "gone")
    (home / "gone").rmdir()

    for path in ("result", labs / "sweep"):
        with pytest.raises(InputError, match="the current folder has been deleted"):
            Lab.from_path(path)


def test_outputs_are_paths_in_the_store(lab: Lab, tmp_path: Path) -> None:
    outputs = lab.job(CALC_2_5).outputs

    assert outputs == {"result": tmp_path / "outputs" / CALC_2_5 / "out" / "result.csv"}


def test_lab_may_be_a_tar(lab: Lab, labs: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "lab.tar", "w") as tar:
        tar.add(labs / "sweep", "result")

    packed = Lab.from_path(tmp_path / "lab.tar", store=tmp_path)

    assert [job.outputs for job in packed.jobs()] == [job.outputs for job in lab.jobs()]


def test_gather_declares_the_outputs_of_a_scatter_gather_job(labs: Path, tmp_path: Path) -> None:
    lab = Lab.from_path(labs / "scatter-gather", store=tmp_path)

    (job,) = lab.jobs(stage_type="scatter-gather")

    assert job.outputs == {"summary": job.path / "gathered.txt"}
    assert list(job.inputs) == ["number_list"]


def test_inputs_are_what_the_job_is_given(chain: Lab, tmp_path: Path) -> None:
    (total,) = chain.jobs(stage="stage-c-total")
    (analysis,) = chain.jobs(stage="stage-analysis")

    assert total.inputs == {"values": total.dependencies[0].outputs["scaled"]}
    revision = tmp_path / "artifacts" / "revision"
    name = f"{own_name(chain.model)}-metadata-simulation-run.json"
    assert analysis.inputs == {
        "metadata__simulation-run": revision / name,
        "store__base": tmp_path,
    }


def test_job_without_marker_is_pending(lab: Lab) -> None:
    job = lab.job(CALC_2_5)

    assert (job.status, job.marker, job.duration_s) == (State.PENDING, None, None)
    assert (job.stdout, job.stderr) == ("", "")


def test_marker_tells_how_a_job_ended(lab: Lab) -> None:
    end(lab, CALC_2_5, "FAIL", MARKER)

    job = lab.job(CALC_2_5)

    assert job.status == "failed"
    assert job.duration_s == 2.5
    assert job.marker is not None
    assert (job.marker.reason, job.marker.exit, job.marker.cpu_s) == ("exit 3", 3, 0.25)
    assert (job.marker.host, job.marker.attempt, job.marker.scheduler) == ("n1", 2, "slurm:7")


@pytest.mark.parametrize("content", ["", "not JSON", "[]", '{"start": "x", "reason": 7}'])
def test_existence_of_a_marker_is_enough(lab: Lab, content: str) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path.parent / "repx" / "SUCCESS").write_text(content)

    assert job.status == "succeeded"
    assert job.duration_s is None
    assert job.marker is not None
    assert job.marker.reason == ""


@pytest.mark.parametrize(
    "times",
    [
        {"start": 1700000030.5, "end": 1700000001.25},
        {"start": 1, "end": float("inf")},
        {"start": float("nan"), "end": 2},
        {"start": True, "end": 2},
        {"start": 10**400, "end": 10**401},
        {"end": 2},
    ],
    ids=str,
)
def test_time_that_cannot_be_is_unknown(lab: Lab, times: dict[str, object]) -> None:
    """A clock that is set back while a job runs leaves an end before the start."""
    pytest.importorskip("pandas")
    end(lab, CALC_2_5, "SUCCESS", times)

    assert lab.job(CALC_2_5).duration_s is None
    assert len(lab.jobs(duration_s__lt=0)) == 0
    assert lab.jobs().to_dataframe().duration_s.isna().all()


def test_success_wins_over_fail(lab: Lab) -> None:
    end(lab, CALC_2_5, "FAIL", MARKER)
    (lab.job(CALC_2_5).path.parent / "repx" / "SUCCESS").touch()

    assert lab.job(CALC_2_5).status == "succeeded"


def test_status_is_read_anew_each_time(lab: Lab) -> None:
    job = lab.job(CALC_2_5)
    before = job.status
    end(lab, CALC_2_5, "SUCCESS")

    assert (before, job.status) == ("pending", "succeeded")


def test_logs_are_text_whatever_their_bytes(lab: Lab) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)
    (job.path.parent / "repx" / "stdout.log").write_bytes(b"5 \xff\n")

    assert job.stdout == "5 \ufffd\n"


def test_effective_params_come_from_upstream(lab: Lab) -> None:
    job = lab.job(CALC_2_5)

    assert job.params == {"factor": 5, "label": "five"}
    assert job.effective_params == {"seed": 2, "factor": 5, "label": "five"}


def test_params_may_be_changed_without_harm(lab: Lab) -> None:
    lab.job(CALC_2_5).effective_params["seed"] = 9

    assert lab.job(CALC_2_5).effective_params["seed"] == 2


def test_graph_can_be_followed_both_ways(chain: Lab) -> None:
    first, second, third = (
        chain.jobs(stage=stage)[0]
        for stage in ("stage-a-generate", "stage-b-transform", "stage-c-total")
    )

    assert list(third.dependencies) == [second]
    assert set(third.ancestors) == {first, second}
    assert list(first.dependents) == [second]
    assert set(first.descendants) == {second, third}


def test_graph_of_jobs_is_one_of_networkx(chain: Lab) -> None:
    networkx = pytest.importorskip("networkx")
    first, second, third = (
        chain.jobs(stage=stage)[0]
        for stage in ("stage-a-generate", "stage-b-transform", "stage-c-total")
    )
    end(chain, first.id, "SUCCESS")
    end(chain, second.id, "FAIL", MARKER)

    graph = chain.graph()

    assert isinstance(graph, networkx.DiGraph)
    assert list(graph) == list(chain.model.jobs)
    assert set(graph.edges) == {(first.id, second.id), (second.id, third.id)}
    assert networkx.ancestors(graph, third.id) == {first.id, second.id}
    assert {job: graph.nodes[job]["status"] for job in (first.id, second.id, third.id)} == {
        first.id: "succeeded",
        second.id: "failed",
        third.id: "pending",
    }
    assert graph.nodes[third.id] == {
        "name": third.name,
        "stage": "stage-c-total",
        "runs": ("simulation-run",),
        "status": "pending",
        "params": third.effective_params,
    }


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"stage": "calc"}, 6),
        ({"name": "prep-1.0"}, 2),
        ({"run": "sweep-run"}, 8),
        ({"status": "pending"}, 8),
        ({"status__ne": "pending"}, 0),
        ({"stage_type": "simple"}, 8),
        ({"id__startswith": "1a3w5nam"}, 1),
        ({"seed": 1}, 4),
        ({"seed": 1, "stage": "calc"}, 3),
        ({"factor__gt": 2}, 4),
        ({"factor__ge": 2}, 6),
        ({"factor__lt": 3}, 2),
        ({"factor__le": 3}, 4),
        ({"factor__ne": 3}, 4),
        ({"factor__in": [2, 5]}, 4),
        ({"label__startswith": "t"}, 4),
        ({"label__endswith": "e"}, 4),
        ({"label__contains": "w"}, 2),
        ({"param_seed": 1}, 4),
        ({"param_seed__gt": 1}, 4),
        ({"where": {"seed": 1, "factor__lt": 5}}, 2),
        ({"seed": True}, 0),
    ],
    ids=str,
)
def test_jobs_are_found_by_attribute_and_parameter(
    lab: Lab, conditions: dict[str, Any], expected: int
) -> None:
    assert len(lab.jobs(**conditions)) == expected


def test_predicate_and_conditions_are_joined(lab: Lab) -> None:
    found = lab.jobs(lambda job: job.id.startswith("1"), stage="calc").filter(seed=2)

    assert {job.id[:4] for job in found} == {"10sg", "1a3w"}


@pytest.mark.parametrize(
    ("conditions", "message", "hint"),
    [
        ({"sed": 1}, "unknown attribute or parameter 'sed'", "did you mean 'seed'?"),
        ({"where": {"stage": 1}}, "unknown parameter 'stage'", "known: factor, label, seed"),
        ({"param_sed": 1}, "unknown attribute or parameter 'param_sed'", None),
        ({"stage": "clac"}, "unknown stage 'clac'", "did you mean 'calc'?"),
        ({"stage__in": ["calc", "perp"]}, "unknown stage 'perp'", "did you mean 'prep'?"),
        ({"run": "sweep"}, "unknown run 'sweep'", "did you mean 'sweep-run'?"),
        ({"status": "success"}, "unknown status 'success'", "did you mean 'succeeded'?"),
        ({"seed__gr": 1}, "unknown operator '__gr' in 'seed__gr'", None),
        ({"seed__in": 1}, "seed__in=1: __in wants a collection", "seed__in=[1]"),
        ({"label__gt": 1}, "cannot tell which of 'three' and 1 is greater", None),
    ],
    ids=str,
)
def test_what_cannot_match_is_an_error_with_a_way_out(
    lab: Lab, conditions: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        lab.jobs(**conditions)

    assert caught.value.message == message
    assert hint in (None, caught.value.hint)


def test_selection_is_a_sequence(lab: Lab) -> None:
    jobs = lab.jobs(stage="calc")

    assert jobs[0] in jobs
    assert jobs[-1].id == CALC_2_5
    assert jobs[1:3].ids == jobs.ids[1:3]
    assert repr(lab.jobs()) == "<Jobs 6 calc, 2 prep>"
    assert repr(lab.jobs(seed=True)) == "<Jobs none>"


def test_jobs_sort_in_the_order_of_their_lab(lab: Lab, chain: Lab) -> None:
    jobs = list(lab.jobs())

    assert sorted([jobs[2], jobs[0], jobs[1]]) == jobs[:3]
    assert max(jobs) == jobs[-1]
    with pytest.raises(TypeError):
        sorted([jobs[0], chain.jobs()[0]])


def test_job_is_found_by_a_unique_beginning_or_as_the_end_of_a_run(lab: Lab, chain: Lab) -> None:
    assert lab.job("1a3w5").id == CALC_2_5
    assert chain.job("simulation-run").stage == "stage-c-total"


@pytest.mark.parametrize("word", ["zz", "1", "sweep-run"])
def test_word_that_means_no_job_or_several_is_refused(lab: Lab, word: str) -> None:
    with pytest.raises(InputError, match=word):
        lab.job(word)


def test_runs_and_groups(chain: Lab) -> None:
    runs = chain.runs()

    assert list(runs) == ["simulation-run", "analysis-run"]
    assert len(runs["simulation-run"].jobs()) == 3
    assert len(runs["simulation-run"].jobs(stage="stage-c-total")) == 1
    assert dict(runs["analysis-run"].dependencies) == {"simulation-run": "soft"}
    assert chain.groups()["compute"] == ("simulation-run",)


def pickled(job: Job) -> Job:
    return pickle.loads(pickle.dumps(job))  # type: ignore[no-any-return]  # noqa: S301  # our own


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_job_survives_copy_and_pickle(lab: Lab, again: Callable[[Job], Job]) -> None:
    end(lab, CALC_2_5, "SUCCESS")
    job = lab.job(CALC_2_5)

    other = again(job)

    assert other == job
    assert hash(other) == hash(job)
    assert other.status == "succeeded"


def test_pickled_job_is_small(lab: Lab) -> None:
    assert len(pickle.dumps(lab.job(CALC_2_5))) < 1000


def test_pickle_of_a_lab_that_was_replaced_is_refused(labs: Path, tmp_path: Path) -> None:
    place = tmp_path / "lab"
    shutil.copytree(labs / "sweep", place, symlinks=True)
    frozen = pickle.dumps(Lab.from_path(place, store=tmp_path).jobs()[0])
    shutil.rmtree(place)
    shutil.copytree(labs / "scatter-gather", place, symlinks=True)

    with pytest.raises(LabError, match="holds another Lab"):
        pickle.loads(frozen)  # noqa: S301  # our own
