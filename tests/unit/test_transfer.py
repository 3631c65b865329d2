"""What a store gets of a Lab, and what it does not get twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repx import plan, transfer
from repx import store as stores
from repx.errors import LabError
from repx.lab.load import open_lab
from repx.launch import lab_folder, metadata_name, own_name
from repx.plan import Wish
from repx.status import JobState, State
from repx.target import Resources, RuntimeName

if TYPE_CHECKING:
    from repx.lab.load import OpenLab
    from repx.model import JobId
    from repx.plan import Plan
    from repx.store import Store

LABS = Path(__file__).parents[1] / "labs"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.local(str(tmp_path / "store"))


def opened(name: str) -> OpenLab:
    return open_lab(LABS / name)


def everything(of: OpenLab) -> Plan:
    pending = JobState(state=State.PENDING)
    states: dict[JobId, JobState] = dict.fromkeys(of.lab.jobs, pending)
    return plan.make(
        of.lab,
        Wish(jobs=tuple(of.lab.jobs)),
        states,
        resources=lambda job, run, phase: Resources(),  # noqa: ARG005
        runtimes=(RuntimeName.NATIVE,),
    )


def home(of: OpenLab) -> str:
    return lab_folder(of.lab)


def send(of: OpenLab, store: Store) -> transfer.Sent:
    return transfer.send(of.lab, of.files, everything(of), store, transfer.places(of.lab, of.files))


def test_jobs_tools_and_metadata_arrive_and_a_second_time_nothing_moves(store: Store) -> None:
    lab = opened("sweep")
    first = send(lab, store)

    for job in lab.lab.jobs.values():
        path = Path(store.path(f"{home(lab)}/{job.entry.path}"))
        assert path.read_bytes() == lab.files.read(job.entry.path)
        assert path.stat().st_mode & 0o111
    (tool,) = Path(store.path(f"{home(lab)}/host-tools")).glob("*/bin/fixture-hello")
    assert tool.resolve().is_file()
    assert first.files > 0
    assert send(lab, store) == transfer.Sent()


def test_metadata_carries_the_labs_id_and_leads_on_to_its_own_kind(store: Store) -> None:
    lab = opened("simple-two-runs")
    send(lab, store)
    root = Path(store.path("artifacts"))

    manifest = json.loads((root / f"lab/{own_name(lab.lab)}-lab-metadata.json").read_text())
    top = json.loads((root / manifest["metadata"]).read_text())
    runs = [json.loads((root / path).read_text()) for path in top["runs"]]

    assert [run["name"] for run in runs] == list(lab.lab.runs)
    assert all(name.startswith(f"revision/{lab.lab.id}-") for name in top["runs"])
    dependencies = next(run for run in runs if run["name"] == "analysis-run")["dependencies"]
    assert set(dependencies) < set(top["runs"])


def test_a_script_that_changed_under_the_same_id_is_replaced(store: Store) -> None:
    """Labs built with hashMode params-only may do that."""
    lab = opened("sweep")
    send(lab, store)
    path = next(iter(lab.lab.jobs.values())).entry.path
    store.write(f"{home(lab)}/{path}", b"older")
    send(lab, store)

    assert store.read(f"{home(lab)}/{path}") == lab.files.read(path)


def test_an_executable_that_links_to_the_store_is_run_from_there(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    lab = open_lab(folder)
    job = next(iter(lab.lab.jobs.values()))
    (folder / "store" / "abc-script").write_text("#!/bin/sh\n")
    (folder / job.entry.path).unlink()
    (folder / job.entry.path).symlink_to("../../../store/abc-script")
    send(lab, store)

    assert transfer.places(lab.lab, lab.files)(job.entry.path) == f"{home(lab)}/store/abc-script"
    assert store.read(f"{home(lab)}/store/abc-script") == b"#!/bin/sh\n"
    assert not store.exists(f"{home(lab)}/jobs/{job.id}")


def test_a_program_with_something_beside_it_is_run_where_it_stands(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    lab = open_lab(folder)
    job, other = list(lab.lab.jobs.values())[:2]
    for each, helper in ((job, "bin/helper.sh"), (other, "helper.sh")):
        (folder / each.entry.path).unlink()
        (folder / each.entry.path).symlink_to("../../../store/abc-script")
        (folder / "jobs" / each.id / helper).write_text("echo help\n")
    (folder / "store" / "abc-script").write_text("#!/bin/sh\n")
    send(lab, store)

    for each, helper in ((job, "bin/helper.sh"), (other, "helper.sh")):
        place = transfer.places(lab.lab, lab.files)(each.entry.path)
        assert place == f"{home(lab)}/{each.entry.path}"
        assert store.read(place) == b"#!/bin/sh\n"
        assert store.read(f"{home(lab)}/jobs/{each.id}/{helper}") == b"echo help\n"


def test_links_of_a_job_folder_lead_where_they_led(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    lab = open_lab(folder)
    job, other = list(lab.lab.jobs.values())[:2]
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "data" / "deep" / "table.csv").write_text("1,2\n")
    links = {
        "folder": "bin",
        "round": "..",
        "data": "../../data/deep",
        "table.csv": "../../data/deep/table.csv",
        "neighbour": f"../{other.id}/bin",
        "nothing": "nowhere",
    }
    for name, to in links.items():
        (folder / "jobs" / job.id / name).symlink_to(to)
    send(lab, store)

    here = Path(store.path(f"{home(lab)}/jobs/{job.id}"))
    assert (here / "folder").resolve() == here / "bin"
    assert (here / "round").resolve() == here.parent
    assert (here / "data" / "table.csv").read_text() == "1,2\n"
    assert (here / "table.csv").read_text() == "1,2\n"
    assert (here / "neighbour").resolve() == here.parent / other.id / "bin"
    assert not os.path.lexists(here / "nothing")
    assert send(lab, store) == transfer.Sent()


def test_a_program_outside_of_the_job_folders_brings_its_neighbours(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    (folder / "tools" / "lib").mkdir(parents=True)
    (folder / "tools" / "tool").write_text("#!/bin/sh\n")
    (folder / "tools" / "lib" / "more.sh").write_text("more\n")
    job = next(iter(open_lab(folder).lab.jobs.values()))
    for metadata in (folder / "revision").glob("metadata-*.json"):
        metadata.write_text(metadata.read_text().replace(job.entry.path, "./tools/tool"))
    lab = open_lab(folder)
    send(lab, store)

    place = transfer.places(lab.lab, lab.files)(lab.lab.jobs[job.id].entry.path)
    assert store.read(place) == b"#!/bin/sh\n"
    assert store.read(f"{home(lab)}/tools/lib/more.sh") == b"more\n"


def test_labs_of_one_id_replace_neither_programs_nor_metadata(store: Store, tmp_path: Path) -> None:
    lab = opened("sweep")
    send(lab, store)
    before = {path: path.read_bytes() for path in Path(store.root).rglob("*") if path.is_file()}
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    listed = json.loads((folder / lab.lab.manifest).read_text())
    for entry in listed["files"]:
        path = folder / entry["path"]
        if path.is_file() and path.read_bytes().startswith(b"#!"):
            path.chmod(0o755)
            path.write_text("#!/bin/sh\necho stranger\n")
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / lab.lab.manifest).write_text(json.dumps(listed))
    other = open_lab(folder)
    send(other, store)

    assert other.lab.id == lab.lab.id
    assert before == {path: path.read_bytes() for path in before}


def test_what_labs_have_in_common_is_one_file_in_the_store(store: Store, tmp_path: Path) -> None:
    lab = opened("sweep")
    send(lab, store)
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    manifest = folder / lab.lab.manifest
    manifest.write_text(manifest.read_text().replace('"lab_version"', '"new":1,"lab_version"', 1))
    other = open_lab(folder)
    again = send(other, store)

    executable = next(iter(lab.lab.jobs.values())).entry.path
    one, two = (Path(store.path(f"{home(each)}/{executable}")).resolve() for each in (lab, other))
    assert one != two
    assert one.samefile(two)
    assert again.size_bytes < 1 << 16


@pytest.mark.parametrize("harm", ["cut off", "other content", "not executable"])
def test_a_copy_that_is_not_what_the_lab_has_is_replaced(store: Store, harm: str) -> None:
    lab = opened("sweep")
    send(lab, store)
    executable = next(iter(lab.lab.jobs.values())).entry.path
    copy = Path(store.path(f"{home(lab)}/{executable}")).resolve()
    content = copy.read_bytes()
    match harm:
        case "cut off":
            copy.write_bytes(content[:-1])
        case "other content":
            copy.write_bytes(bytes(reversed(content)))
        case _:
            copy.chmod(0o644)

    assert send(lab, store).files >= 1
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o111


def test_another_lab_of_the_same_id_brings_its_own_metadata(store: Store, tmp_path: Path) -> None:
    send(opened("simple-two-runs"), store)
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "simple-two-runs", folder, symlinks=True)
    path = folder / "revision/metadata-simulation-run.json"
    path.write_text(path.read_text().replace('"type":', '"new":1,"type":', 1))
    manifest = folder / "lab/lab-metadata.json"
    manifest.write_text(manifest.read_text().replace('"lab_version"', '"new":1,"lab_version"', 1))
    other = open_lab(folder)
    send(other, store)

    name = metadata_name(other.lab, "simulation-run")
    assert "new" in json.loads(Path(store.path(f"artifacts/{name}")).read_text())


def test_a_store_of_a_lab_that_is_no_folder_is_named(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    shutil.copytree(LABS / "sweep", folder, symlinks=True)
    (folder / "store").rename(folder / "real")
    (folder / "store").symlink_to("real")
    with pytest.raises(LabError, match="a folder is wanted here"):
        send(open_lab(folder), store)
