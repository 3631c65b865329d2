"""A store that RepX 0.5 uses too: what its ``gc`` keeps of ours, and what its failures mean."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repx import observe, plan, transfer
from repx import store as stores
from repx.lab.load import open_lab
from repx.launch import own_name
from repx.plan import Wish
from repx.status import JobState, State
from repx.target import Resources, RuntimeName
from repx_py import Lab

if TYPE_CHECKING:
    from repx.lab.load import OpenLab
    from repx.store import Store

SQUARES = "114nldsqgggscc8l3nkzg60njsdvwmrf-b-square-sum-1.0"
COLLECTIONS = ("host-tools", "images", "image", "jobs", "lab", "revision", "readme", "store")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "store"))


def send(opened: OpenLab, store: Store) -> None:
    """Send a Lab as a run of all its jobs does, and leave results of them."""
    made = plan.make(
        opened.lab,
        Wish(jobs=tuple(opened.lab.jobs)),
        dict.fromkeys(opened.lab.jobs, JobState(state=State.PENDING)),
        resources=lambda job, run, phase: Resources(),  # noqa: ARG005
        runtimes=(RuntimeName.NATIVE,),
    )
    transfer.send(opened.lab, opened.files, made, store, transfer.places(opened.lab, opened.files))
    for job in opened.lab.jobs:
        Path(store.outputs(job), "out").mkdir(parents=True, exist_ok=True)


def collect(base: Path) -> list[str]:
    """Return what ``repx gc`` of RepX 0.5 would delete (its algorithm, step by step)."""
    artifacts = base / "artifacts"
    live_jobs: set[str] = set()
    live: set[str] = set()
    for root in (base / "gcroots").glob("auto/*/*"):
        target = Path(os.path.realpath(root.readlink()))
        if not target.is_relative_to(artifacts) or not target.exists():
            continue
        live.add(str(target.relative_to(artifacts)))
        manifest = json.loads(target.read_text())
        live |= {manifest["metadata"]}
        live |= {"/".join(each["path"].split("/")[:2]) for each in manifest["files"]}
        for path in json.loads((artifacts / manifest["metadata"]).read_text())["runs"]:
            jobs = json.loads((artifacts / path).read_text())["jobs"]
            live |= {path, *(f"jobs/{job}" for job in jobs)}
            live_jobs |= jobs.keys()
    dead = [
        str(path.relative_to(base))
        for name in COLLECTIONS
        for path in (artifacts / name).glob("*")
        if str(path.relative_to(artifacts)) not in live
    ]
    gone = [path for path in (base / "outputs").glob("*") if path.name not in live_jobs]
    return dead + [str(path.relative_to(base)) for path in gone]


def test_its_gc_keeps_the_results_of_every_lab(labs: Path, store: Store) -> None:
    for name in ("sweep", "scatter-gather", "simple-two-runs"):
        send(open_lab(labs / name), store)

    assert collect(Path(store.root)) == []


def test_without_a_root_its_gc_would_delete_all(labs: Path, store: Store) -> None:
    opened = open_lab(labs / "sweep")
    send(opened, store)
    shutil.rmtree(store.path("gcroots"))

    deleted = collect(Path(store.root))

    assert {f"outputs/{job}" for job in opened.lab.jobs} <= set(deleted)


def test_root_is_made_once_and_again_when_it_was_removed(labs: Path, store: Store) -> None:
    opened = open_lab(labs / "sweep")
    send(opened, store)
    (root,) = Path(store.path("gcroots")).glob("auto/*/*")
    before = root.lstat().st_ino
    send(opened, store)

    assert root.lstat().st_ino == before
    assert root.readlink() == Path(
        store.path(f"artifacts/lab/{own_name(opened.lab)}-lab-metadata.json")
    )
    root.unlink()
    send(opened, store)
    assert root.exists()


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("scatter", "scatter failed"),
        ("branch-1/step-extract", "step extract of branch 1 failed"),
    ],
)
def test_job_whose_step_failed_there_has_failed(
    labs: Path, store: Store, phase: str, reason: str
) -> None:
    """RepX 0.5 leaves empty marks, no mark of the job, and no lock."""
    opened = open_lab(labs / "scatter-gather")
    home = Path(store.outputs(SQUARES))
    for folder in ("repx", "scatter/repx", "branch-0/step-extract/repx", f"{phase}/repx"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "branch-0/step-extract/repx/SUCCESS").touch()
    (home / phase / "repx/FAIL").touch()

    told = observe.states(opened.lab, store)[SQUARES]

    assert (told.state, told.reason) == (State.FAILED, reason)
    lab = Lab.from_path(labs / "scatter-gather", store=store.root)
    job = lab.job(SQUARES)
    assert job.status == "failed"
    assert job.marker is not None
    assert job.marker.reason == reason
    assert [each.id for each in lab.jobs(status="failed")] == [SQUARES]
    assert lab.graph().nodes[SQUARES]["status"] == "failed"


@pytest.mark.parametrize("sign", ["branch-1/step-extract/repx/SUCCESS", "repx/lock"])
def test_failed_step_that_does_not_count(labs: Path, store: Store, sign: str) -> None:
    """The step succeeded later, or the job is ours: we mark the job itself."""
    opened = open_lab(labs / "scatter-gather")
    home = Path(store.outputs(SQUARES))
    for folder in ("repx", "branch-1/step-extract/repx"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "branch-1/step-extract/repx/FAIL").touch()
    (home / sign).touch()

    assert observe.states(opened.lab, store)[SQUARES].state is not State.FAILED
    assert Lab.from_path(labs / "scatter-gather", store=store.root).job(SQUARES).status == "pending"
