"""What stands on a job that runs again runs again, too, or is shown as stale until it does."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from repx.places.tree import Tree
from repx_py import Lab
from tests.real.slurm_place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.real.slurm_cluster import Cluster

pytestmark = pytest.mark.slow

COUNT = "count=$(cat ../count 2>/dev/null || echo 0); echo $((count + 1)) >../count; "


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Place, str, str, str]:
    """Three jobs, each of which passes on what it got; the first counts how often it ran."""
    made = Place(folder=tmp_path, cluster=cast("Cluster", SimpleNamespace(env=dict(os.environ))))
    made.target(scheduler="local")
    first = made.lab.job("first", f"{COUNT}cat ../count >o")
    second = made.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    third = made.lab.job("third", 'cat "$(input in0)" >o', needs=[second])
    made.repx("run")
    return made, first, second, third


def test_force_runs_what_stands_on_a_job_again(chain: tuple[Place, str, str, str]) -> None:
    here, first, second, third = chain
    said = here.repx("run", first, "--force", "--dry-run")
    here.repx("run", first, "--force")

    assert "first, upstream of this job, runs again" in said
    assert ["2", "2", "2"] == [here.out(job) for job in (first, second, third)]
    assert {"succeeded"} == set(here.states().values())


def test_only_leaves_it_and_shows_it_as_stale_until_it_runs(
    chain: tuple[Place, str, str, str],
) -> None:
    here, first, second, third = chain
    here.repx("run", first, "--force", "--only")
    left = here.states()
    told = here.repx("status")
    here.repx("run")

    assert ["succeeded", "stale", "stale"] == [left[job] for job in (first, second, third)]
    assert "ran again since" in told
    assert ["2", "2", "2"] == [here.out(job) for job in (first, second, third)]
    assert {"succeeded"} == set(here.states().values())


def test_a_force_that_was_cut_off_leaves_nothing_that_looks_fresh(
    chain: tuple[Place, str, str, str],
) -> None:
    """As if the machine died when the first job had run again."""
    here, first, second, third = chain
    here.repx("render", first, "--force", "-o", "scripts")
    untouched = here.states()
    marker = here.repx_dir(first) / "SUCCESS"
    again = json.loads(marker.read_text()) | {"start": 1.5}
    marker.write_text(f"{json.dumps(again)}\n")
    cut_off = here.states()

    assert {"succeeded"} == set(untouched.values())
    assert ["succeeded", "stale", "stale"] == [cut_off[job] for job in (first, second, third)]


def test_where_nothing_was_forced_nothing_is_written(chain: tuple[Place, str, str, str]) -> None:
    here, *_ = chain

    assert not (here.store / "stale").exists()
    assert "--force is not there" in here.repx("run", "--only", code=2)


def test_an_analysis_shows_it_as_stale_too(chain: tuple[Place, str, str, str]) -> None:
    """One by one, filtered, as a table and as a graph: the states are those of `status`."""
    here, first, second, third = chain
    ids = [first, second, third]
    lab = Lab.from_path(here.folder / "result", store=here.store)
    fresh = [lab.job(job).status for job in ids]
    here.repx("run", first, "--force", "--only")
    one_by_one = {job: str(lab.job(job).status) for job in ids}
    table = lab.jobs().to_dataframe()
    graph = lab.graph()

    assert ["succeeded"] * 3 == fresh
    assert here.states() == one_by_one
    assert one_by_one == table["status"].to_dict()
    assert one_by_one == {job: graph.nodes[job]["status"] for job in ids}
    assert "ran again since" in table.loc[third, "reason"]
    assert {second, third} == set(lab.jobs(status="stale").ids)
    assert (first,) == lab.jobs(status="succeeded").ids


def test_asking_job_after_job_reads_the_record_once(
    chain: tuple[Place, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, first, second, third = chain
    here.repx("run", first, "--force", "--only")
    lab = Lab.from_path(here.folder / "result", store=here.store)
    read: list[str] = []
    read_many = Tree.read_many

    def noting(tree: Tree, keys: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        read.extend(keys)
        return read_many(tree, keys)

    monkeypatch.setattr(Tree, "read_many", noting)
    states = [str(lab.job(job).status) for job in [first, second, third] * 2]

    assert ["succeeded", "stale", "stale"] * 2 == states
    assert 1 == sum(key.startswith("stale/") for key in read)


def test_a_job_whose_folder_was_deleted_outdates_what_stands_on_it(
    chain: tuple[Place, str, str, str],
) -> None:
    """What is wanted runs again; what is not named is shown as stale until it is."""
    here, first, second, third = chain
    shutil.rmtree(here.store / "outputs" / first)
    here.repx("run", first)
    between = here.states()
    shown = here.repx("run", "-n")
    here.repx("run", third)

    assert ["succeeded", "stale", "stale"] == [between[job] for job in (first, second, third)]
    assert 2 == shown.count("stale: first ran again")
    assert {"succeeded"} == {*here.states().values()}
    assert here.out(first) == here.out(second) == here.out(third)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_run_that_reads_another_runs_again_when_jobs_of_that_do(
    tmp_path: Path, kind: str
) -> None:
    here = Place(folder=tmp_path, cluster=cast("Cluster", SimpleNamespace(env=dict(os.environ))))
    here.target(scheduler="local")
    first = here.lab.job("first", f"{COUNT}cat ../count >o")
    report = here.lab.job("report", f'cat "{here.store}"/outputs/*-first-*/out/o >o')
    here.lab.run("sweep", [first])
    here.lab.run("report", [report], sweep=kind)
    here.repx("run")
    here.repx("run", first, "--force", "--only")
    between = here.states()
    here.repx("run")

    assert "stale" == between[report]
    assert here.out(first) == here.out(report) == "2"


def test_a_report_of_what_has_failed_runs_again_when_that_is_mended(tmp_path: Path) -> None:
    """It waits softly: it was made although jobs had failed, and lacks what they make now."""
    here = Place(folder=tmp_path, cluster=cast("Cluster", SimpleNamespace(env=dict(os.environ))))
    here.target(scheduler="local")
    flaky = here.lab.job("flaky", f"[[ -e {tmp_path}/mended ]] && echo mended >o")
    report = here.lab.job(
        "report", f'cat "{here.store}"/outputs/*-flaky-*/out/o >o || echo none >o'
    )
    here.lab.run("sweep", [flaky])
    here.lab.run("report", [report], sweep="soft")
    here.repx("run", "-k", code=1)
    before = here.out(report)
    still = here.repx("run", "--failed", "-k", code=1)
    unchanged = here.states()
    (tmp_path / "mended").touch()
    shown = here.repx("run", "-n")
    here.repx("run", "sweep")
    between = here.states()
    here.repx("run")

    assert "none" == before
    assert "1 job on" in still, "the report is not wanted"
    assert "succeeded" == unchanged[report], "nothing new was made"
    assert "runs again" in shown
    assert "stale" == between[report]
    assert "mended" == here.out(report)
