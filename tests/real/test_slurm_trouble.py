"""What goes wrong on a real cluster is seen, named, and can be run again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

SLOW = "sleep 100; echo >o"


def waits_for(gate: Path) -> str:
    """Return a script that ends when the file `gate` is there."""
    return f"until test -e '{gate}'; do sleep 0.1; done; echo >o"


def test_status_tells_who_waits_for_what_and_who_runs_where(place: Place) -> None:
    gate = place.folder / "gate"
    runs = place.lab.job("runs", waits_for(gate))
    big = place.lab.job("big", hints={"cpus": 8})
    huge = place.lab.job("huge", hints={"cpus": 8})
    held = place.lab.job("held", needs=[runs])
    place.target(slurm={"exclusive": True})
    place.repx("run", runs)
    place.cluster.wait(lambda: place.started(runs))
    place.repx("run")
    place.cluster.wait(lambda: "succeeded" in place.states().values())
    told = place.status()
    table = place.repx("status", runs)
    gate.touch()
    place.cluster.drain()

    assert "running" == told[runs]["state"]
    assert told[runs]["where"] in ("n1", "n2")
    assert abs(float(told[runs]["since"]) - time.time()) < 60
    assert told[runs]["where"] in table
    assert {"state": "queued", "reason": "Dependency"}.items() <= told[held].items()
    assert {"succeeded"} == {place.states()[job] for job in (runs, big, huge, held)}


def test_what_the_user_cancels_is_cancelled_and_its_followers_skipped(place: Place) -> None:
    """One element of an array by `repx cancel`, one that waits by scancel, the rest goes on."""
    gate = place.folder / "gate"
    first = [place.lab.job("first", waits_for(gate)) for _ in range(3)]
    second = [place.lab.job("second", needs=[job]) for job in first]
    place.repx("run")
    place.cluster.wait(lambda: all(place.started(job) for job in first))
    place.repx("cancel", first[1])
    place.cluster.sh("scancel", f"{place.ids()['all.second']}_2")
    place.cluster.wait(lambda: "failed" == place.states()[first[1]])
    gate.touch()
    place.cluster.drain()
    told = place.status()

    assert {"state": "failed", "reason": "cancelled"} == told[first[1]]
    assert {"state": "skipped", "reason": first[1]} == told[second[1]]
    assert "failed" == told[second[2]]["state"]
    assert told[second[2]]["reason"].startswith("cancelled")
    assert ["succeeded"] * 3 == [told[job]["state"] for job in (first[0], first[2], second[0])]


def test_cancelling_everything_takes_one_call(place: Place) -> None:
    first = [place.lab.job("first", SLOW) for _ in range(3)]
    second = [place.lab.job("second", needs=[job]) for job in first]
    place.repx("run")
    place.cluster.wait(lambda: all(place.started(job) for job in first))
    said = place.repx("cancel", "--all")
    place.cluster.drain(20)
    told = place.status()

    assert "asked slurm to stop" in said
    assert ["cancelled"] * 3 == [told[job]["reason"] for job in first]
    assert not {"queued", "running", "succeeded"} & set(place.states().values())
    assert all(told[job]["state"] in ("failed", "skipped") for job in second)


def test_a_job_over_its_memory_is_out_of_memory(place: Place) -> None:
    fat = place.lab.job(
        "fat", "x=$(head -c 300M /dev/zero | tr '\\0' x); sleep 5", hints={"mem": "50M"}
    )
    place.run()
    told = place.status()[fat]

    assert "failed" == told["state"]
    assert "out of memory" in told["reason"]


def test_a_job_whose_node_dies_is_lost_and_can_run_again(place: Place) -> None:
    gate = place.folder / "gate"
    first = place.lab.job("first", waits_for(gate))
    second = place.lab.job("second", needs=[first])
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    where = place.status()[first]["where"]
    place.cluster.kill_node(where)
    place.cluster.drain()
    told = place.status()
    place.cluster.revive_node(where)
    gate.touch()
    place.run()

    assert "lost" == told[first]["state"]
    assert "node failure" in told[first]["reason"]
    assert {"state": "skipped", "reason": first} == told[second]
    assert {"succeeded"} == set(place.states().values())


def test_a_job_outlives_the_daemon_of_its_node(place: Place) -> None:
    """Only slurmd is killed: the job goes on, and Slurm hears of its end when slurmd is back."""
    gate = place.folder / "gate"
    first = place.lab.job("first", waits_for(gate))
    second = place.lab.job("second", needs=[first])
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    where = place.status()[first]["where"]
    place.cluster.kill_daemon(where)
    gate.touch()
    place.cluster.wait(lambda: "succeeded" == place.states()[first])
    place.cluster.revive_node(where)
    place.cluster.drain()

    assert "succeeded" == place.states()[second]


def test_a_requeued_job_starts_clean(place: Place) -> None:
    gate = place.folder / "gate"
    script = f"test ! -e left-over; touch left-over; {waits_for(gate)}"
    job = place.lab.job("again", script)
    place.target(slurm={"requeue": True})
    place.repx("run")
    place.cluster.wait(lambda: place.started(job))
    (id_,) = place.ids().values()
    place.cluster.sh("scontrol", "requeue", id_)
    place.cluster.wait((place.repx_dir(job) / "FAIL").exists)
    between = place.states()[job]
    gate.touch()
    place.cluster.drain()

    assert between in ("queued", "running")  # Slurm is still cleaning up, or has done so
    assert "succeeded" == place.states()[job]
    assert 2 == place.marker(job, "SUCCESS")["attempt"]


def test_a_prologue_that_fails_is_found_in_the_log(place: Place) -> None:
    """The job's own script never starts; what Slurm's job said is kept, and named."""
    job = place.lab.job("never")
    place.target(slurm={"prologue": ["echo no such module here >&2; exit 9"]})
    place.run()
    told = place.status()[job]
    (log,) = (place.submissions()[-1] / "logs").iterdir()

    assert "failed" == told["state"]
    assert "ended without a marker" in told["reason"]
    assert "no such module here" in log.read_text()


def test_failed_jobs_are_tried_again_as_often_as_the_target_says(place: Place) -> None:
    count = place.folder / "count"
    job = place.lab.job("flaky", f"echo x >>'{count}'; test $(wc -l <'{count}') = 3; echo >o")
    place.target(retries=2)
    place.run()

    assert "succeeded" == place.states()[job]
    assert 3 == place.marker(job, "SUCCESS")["attempt"]


def test_watching_follows_to_the_end_and_tells_failures(place: Place) -> None:
    bad = place.lab.job("bad", "echo my last words >&2; exit 5")
    place.lab.job("good")
    said = place.repx("run", "--watch", code=1)

    assert "exit 5" in said
    assert "my last words" in said
    assert bad.partition("-")[0] in said


def test_a_job_that_asks_for_no_time_gets_all_that_its_partition_gives(place: Place) -> None:
    """Slurm warns up to a minute early; a tenth of a minute before the end would be right."""
    main = "main Nodes=n[1-2] Default=YES MaxTime=INFINITE DefaultTime=1 State=UP"
    place.cluster.configure(PartitionName=f"{main} OverSubscribe=YES")
    job = place.lab.job("long", "sleep 35; echo >o")
    place.run()

    assert "succeeded" == place.states()[job]


def test_who_looks_hears_within_ten_seconds_that_the_controller_is_away(place: Place) -> None:
    job = place.lab.job("long", SLOW)
    place.repx("run")
    place.cluster.stop_controller()
    since = time.monotonic()
    told = place.status()[job]
    took_s = time.monotonic() - since
    place.cluster.start_controller()
    place.repx("cancel", "--all")
    place.cluster.drain()

    assert "submitted; Slurm does not answer now" == told["reason"]
    assert took_s < 10 + 5, "five seconds for the start of repx under load"


def test_a_time_limit_that_an_admin_lowers_is_named(place: Place) -> None:
    """Also when Slurm and its accounting know nothing of the job any more: its own log does."""
    place.cluster.configure(MinJobAge=2)
    job = place.lab.job("long", "trap '' TERM; sleep 600", hints={"time": "01:00:00"})
    place.repx("run")
    place.cluster.wait(lambda: place.started(job))
    id_ = place.ids()["all.long"]
    place.cluster.sh("scontrol", "update", f"JobId={id_}", "TimeLimit=1")
    place.cluster.sh("scontrol", "update", f"JobId={id_}", "EndTime=now")
    place.cluster.drain()
    place.cluster.wait(lambda: not place.cluster.sh("squeue", "-h", "-t", "all").stdout, 90)
    told = place.status(TZ="Pacific/Kiritimati")[job]

    assert "failed" == told["state"]
    assert told["reason"].startswith(("timeout", "cancelled")), told
    assert "timeout" in told["reason"], told


def test_preemption_is_named(place: Place) -> None:
    place.cluster.configure(
        PreemptType="preempt/partition_prio",
        PreemptMode="CANCEL",
        PartitionName="main Nodes=n[1-2] Default=YES PriorityTier=1 State=UP GraceTime=0\n"
        "PartitionName=urgent Nodes=n[1-2] PriorityTier=9 State=UP",
    )
    low = place.lab.job("low", SLOW, hints={"cpus": 8})
    other = place.lab.job("low", SLOW, hints={"cpus": 8})
    place.repx("run")
    place.cluster.wait(lambda: place.started(low) and place.started(other))
    place.cluster.sh(
        *("sbatch", "--partition=urgent", "--nodes=2", "--ntasks-per-node=8", "--chdir=/"),
        *("--output=/dev/null", "--wrap=sleep 1"),
    )
    place.cluster.drain()
    told = place.status()

    assert ["preempted"] * 2 == [told[job]["reason"].split()[0] for job in (low, other)], told
