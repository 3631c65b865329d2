"""What has ended is closed, and never opened again: looking costs what is alive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place

pytestmark = pytest.mark.real

# Counts the files that `repx status` opens, Python's own left out.
COUNT: Final = """
import sys
opened = set()
def hear(event, args):
    if event == "open" and str(args[0]).startswith(sys.argv[1]):
        opened.add(str(args[0]))
sys.addaudithook(hear)
from repx.cli import main
try:
    main(["status"])
finally:
    print(len(opened), file=sys.stderr)
"""


@pytest.fixture
def here(defined: Callable[..., Place]) -> Place:
    stage = {"outputs": {"x": "$out/x"}, "run": 'echo hi >"${outputs[x]}"'}
    return defined({"stages": {"a": stage}, "pipelines": {"m": ["a"]}, "runs": {"r": {}}})


def opened(here: Place) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(here.store)],
        cwd=here.folder,
        env={**os.environ, **here.env},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stderr.splitlines()[-1])


def ended(here: Place, name: str, last: str = '{"t":2.5,"e":"agent-end","reason":"done"}') -> None:
    """Make a submission folder as a local run leaves it, a long time ago."""
    folder = here.store / "submissions" / name
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text('{"version":2,"tasks":[]}')
    (folder / "agent.lock").write_text("host 1\n")
    (folder / "events.jsonl").write_text(f'{{"t":1.5,"e":"agent-start","pid":1}}\n{last}\n')
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))


def names(here: Place, folder: str) -> list[str]:
    return sorted(path.name for path in (here.store / folder).iterdir())


def old(here: Place) -> None:
    """Have all submissions seem to have ended an hour ago."""
    for path in here.store.glob("submissions/*/*"):
        os.utime(path, (time.time() - 3600,) * 2)


def test_status_opens_no_more_files_with_2000_ended_submissions(here: Place) -> None:
    here.repx("run")
    before = opened(here)
    for number in range(2000):
        ended(here, f"20200101-000000-{number:06x}")
    here.repx("status")

    assert opened(here) <= before + 3
    assert len(names(here, "closed")) == 2000


def test_closed_folders_are_packed_by_the_next_run(here: Place) -> None:
    here.repx("run")
    (submission,) = names(here, "submissions")
    plan = (here.store / "submissions" / submission / "plan.json").read_text()
    old(here)
    here.repx("status")
    here.repx("run", "--force")

    with zipfile.ZipFile(here.store / "closed" / f"{submission}.zip") as packed:
        assert plan == packed.read("plan.json").decode()
        assert "run.sh" in packed.namelist()
    assert [f"{submission}.zip"] == names(here, "closed")
    assert {"succeeded"} == set(here.states().values())


@pytest.mark.parametrize("last", ['{"t":2.5,"e":"start","job":"a"}', '{"t":2.5,"e":"agent-st'])
def test_what_may_not_have_ended_stays_open(here: Place, last: str) -> None:
    ended(here, "killed", last)
    here.repx("status")

    assert ["killed"] == names(here, "submissions")


def test_what_ended_just_now_stays_for_who_follows_it(here: Place) -> None:
    here.repx("run")
    here.repx("status")

    assert 1 == len(names(here, "submissions"))


def test_what_slurm_said_of_a_job_is_still_found(here: Place) -> None:
    (job,) = here.states()
    folder = here.store / "submissions" / "20200101-000000-000001"
    (folder / "logs").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"version": 2, "tasks": [{"job": job}]}))
    (folder / "arrays.tsv").write_text(f"1-a\t0\tjobs\t{job}\n")
    (folder / "submitted.tsv").write_text("1-a\t4711\t1\n")
    (folder / "ended").write_text(f"11\n{job}\tlost\tnode failure\n")
    (folder / "logs" / "4711_0.out").write_text("slurmstepd: NODE FAILURE\n")
    old(here)
    here.repx("status")

    assert [] == names(here, "submissions")
    assert "node failure" in here.repx("status", "r")
    assert "NODE FAILURE" in here.repx("log", job)
    here.repx("render", "-o", "scripts")
    assert "NODE FAILURE" in here.repx("log", job)
