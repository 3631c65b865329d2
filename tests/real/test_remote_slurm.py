"""Slurm on a login node behind ssh: submitted, watched and cancelled over one connection."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real import slurm_user
from tests.real import sshd as sshds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.slurm_place import Place
    from tests.real.sshd import Sshd

pytestmark = [pytest.mark.slurm, pytest.mark.needs("ssh")]


@pytest.fixture
def login(place: Place) -> Iterator[Sshd]:
    """Return a login node of the private cluster: an sshd whose sessions know it."""
    conf = place.cluster.env["SLURM_CONF"]
    folder = place.folder / "login"
    folder.mkdir()
    made = sshds.start(folder, f"SetEnv SLURM_CONF={conf}")
    slurm_user.give(folder)
    yield made
    made.process.terminate()
    made.process.wait()


def left_at(login: Sshd) -> list[bytes]:
    """Return the command lines of what was started over ssh and still runs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (folder / "environ").read_bytes().split(b"\0")
            ours = (each for each in environ if each.startswith(b"SSH_CONNECTION="))
            if any(each.endswith(b" %d" % login.port) for each in ours):
                found.append((folder / "cmdline").read_bytes())
    return found


def test_a_run_is_submitted_and_told_over_ssh(place: Place, login: Sshd) -> None:
    first = place.lab.job("first")
    second = place.lab.job("second", needs=[first])
    place.target(address="far", ssh_config=str(login.config))
    said = place.run()
    states = place.states()

    assert "submitted in 2 sbatch calls" in said
    assert ["succeeded"] * 2 == [states[job] for job in (first, second)]
    assert ["look"] == re.findall(r"round trip \d+: (\w+)", place.repx("status", "-vv"))


def test_status_is_one_question_while_jobs_are_alive(place: Place, login: Sshd) -> None:
    """Markers and the queue are looked at together."""
    running = place.lab.job("running", script="sleep 60")
    waiting = place.lab.job("waiting", needs=[running])
    place.target(address="far", ssh_config=str(login.config))
    asked = re.findall(r"round trip \d+: (\w+)", place.repx("run", "-vv"))
    assert len(asked) <= 12, " ".join(asked)
    place.cluster.wait(lambda: place.started(running))

    assert ["look"] == re.findall(r"round trip \d+: (\w+)", place.repx("status", "-vv"))
    states = place.states()
    assert {running: "running", waiting: "queued"} == states
    place.cluster.wait(lambda: not left_at(login))
    place.repx("cancel", "--all")
    place.cluster.drain()


def test_a_job_in_slurm_is_cancelled_over_ssh(place: Place, login: Sshd) -> None:
    job = place.lab.job("long", script="sleep 60")
    place.target(address="far", ssh_config=str(login.config))
    place.repx("run")
    place.cluster.wait(lambda: place.started(job))
    place.repx("cancel", "--all")
    place.cluster.drain()

    assert "failed" == place.states()[job]


def test_what_was_rendered_is_submitted_by_hand_without_python(place: Place) -> None:
    """A login node without python3: docs/remote.md sends the folder there and runs submit.sh."""
    jobs = [place.lab.job("first")]
    jobs.append(place.lab.job("second", needs=jobs))
    folder, tools = place.folder / "by-hand", place.folder / "tools"
    place.repx("render", "-o", str(folder))
    tools.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith("py"):
            (tools / program.name).symlink_to(program)
    slurm_user.give(tools)
    done = place.begin(("bash", "submit.sh"), folder, {"PATH": str(tools)})
    _, err = done.communicate(timeout=60)
    place.cluster.drain()

    assert (0, "") == (done.returncode, err)
    assert {"succeeded"} == {place.states()[job] for job in jobs}
