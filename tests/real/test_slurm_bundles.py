"""Bundles on a real cluster: many short jobs in one Slurm job, continued and not repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

COPY = 'cat "$(input in0)" >o'


def bundled(place: Place, stage: str | list[str], **asked: object) -> None:
    """Describe a target that runs some stages in bundles."""
    bundle = {"name": "short", "stage": stage, "cpus": 4, **asked}
    place.target(slurm={"bundle": bundle})


def test_chains_share_one_slurm_job(place: Place) -> None:
    first = [place.lab.job("prep", f"echo {i} >o") for i in range(20)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    report = place.lab.job("report", "echo all >o", needs=second)
    bundled(place, "*")
    place.run()

    assert {"succeeded"} == set(place.states().values())
    assert [str(i) for i in range(20)] == [place.out(job) for job in second]
    assert "all" == place.out(report)
    assert 1 == len(place.submitted())


def test_work_is_cut_and_chains_stay_together(place: Place) -> None:
    """Ten chains in at most two bundles; what joins them all comes after both."""
    first = [place.lab.job("prep", 'echo "$SLURM_JOB_ID" >o') for i in range(10)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    place.lab.job("report", needs=second)
    bundled(place, "*", count=2)
    place.run()

    assert {"succeeded"} == set(place.states().values())
    assert 3 == len(place.submitted())
    assert 2 == len({place.out(job) for job in second})
    assert [place.out(job) for job in first] == [place.out(job) for job in second]


def test_bundles_arrays_and_single_jobs_mix_and_failures_stay_apart(place: Place) -> None:
    """A failure within a bundle skips its own followers, outside too, and no others."""
    first = [place.lab.job("first", f"echo {i} >o") for i in range(4)]
    short = [
        place.lab.job("short", f"test {i} != 2; {COPY}", needs=[job]) for i, job in enumerate(first)
    ]
    last = [place.lab.job("last", COPY, needs=[job]) for job in short]
    again = [place.lab.job("again", COPY, needs=[job]) for job in last]
    bundled(place, ["short", "again"])
    place.run()
    told = place.status()

    assert "failed" == told[short[2]]["state"]
    assert {"state": "skipped", "reason": short[2]} == told[last[2]]
    assert {"state": "skipped", "reason": short[2]} == told[again[2]]
    assert ["0", "1", "3"] == [place.out(again[i]) for i in (0, 1, 3)]


def test_a_scatter_gather_job_runs_within_a_bundle(place: Place) -> None:
    job = place.lab.scattered("sum", steps={"one": ('cat "$(input worker__item)" >o', (), {})})
    last = place.lab.job("last", COPY, needs=[job])
    bundled(place, "*")
    place.run()

    assert "3" == place.out(last)
    assert 1 == len(place.submitted())


def test_a_bundle_that_loses_its_node_is_continued(place: Place) -> None:
    """Finished jobs are not repeated, and what waits for the bundle keeps waiting."""
    gate = place.folder / "gate"
    trace = place.folder / "trace"
    quick = place.lab.job("quick", f"echo quick >>'{trace}'; echo >o")
    slow = place.lab.job(
        "slow",
        f"echo slow >>'{trace}'; until test -e '{gate}'; do sleep 0.1; done; echo >o",
        needs=[quick],
    )
    after = place.lab.job("after", needs=[slow])
    bundled(place, ["quick", "slow"])
    place.repx("run")
    place.cluster.wait(lambda: place.started(slow))
    node = place.status()[slow]["where"]
    place.cluster.kill_node(node)
    gate.touch()
    place.cluster.drain()
    place.cluster.revive_node(node)

    assert ["quick", "slow", "slow"] == trace.read_text().split()
    assert "succeeded" == place.states()[after]


def test_at_a_time_limit_a_job_says_so_and_a_bundle_goes_on(place: Place) -> None:
    """The bundle goes back to the queue. Slurm's limits are minutes; its warning comes early."""
    alone = place.lab.job("alone", "sleep 100; echo >o", hints={"time": "00:00:20"})
    gate = place.folder / "gate"
    trace = place.folder / "trace"
    quick = place.lab.job("quick", f"echo quick >>'{trace}'; echo >o")
    slow = place.lab.job(
        "slow",
        f"echo slow >>'{trace}'; until test -e '{gate}'; do sleep 0.1; done; echo >o",
        needs=[quick],
    )
    after = place.lab.job("after", needs=[slow])
    bundled(place, ["quick", "slow"], time="00:00:20")
    place.repx("run")
    place.cluster.wait((place.repx_dir(slow) / "FAIL").exists)
    reason = place.marker(slow)["reason"]
    gate.touch()
    place.cluster.drain()

    assert "timeout" == reason
    assert {"state": "failed", "reason": "timeout"} == place.status()[alone]
    assert ["quick", "slow", "slow"] == trace.read_text().split()
    assert "succeeded" == place.states()[after]


def test_single_jobs_of_a_bundle_can_be_cancelled(place: Place) -> None:
    gate = place.folder / "gate"
    jobs = [
        place.lab.job("wait", f"until test -e '{gate}'; do sleep 0.1; done; echo >o")
        for _ in range(3)
    ]
    bundled(place, "*")
    place.repx("run")
    place.cluster.wait(lambda: all(place.started(job) for job in jobs))
    place.repx("cancel", jobs[1])
    place.cluster.wait((place.repx_dir(jobs[1]) / "FAIL").exists)
    gate.touch()
    place.cluster.drain()

    assert ["succeeded", "failed", "succeeded"] == [place.states()[job] for job in jobs]
    assert "cancelled" == place.marker(jobs[1])["reason"]
