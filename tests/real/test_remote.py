"""A target on another machine: everything works as here, over one connection per command."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.real.place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]

LAB: Final[dict[str, Any]] = {
    "stages": {
        "a": {
            "parameters": {"n": 1},
            "outputs": {"x": "$out/it's x"},
            "run": "echo working; sleep ${REPX_TEST_S:-0}; "
            'echo "${parameters[n]}" >"${outputs[x]}"',
        },
        "sum": {
            "inputs": ["x"],
            "outputs": {"y": "$out/y"},
            "run": 'cat "${inputs[x]}" >"${outputs[y]}"; [[ $(<"${inputs[x]}") != 3 ]]',
        },
    },
    "pipelines": {"m": ["a", "sum"]},
    "runs": {"r": {"parameters": {"n": [1, 2]}}},
}
BIG = {
    "inputs": ["x"],
    "outputs": {"y": "$out/y"},
    "run": 'head -c 20971520 /dev/urandom >"${outputs[y]}"; cat "${inputs[x]}" >>"${outputs[y]}"',
}


@pytest.fixture
def far(defined: Callable[..., Place], sshd: Sshd) -> Place:
    """Return a place whose target is behind ssh; its store lies on this machine all the same."""
    here = defined(LAB, base="it's far")
    here.use(address="far", ssh_config=str(sshd.config))
    return here


def test_a_run_there_is_as_a_run_here(far: Place) -> None:
    said = far.repx("run")

    assert "4/4 ok" in said
    assert ["1\n", "2\n"] == far.output("*-sum-*/out/y")
    assert {"succeeded"} == set(far.states().values())
    assert "nothing to do" in far.repx("run")
    assert "working" in far.repx("log", next(job for job in far.states() if "-a-" in job))


def test_a_failure_there_says_why_and_shows_the_log(far: Place) -> None:
    far.write("lab.yaml", json.dumps(LAB).replace("[1, 2]", "[1, 3]"))
    far.repx("build")
    said = far.repx("run", code=1)

    assert "exit 1" in said
    assert "debug: repx debug-run" in said
    assert "exit 1" in far.repx("status")


def test_a_detached_run_is_watched_and_cancelled(far: Place) -> None:
    far.use(address="far", ssh_config=_config(far), environment={"REPX_TEST_S": "60"})
    far.repx("run", "--detach")
    far.wait_until(lambda: "running" in far.states().values())
    far.repx("cancel", "--all")
    far.wait_until(lambda: "running" not in far.states().values())

    assert "cancelled" in far.repx("status")


def test_ctrl_c_stops_the_jobs_there_in_good_order(far: Place) -> None:
    far.use(address="far", ssh_config=_config(far), environment={"REPX_TEST_S": "60"})
    process = far.start("run")
    far.wait_until(lambda: list(far.store.glob("outputs/*/repx/stdout.log")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert 130 == process.returncode, err
    assert "Traceback" not in err
    assert {"cancelled"} == {
        json.loads(path.read_text())["reason"] for path in far.store.glob("outputs/*/repx/FAIL")
    }


def test_jobs_go_on_when_the_client_is_killed(far: Place) -> None:
    far.use(address="far", ssh_config=_config(far), environment={"REPX_TEST_S": "2"})
    process = far.start("run")
    far.wait_until(lambda: list(far.store.glob("outputs/*/repx/stdout.log")))
    process.kill()
    process.communicate()

    far.repx("status", "--follow")
    assert {"succeeded"} == set(far.states().values())


def test_results_are_pulled_once_and_read_as_a_store(far: Place, sshd: Sshd) -> None:
    far.repx("run")
    job = next(job for job in far.states() if "-sum-" in job)
    said = far.repx("pull")

    assert f"4 jobs in {far.folder}/pulled; brought " in said
    assert "brought 0 files" in far.repx("pull")
    there = far.folder / "pulled" / "outputs" / job
    assert (far.store / "outputs" / job / "out/y").read_text() == (there / "out/y").read_text()
    (there / "repx/SUCCESS").unlink()
    (there / "out/y").write_text("")
    assert "brought 2 files" in far.repx("pull", job)
    (there / "out/y").unlink()
    assert "brought 2 files" in far.repx("pull", job)
    said = far.repx("pull", job, "-o", "none", "--outputs", "out/*")
    assert "no output file matches 'out/*'" in said
    far.use(base_path=str(far.folder / "pulled"))
    assert {"succeeded"} == set(far.states().values())
    far.use(address="far", ssh_config=str(sshd.config))
    assert "brought 1 file," in far.repx("pull", job, "-o", "some", "--outputs", "*y")
    assert len(round_trips(far, "pull", "-o", "third")) <= 5


def test_results_that_a_colleague_pushed_need_not_run(far: Place) -> None:
    far.repx("run")
    archive = str(far.folder / "shared results")
    assert "added 4 jobs" in far.repx("push", "--to", archive)
    assert "added 0 jobs" in far.repx("push", "--to", archive)
    far.use(base_path=str(far.folder / "of a colleague"))
    said = far.repx("pull", "--from", archive)

    assert "brought 4 jobs" in said
    assert "made by " in said
    assert "nothing to do" in far.repx("run")
    job = next(iter(far.states()))
    assert f"From:  {archive}, made by " in far.repx("show", "job", job)
    assert "no such" not in far.repx("pull", "--from", archive)


def test_what_cannot_be_reached_says_how_to_try(far: Place, tmp_path: Path) -> None:
    config = tmp_path / "none"
    config.write_text("Host far\n  HostName 127.0.0.1\n  Port 1\n")
    far.use(address="far", ssh_config=str(config))
    said = far.repx("status", code=3)

    assert "error: cannot reach far: " in said
    assert f"hint: try: ssh -F {config} " in said


def round_trips(far: Place, *words: str) -> list[str]:
    """Return what a command asked of the other machine, one round trip each.

    Housekeeping is left out: it is due for what has ended a minute ago.
    """
    asked = re.findall(r"round trip \d+: (\w+)", far.repx(*words, "-vv"))
    return [verb for verb in asked if verb != "close_submissions"]


def test_round_trips_do_not_grow_with_jobs(far: Place) -> None:
    trips = {}
    for size in (1, 2, 40):  # the first has no Lab before it
        numbers = json.dumps([100 * size + number for number in range(size)])
        far.write("lab.yaml", json.dumps(LAB).replace("[1, 2]", numbers))
        far.repx("build")
        trips[size] = {
            "status": round_trips(far, "status"),
            "submit": round_trips(far, "run", "--detach"),
        }
        far.repx("status", "--follow")
        trips[size]["nothing"] = round_trips(far, "run")

    assert trips[2] == trips[40]
    assert ["look"] == trips[2]["status"] == trips[1]["nothing"]
    assert ["look", "look"] == trips[2]["nothing"]
    assert len(trips[1]["submit"]) <= 12
    assert len(trips[2]["submit"]) < 12  # one is left for housekeeping


def _config(far: Place) -> str:
    profile = json.loads((far.folder / "targets.yaml").read_text())["targets"]["here"]
    return str(profile["ssh_config"])


def test_a_pull_that_is_killed_goes_on_within_a_file(far: Place) -> None:
    far.write("lab.yaml", json.dumps(LAB | {"stages": LAB["stages"] | {"sum": BIG}}))
    far.repx("build")
    far.repx("run")
    job = next(job for job in far.states() if "-sum-" in job)
    there, store = far.store / "outputs" / job / "out/y", far.folder / "pulled"
    begin = there.read_bytes()[: 20 << 20]
    part = hashlib.sha256(f"outputs/{job}/out/y".encode()).hexdigest()[:24]
    (store / "incoming").mkdir(parents=True)
    (store / "incoming" / f".{part}.part").write_bytes(begin)
    brought = json.loads(far.repx("pull", job, "--json"))

    assert 20 << 20 < there.stat().st_size
    assert brought["bytes"] < 1 << 20
    assert there.read_bytes() == (store / "outputs" / job / "out/y").read_bytes()


def test_a_job_is_chosen_by_a_parameter(far: Place) -> None:
    far.repx("run")

    assert "2 jobs in " in far.repx("pull", "--where", "n=1")
    assert "2 jobs in " in far.repx("pull", "--where", "n=2.0")
    assert "0 jobs in " in far.repx("pull", "--where", "n=3")
    assert "did you mean 'n'" in far.repx("pull", "--where", "nn=3", code=2)
    assert "not NAME=VALUE" in far.repx("pull", "--where", "n", code=2)


def test_what_runs_again_there_is_brought_again(far: Place) -> None:
    far.repx("run")
    far.repx("pull")
    job = next(job for job in far.states() if "-sum-" in job)
    there = far.store / "outputs" / job / "out/y"
    far.repx("run", "--force", job[:12])
    there.write_text("7\n")
    far.repx("pull")

    assert "7\n" == (far.folder / "pulled" / "outputs" / job / "out/y").read_text()
