"""A batch system that only a dialect file knows: submitted, waited for, asked, cancelled."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.real import sshd as sshds
from tests.real.slurm_place import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.slurm_cluster import Cluster

pytestmark = pytest.mark.slow

DIALECT = """
name: fake
submit: [qsub, -o, "{log}"]
id: 'submitted ([0-9]+\\.fake)'
after: [-W, "{ids}"]
join: ":"
resources:
  cpus: [-l, "ncpus={cpus}"]
  mem: [-l, "mem={mem_mib}mb"]
  time: [-l, "walltime={time}"]
query: [qstat]
job: '^(?P<id>\\d+\\.fake)\\s+(?P<state>\\w+)'
states: {Q: queued, R: running}
cancel: [qdel]
"""


class FakeCluster:
    """The fake batch system's commands on a PATH of their own."""

    def __init__(self, root: Path) -> None:
        """Make the commands."""
        self.root = root / "batch"
        commands = root / "commands"
        for folder in (self.root, commands):
            folder.mkdir()
        fake = Path(__file__).with_name("fake_batch.py")
        for name in ("qsub", "qstat", "qdel"):
            script = f'exec {sys.executable} {fake} {self.root} {name} "$@"'
            (commands / name).write_text(f"#!/bin/bash\n{script}\n")
            (commands / name).chmod(0o755)
        self.env = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}

    def queue(self) -> list[Path]:
        """Return the jobs that have not ended."""
        return [job for job in self.root.glob("[0-9]*") if not (job / "ended").exists()]

    def wait(self, what: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < deadline, self.queue()
            time.sleep(0.05)

    def drain(self, timeout_s: float = 60) -> None:
        """Wait until no job is left."""
        self.wait(lambda: not self.queue(), timeout_s)


@pytest.fixture
def here(tmp_path: Path) -> Place:
    (tmp_path / "fake.yaml").write_text(DIALECT)
    made = Place(folder=tmp_path, cluster=cast("Cluster", FakeCluster(tmp_path)))
    made.target(scheduler={"dialect": "fake.yaml"})
    return made


def test_a_graph_runs_in_order_and_a_failure_stops_its_followers_only(here: Place) -> None:
    first = here.lab.job("first", "sleep 0.5; echo one >o", hints={"mem": "100M", "cpus": 2})
    second = here.lab.job("second", 'cat "$(input in0)" >o', needs=[first])
    bad = here.lab.job("bad", "exit 3")
    behind = here.lab.job("behind", needs=[bad])
    said = here.run()
    told = here.status()

    assert "submitted in 4 calls: fake" in said
    assert "one" == here.out(second)
    assert ["succeeded", "succeeded", "failed", "skipped"] == [
        told[job]["state"] for job in (first, second, bad, behind)
    ]
    assert "ncpus=2 mem=100mb\n" == (here.cluster.root / "1/asked").read_text()


def test_scatter_gather_runs_within_one_batch_job(here: Place) -> None:
    job = here.lab.scattered("sg", steps={"work": ('cat "$(input worker__item)" >o', (), {})})
    here.run()

    assert "succeeded" == here.states()[job]
    assert "3" == here.out(job)


def test_what_is_queued_is_waited_for_and_cancelled(here: Place) -> None:
    first = here.lab.job("first", "sleep 60")
    second = here.lab.job("second", needs=[first])
    here.repx("run")
    told = here.status()
    again = here.repx("run")
    said = here.repx("cancel", "--all")
    here.cluster.drain()
    after = here.states()

    assert {"queued", "running"} >= {told[first]["state"], told[second]["state"]}
    assert "2.fake" == told[second]["by"]
    assert "queued or running already" in again
    assert "to stop 2 jobs" in said
    assert "failed" == after[first]
    assert "running" not in after.values()
    assert "queued" not in after.values()


def test_silence_is_no_end_and_a_refusal_goes_on_where_it_stopped(here: Place) -> None:
    first = here.lab.job("first", "sleep 1; echo done >o")
    here.lab.job("more")
    here.repx("run", first)
    down = here.cluster.root / "down"
    down.touch()
    told = here.status()[first]
    refused = here.repx("run", code=3)
    down.unlink()
    here.run()

    assert "queued" == told["state"]
    assert "fake does not answer now" in told["reason"]
    assert "cannot connect to server" in refused
    assert {"succeeded"} == set(here.states().values())


@pytest.mark.needs("ssh")
def test_status_over_ssh_is_one_question(here: Place, tmp_path: Path) -> None:
    """Whatever the number of submissions, of jobs that run and of jobs that have ended."""
    folder = tmp_path / "login"
    folder.mkdir()
    login = sshds.start(folder, f"SetEnv PATH={here.cluster.env['PATH']}")
    try:
        dialect = {"dialect": "fake.yaml"}
        here.target(scheduler=dialect, address="far", ssh_config=str(login.config))
        ended = [here.lab.job(f"ended{number}") for number in range(4)]
        running = here.lab.job("running", "sleep 60", needs=ended[:1])
        waiting = here.lab.job("waiting", needs=[running])
        here.repx("run", *ended[1:])
        here.repx("run", running, waiting)
        here.cluster.wait(lambda: len(here.cluster.queue()) == 2)
        said = here.repx("status", "-vv")

        assert ["look"] == re.findall(r"round trip \d+: (\w+)", said)
        states = here.states()
        assert {"succeeded"} == {states[job] for job in ended}
        assert ["running", "queued"] == [states[job] for job in (running, waiting)]
        here.repx("cancel", "--all")
        here.cluster.drain()
        assert "failed" == here.states()[running]
    finally:
        login.stop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("join: 3", "join: 3 is a whole number, wanted a string"),
        ("cancels: [x]", "unknown key 'cancels', did you mean 'cancel'?"),
        ("none: '('", "none: not a regular expression"),
    ],
)
def test_mistakes_in_a_dialect_file_have_a_place(here: Place, change: str, message: str) -> None:
    text = DIALECT.replace('join: ":"', change)
    (here.folder / "fake.yaml").write_text(text)
    here.lab.job("one")
    said = here.repx("run", code=2)

    assert "fake.yaml:" in said
    assert message in said
