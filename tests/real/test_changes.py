"""Labs, targets and markers that change while jobs run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx_py import Lab

if TYPE_CHECKING:
    from tests.real.place import Place


WAITS: Final = {
    "stages": {
        "one": {
            "outputs": {"x": "$out/x"},
            "run": "until [[ -e $GATE ]]; do sleep 0.1; done; date >x",
        },
        "two": {
            "inputs": ["x"],
            "outputs": {"y": "$out/y"},
            "run": "cp ${inputs[x]} ${outputs[y]}",
        },
    },
    "pipelines": {"p": ["one", "two"]},
    "runs": {"r": {}},
}


@pytest.fixture
def waiting(defined: Callable[..., Place], tmp_path: Path) -> tuple[Place, Path]:
    """Return a place in which a detached run waits for a file to appear, and that file."""
    here, gate = defined(WAITS), tmp_path / "gate"
    here.repx("run", "--detach", env={"GATE": str(gate)})
    here.wait_until(lambda: "running" in here.states().values())
    return here, gate


def _finish(here: Place, gate: Path) -> None:
    gate.touch()
    here.wait_until(lambda: here.output("*-two-1.0/repx/SUCCESS"))


def test_a_new_lab_while_the_old_one_runs(waiting: tuple[Place, Path]) -> None:
    here, gate = waiting
    text = (here.folder / "lab.yaml").read_text().replace("date >x", "echo new >x")
    here.write("lab.yaml", text)
    here.repx("build")

    assert set(here.states().values()) == {"pending", "blocked"}
    _finish(here, gate)
    assert set(here.states().values()) == {"pending", "blocked"}
    here.repx("run", env={"GATE": str(gate)})
    assert "new\n" in here.output("*-two-1.0/out/y")
    assert len(here.output("*-two-1.0/out/y")) == 2


def test_what_no_lab_of_the_project_needs_any_more_is_named_and_cancelled(
    waiting: tuple[Place, Path],
) -> None:
    here, _ = waiting
    before = here.states()
    text = (here.folder / "lab.yaml").read_text().replace("date >x", "echo new >x")
    here.write("lab.yaml", text)
    told = here.repx("run", "--dry-run")
    here.repx("cancel", "--obsolete")
    here.wait_until(lambda: "jobs of earlier Labs" not in here.repx("run", "--dry-run"))

    assert "2 jobs of earlier Labs of this project still queued or running" in told
    assert all(job.partition("-")[0] not in here.states() for job in before)
    assert "Nothing to cancel" in here.repx("cancel", "--obsolete")


def test_a_lab_deleted_while_it_runs(waiting: tuple[Place, Path]) -> None:
    here, gate = waiting
    (here.folder / "result").unlink()
    shutil.rmtree(here.folder / ".repx")
    here.repx("status", code=2)
    here.repx("cancel", "r", code=2)
    _finish(here, gate)
    here.repx("build")

    assert "nothing to do" in here.repx("run")


def test_targets_changed_while_it_runs(waiting: tuple[Place, Path], tmp_path: Path) -> None:
    here, gate = waiting
    here.use(base_path=str(tmp_path / "other"))

    assert set(here.states().values()) == {"pending", "blocked"}
    assert "Nothing to cancel" in here.repx("cancel", "--all")
    here.use()
    _finish(here, gate)
    assert set(here.states().values()) == {"succeeded"}


def test_a_run_cancelled_twice(waiting: tuple[Place, Path]) -> None:
    here, _ = waiting
    assert "to stop 2 jobs" in here.repx("cancel", "r")
    here.wait_until(lambda: "running" not in here.states().values())

    assert here.by_stage() == {"one-1.0": "failed", "two-1.0": "skipped"}
    assert "Nothing to cancel" in here.repx("cancel", "r")
    assert "nothing is running here" in here.repx("status", "--follow")
    told, _ = json.JSONDecoder().raw_decode(here.repx("cancel", "r", "--json"))
    assert {"cancelled": {}} == told


def test_who_stops_watching_is_told_that_the_jobs_go_on(waiting: tuple[Place, Path]) -> None:
    here, gate = waiting
    watcher = here.start("status", "--follow")
    assert watcher.stderr is not None
    assert "Ctrl-C stops watching" in watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    _, said = watcher.communicate(timeout=60)

    assert (130, True) == (watcher.returncode, "stopped watching; the jobs go on" in said)
    _finish(here, gate)
    assert set(here.states().values()) == {"succeeded"}


def test_markers_of_another_time_or_without_content(defined: Callable[..., Place]) -> None:
    """Their existence counts, not what they say: clocks go back, RepX leaves no text, no lock."""
    here = defined({**WAITS, "runs": {"r": {}}})
    here.repx("run", env={"GATE": "/"})
    (one,) = here.store.glob("outputs/*-one-1.0/repx/SUCCESS")
    (two,) = here.store.glob("outputs/*-two-1.0/repx/SUCCESS")
    one.write_text("")
    one.with_name("lock").unlink()
    two.write_text('{"outcome":"success","start":9e9,"end":-5,"cpu_s":"much","attempt":null}\n')
    os.utime(one, (9e9, 9e9))
    os.utime(two, (1, 1))

    assert set(here.states().values()) == {"succeeded"}
    assert "nothing to do" in here.repx("run")
    for line in ("status r", "list jobs r", "show job two", "log two"):
        here.repx(*line.split(), code=2 if "two" in line else 0)
    for job in Lab.from_path(here.folder / "result", store=here.store).jobs():
        assert job.status == "succeeded"
        job.duration_s  # noqa: B018  # reading it is the test
    one.write_bytes(b"\xff\x00[")
    one.rename(one.with_name("FAIL"))
    assert here.by_stage()["one-1.0"] == "failed"
