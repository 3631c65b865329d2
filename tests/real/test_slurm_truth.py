"""The truth at every moment: submissions cut off or overtaken, answers lost, ids used again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.real.test_slurm_submit import shim

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm


@pytest.fixture
def closed(place: Place) -> Place:
    """A cluster that takes jobs and starts none; a test that lets them start opens it."""
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=DOWN")
    return place


@pytest.fixture(autouse=True)
def _open_again(place: Place) -> None:
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=UP")


def queued(place: Place) -> list[str]:
    """Return the comments of all jobs in the queue, one for each element of an array."""
    said = place.cluster.sh("squeue", "-h", "-r", "-o", "%k")
    return said.stdout.split()


def test_an_interrupted_submission_is_found_and_submits_nothing_twice(closed: Place) -> None:
    """Ctrl-C after the controller took an array, before its id was written down."""
    jobs = [closed.lab.job("first") for _ in range(3)]
    taken = closed.folder / "taken"
    path = shim(closed, "sbatch", f'$real "$@"; code=$?; touch {taken}; sleep 2; exit $code')
    run = closed.start("run", PATH=f"{path}:{closed.cluster.env['PATH']}")
    closed.cluster.wait(taken.exists)
    run.send_signal(signal.SIGINT)
    _end_below(closed.folder, "submit.sh")
    run.communicate(timeout=60)

    assert {"queued"} == {closed.states()[job] for job in jobs}
    assert "queued or running already" in closed.repx("run")
    assert 3 == len(queued(closed))
    closed.repx("cancel", "--all")
    closed.cluster.drain(10)


def _end_below(folder: Path, name: str) -> None:
    """Kill the processes of a script below a folder."""
    found = subprocess.run(
        ["pgrep", "-f", f"{folder}.*{name}"], capture_output=True, text=True, check=False
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def test_random_kills_of_submissions_lose_nothing_and_repeat_nothing(closed: Place) -> None:
    """submit.sh is killed at any moment, `repx run` again: each job is in the queue once."""
    firsts = [closed.lab.job("first") for _ in range(10)]
    for stage in range(8):
        for first in firsts:
            closed.lab.job(f"s{stage}", needs=[first])
    chance = random.Random(7)  # noqa: S311  # no secret
    for _ in range(6):
        run = closed.start("run")
        time.sleep(1.2 + chance.random())
        _end_below(closed.folder, "submit.sh")
        run.communicate(timeout=60)
    closed.repx("run")

    assert 90 == len(queued(closed))
    closed.repx("cancel", "--all")
    closed.cluster.drain(30)


def test_two_submissions_at_once_have_each_job_in_the_queue_once(closed: Place) -> None:
    for _ in range(4):
        closed.lab.job("first")
    closed.repx("status")  # the Lab is there
    runs = [closed.start("run") for _ in range(2)]
    said = [run.communicate(timeout=120)[1] for run in runs]

    assert [0, 0] == [run.returncode for run in runs], said
    assert 4 == len(queued(closed))
    closed.repx("cancel", "--all")
    closed.cluster.drain(10)


@pytest.mark.parametrize("taken", [False, True], ids=["refused", "taken"])
@pytest.mark.parametrize(
    "message",
    [
        "Batch job submission failed: Unexpected message received",
        "Batch job submission failed: Communication connection failure",
        "Batch job submission failed: I/O error writing script/environment to file",
    ],
)
def test_a_lost_answer_is_no_refusal(closed: Place, message: str, *, taken: bool) -> None:
    closed.lab.job("one")
    once = closed.folder / "once"
    first = '$real "$@" >/dev/null;' if taken else ""
    lost = f"touch {once}; {first} echo 'sbatch: error: {message}' >&2; exit 1"
    path = shim(closed, "sbatch", f'[[ -e {once} ]] || {{ {lost}; }}\nexec $real "$@"')
    closed.repx("run", PATH=f"{path}:{closed.cluster.env['PATH']}")

    assert 1 == len(queued(closed))


def test_what_slurm_took_is_found_although_the_queue_answers_late(closed: Place) -> None:
    """submit.sh is started again, and the first questions about the queue get no answer."""
    for _ in range(3):
        closed.lab.job("one")
    closed.repx("render", "-o", "scripts")
    folder = closed.folder / "scripts"
    path = shim(closed, "sbatch", '$real "$@" >/dev/null; echo "sbatch: error: Killed" >&2; exit 1')
    env = {"PATH": f"{path}:{closed.cluster.env['PATH']}"}
    first = closed.begin(("bash", "submit.sh"), cwd=folder, env=env).communicate(timeout=60)
    shim(closed, "sbatch", 'exec $real "$@"')
    asked = closed.folder / "asked"
    silent = "echo 'squeue: error: Socket timed out on send/recv operation' >&2; exit 1"
    late = f"echo x >>{asked}; (($(wc -l <{asked}) > 2)) || {{ {silent}; }}"
    shim(closed, "squeue", f'{late}\nexec $real "$@"')
    again = closed.begin(("bash", "submit.sh"), cwd=folder, env=env)
    again.communicate(timeout=60)

    assert "Slurm refused" in first[1]
    assert 0 == again.returncode
    assert 3 == len(queued(closed))


def test_cancelling_asks_again_where_slurm_did_not_answer(closed: Place) -> None:
    closed.lab.job("one")
    closed.repx("run")
    asked = closed.folder / "asked"
    silent = "echo 'scancel: error: Socket timed out on send/recv operation' >&2; exit 1"
    once = f"[[ -e {asked} ]] || {{ touch {asked}; {silent}; }}"
    path = shim(closed, "scancel", f'{once}\nexec $real "$@"')
    closed.repx("cancel", "--all", PATH=f"{path}:{closed.cluster.env['PATH']}")

    closed.cluster.drain(10)


def test_forced_jobs_are_alive_until_they_have_run_again(place: Place) -> None:
    job = place.lab.job("one")
    place.run()
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=DOWN")
    place.repx("run", "--force")
    waiting = place.states()[job]
    place.cluster.sh("scontrol", "update", "PartitionName=main", "State=UP")
    place.cluster.drain()

    assert ("queued", "succeeded") == (waiting, place.states()[job])


def test_forced_jobs_inside_a_running_bundle_are_alive(place: Place) -> None:
    go = place.folder / "go"
    first = place.lab.job("first", f"until [[ -e {go} ]]; do sleep 0.1; done; echo done >o")
    second = place.lab.job("second", needs=[first])
    bundle = {"name": "all", "stage": ["*"], "cpus": 1, "time": "10m"}
    place.target(slurm={"mem": "300M", "bundle": bundle})
    go.touch()
    place.run()
    go.unlink()
    place.repx("run", "--force")
    place.cluster.wait(lambda: place.states()[first] == "running")
    waiting = place.states()[second]
    go.touch()
    place.cluster.drain()

    assert "queued" == waiting
    assert {first: "succeeded", second: "succeeded"} == place.states()


def test_jobs_submitted_from_inside_an_allocation_are_those_of_a_login_node(place: Place) -> None:
    place.lab.job("one", 'echo "${SLURM_NTASKS-}:${SLURM_ARRAY_TASK_ID-}" >o')
    place.repx("render", "-o", "scripts")
    place.cluster.sh(
        "salloc", "-n", "4", "-N", "2", "bash", str(place.folder / "scripts/submit.sh")
    )
    place.cluster.drain()
    (job,) = place.states()

    assert ":" == place.out(job)


def test_the_users_own_settings_change_no_answer(closed: Place) -> None:
    job = closed.lab.job("one")
    run = closed.start("run", SQUEUE_FORMAT="%A", SBATCH_HOLD="1", SBATCH_JOB_NAME="mine")
    run.communicate(timeout=60)
    mine = {"SQUEUE_FORMAT": "%A", "SQUEUE_STATES": "RUNNING", "SLURM_CLUSTERS": "elsewhere"}
    out, _ = closed.start("status", "--json", **mine).communicate(timeout=60)

    assert '"queued"' in out
    assert job in out


def test_why_a_job_ended_is_found_when_slurm_has_forgotten_it(place: Place) -> None:
    place.cluster.configure(MinJobAge=2)
    place.target(slurm={"prologue": "echo no such module >&2; exit 7"})
    job = place.lab.job("one")
    place.repx("run")
    place.cluster.drain()
    place.cluster.wait(lambda: not place.cluster.sh("squeue", "-h", "-t", "all").stdout, 90)
    told = place.status()[job]

    assert "lost" == told["state"]
    assert "see " in told["reason"], "the log that says `no such module`"
