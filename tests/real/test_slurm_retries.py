"""Retries by reason: new Slurm jobs with more, made by Slurm jobs alone; who waits, waits on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from campaign import slurm

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

# Holds 60 MB for three seconds: Slurm looks once a second.
GREEDY = "{ head -c 60000000 /dev/zero | tr '\\0' x; sleep 3; } | tail -n 1 | wc -c >o"
ONCE = "[[ -e ../tried ]] || { touch ../tried; %s; }; echo done >o"
RETRIES = {"n": 2, "mem": "x4", "time": "x4"}


def test_what_lacked_memory_or_time_gets_more_and_who_waits_waits_on(place: Place) -> None:
    """The client is gone at once; what did not fail is not held up, nor run twice."""
    scripts = [GREEDY, ONCE % "sleep 600", ONCE % "exit 7", "echo done >o"]
    firsts = [place.lab.job("first", f"echo >>../ran; {script}") for script in scripts]
    seconds = [
        place.lab.job("second", "echo >>../ran; echo done >o", needs=[job]) for job in firsts
    ]
    last = place.lab.job("last", needs=seconds)
    soon = {"stage": "first", "mem": "30M", "time": "10m"}
    place.target(retries=RETRIES, resources={"rules": [soon]})
    said = place.repx("run")
    place.cluster.wait(lambda: place.started(firsts[1]))
    overdue = f"JobId={place.ids()['all.first']}_1"
    place.cluster.sh("scontrol", "update", overdue, "EndTime=now")
    place.cluster.wait(lambda: "succeeded" == place.states()[seconds[3]])
    between = place.status()
    place.cluster.drain()
    ran = [
        len((place.store / "outputs" / job / "ran").read_text().split("\n")) - 1 for job in firsts
    ]
    marks = [place.marker(job, "SUCCESS") for job in firsts]

    assert "6 sbatch calls" in said, "each of the three stages, and one behind it"
    assert {"succeeded"} == set(place.states().values())
    assert "queued" == between[last]["state"]
    assert [2, 2, 2, 1] == ran
    assert [2, 2, 2, 1] == [mark["attempt"] for mark in marks]
    assert [120 << 20, 2400] == [marks[0]["mem"], marks[1]["time"]]
    assert [] == place.cluster.queue()


def test_steps_that_lack_memory_get_more_and_their_branches_go_on(place: Place) -> None:
    """Of three branches one lacks memory in its first step, one in its last, one never."""
    greedy = GREEDY.removesuffix(">o")
    item = 'item=$(<"$(input worker__item)")'
    first = f"echo >>../ran; {item}; ((item != 2)) || {{ {greedy}; }}; echo $item >o"
    before = 'item=$(<"$(input in-first)")'
    then = f"echo >>../ran; {before}; ((item != 3)) || {{ {greedy}; }}; echo $item >o"
    hints = {"mem": "30M", "time": "00:10:00"}
    job = place.lab.scattered(
        "sum", steps={"first": (first, (), hints), "then": (then, ("first",), hints)}
    )
    last = place.lab.job("last", needs=[job])
    place.target(retries=RETRIES)
    place.run()
    home = place.store / "outputs" / job
    ran = [
        [len((home / f"branch-{i}/step-{step}/ran").read_text()) for i in range(3)]
        for step in ("first", "then")
    ]

    assert {job: "succeeded", last: "succeeded"} == place.states()
    assert "3" == place.out(job)
    assert [[1, 2, 1], [1, 1, 2]] == ran
    assert [] == place.cluster.queue()


def test_a_step_that_lacks_memory_each_time_fails_its_job(place: Place) -> None:
    greedy = f"echo >>../ran; {GREEDY.removesuffix('>o')}; echo done >o"
    job = place.lab.scattered(
        "sum", steps={"first": (greedy, (), {"mem": "20M"}), "then": ("echo >o", ("first",), {})}
    )
    last = place.lab.job("last", needs=[job])
    place.target(retries={"n": 1, "on": ["oom"]})
    place.run()
    told = place.status()

    assert "failed" == told[job]["state"]
    assert " of branch " in told[job]["reason"]
    assert 2 == len((place.store / "outputs" / job / "branch-1/step-first/ran").read_text())
    assert {"state": "skipped", "reason": job} == told[last]
    assert [] == place.cluster.queue()


def test_what_fails_each_time_stops_its_followers_only_and_leaves_nothing(place: Place) -> None:
    """Slurm would keep what waits for it for ever: the job behind it cancels that."""
    bad = place.lab.job("first", "exit 3")
    good = place.lab.job("first")
    stopped = place.lab.job("second", needs=[bad])
    runs = place.lab.job("second", needs=[good])
    last = place.lab.job("last", needs=[stopped, runs])
    place.target(retries={"n": 1})
    place.run()
    told = place.status()

    assert ("failed", "exit 3") == (told[bad]["state"], told[bad]["reason"])
    assert 2 == place.marker(bad)["attempt"]
    assert {"state": "skipped", "reason": bad} == told[stopped]
    assert {"state": "skipped", "reason": bad} == told[last]
    assert ["succeeded"] * 2 == [told[job]["state"] for job in (good, runs)]


def test_cancelled_jobs_are_not_tried_again_and_nothing_stays(place: Place) -> None:
    first = place.lab.job("first", "sleep 600")
    waiting = place.lab.job("second", needs=[first])
    place.target(retries=RETRIES)
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    place.repx("cancel", first)
    place.cluster.drain()
    told = place.status()
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    place.repx("cancel", "--all")
    place.cluster.drain()

    assert "cancelled" in told[first]["reason"]
    assert "skipped" == told[waiting]["state"]


def test_a_lost_node_costs_nothing_but_time(place: Place) -> None:
    first = place.lab.job("first", ONCE % "sleep 600")
    second = place.lab.job("second", needs=[first])
    place.target(retries={"n": 1, "on": ["node_fail"]})
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    where = place.status()[first]["where"]
    place.cluster.kill_node(where)
    place.cluster.revive_node(where)
    place.cluster.sh("scontrol", "update", f"JobId={place.ids()['all.first']}", "StartTime=now")
    place.cluster.drain()

    assert ["succeeded"] * 2 == [place.states()[job] for job in (first, second)]
    assert 2 == place.marker(first, "SUCCESS")["attempt"]


def test_later_submissions_and_soft_runs_wait_for_the_last_attempt(place: Place) -> None:
    first = place.lab.job("first", f"{ONCE % 'sleep 600'}; sleep 3")
    second = place.lab.job("second", needs=[first])
    after = place.lab.job("after", f"ls '{place.store}/outputs/{first}/out/o' >o")
    place.lab.run("one", [first, second])
    place.lab.run("two", [after], one="soft")
    place.target(retries={"n": 1, "on": ["timeout"]})
    place.repx("run", first)
    id_ = place.ids()["one.first"]
    place.repx("run", "one", "two")
    place.cluster.wait(lambda: place.started(first))
    place.cluster.sh("scontrol", "update", f"JobId={id_}", "EndTime=now")
    place.cluster.drain()

    assert {"succeeded"} == set(place.states().values())


def test_a_dose_of_the_campaign(place: Place) -> None:
    """`python -m campaign.slurm retries` does the same with a thousand jobs."""
    found = slurm.retries(place, 20, random.Random(3))  # noqa: S311  # no secret

    assert 20 == found["succeeded"]
    assert 5 <= found["failures"]
    assert found["submissions more"] <= 2 * found["failures"]
