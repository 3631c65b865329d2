"""Scatter-gather on a real cluster: arrays per step, gather rewired, no process that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

ITEM = 'item=$(<"$(input worker__item)")'
SQUARE = f"{ITEM}; echo $((item * item)) >o"
PLUS = 'echo $(($(<"$(input in-square)") + 1)) >o'
# The manifest's lines hold one path each; the store's name has a space.
SUM = """outs=$(input worker__outs); total=0
while IFS= read -r line; do
  path=${line#*: \\"}; path=${path%\\"*}
  if [[ $line == *:* ]]; then total=$((total + $(<"$path"))); fi
done <"$outs"; echo $total >o"""


def squares(place: Place, items: str = "[1, 2, 3]", square: str = SQUARE, **parts: str) -> str:
    """Add a job that scatters numbers, squares each, adds one, and gathers the sum."""
    return place.lab.scattered(
        "sum",
        items=parts.get("scatter", f"echo '{items}' >work_items.json"),
        steps={
            "square": (square, (), {"cpus": 2, "mem": "20M", "time": "00:03:00"}),
            "plus": (PLUS, ("square",), {"cpus": 1, "mem": "30M", "time": "00:04:00"}),
        },
        gather=parts.get("gather", SUM),
    )


def test_steps_are_arrays_with_resources_of_their_own(place: Place) -> None:
    """What needs the job waits for its gather; Slurm is asked for each step's own resources."""
    job = squares(place)
    last = place.lab.job("last", 'cat "$(input in0)" >o', needs=[job])
    place.target(slurm={"max_running": 2})
    place.run()
    (children,) = (place.submissions()[-1] / "children").iterdir()
    ids = [line.split("\t")[1] for line in children.read_text().splitlines()]
    asked = [place.cluster.sh("scontrol", "show", "job", f"{id_}_0").stdout for id_ in ids]

    assert str(2 + 5 + 10) == place.out(last)
    assert "succeeded" == place.states()[job]
    assert "NumCPUs=2" in asked[0]
    assert "ArrayTaskThrottle=2" in asked[0]
    assert "MinMemoryNode=20M" in asked[0]
    assert "TimeLimit=00:03:00" in asked[0]
    assert "MinMemoryNode=30M" in asked[1]
    assert [] == list((place.submissions()[-1] / "logs").iterdir())


def test_no_work_items_lead_straight_to_gather(place: Place) -> None:
    job = squares(place, "[]")
    place.run()

    assert "0" == place.out(job)


def test_a_failed_branch_fails_the_job_and_only_it_is_done_again(place: Place) -> None:
    """Other branches finish; the next run repeats neither scatter nor finished steps."""
    flag = place.folder / "works now"
    trace = place.folder / "trace"
    square = f'{ITEM}; echo $item >>"{trace}"; [[ $item != 2 || -e "{flag}" ]]; {SQUARE}'
    scatter = f'echo scatter >>"{trace}"; echo "[1, 2, 3]" >work_items.json'
    job = squares(place, square=square, scatter=scatter)
    last = place.lab.job("last", needs=[job])
    place.run()
    told = place.status()
    home = place.store / "outputs" / job

    assert "failed" == told[job]["state"]
    assert "step square of branch 1 failed" == told[job]["reason"]
    assert {"state": "skipped", "reason": job} == told[last]
    assert (home / "branch-0/step-plus/repx/SUCCESS").exists()
    assert not (home / "branch-1/step-plus/repx/SUCCESS").exists()

    flag.touch()
    trace.unlink()
    place.run()
    (children,) = (place.submissions()[-1] / "children").iterdir()

    assert "2" == trace.read_text().strip()
    assert ["1", "1"] == [line.split("\t")[2] for line in children.read_text().splitlines()]
    assert str(2 + 5 + 10) == place.out(job)
    assert {"succeeded"} == set(place.states().values())


@pytest.mark.parametrize(
    ("part", "script", "reason"),
    [
        ("scatter", "exit 3", "scatter failed"),
        ("gather", "exit 4", "exit 4"),
    ],
    ids=["scatter", "gather"],
)
def test_a_failed_end_cancels_what_waits(place: Place, part: str, script: str, reason: str) -> None:
    job = squares(place, **{part: script})
    last = place.lab.job("last", needs=[job])
    place.run()
    told = place.status()

    assert {"state": "failed", "reason": reason} == told[job]
    assert {"state": "skipped", "reason": job} == told[last]


def test_many_branches_are_cut_and_many_jobs_share_arrays(place: Place) -> None:
    """Two jobs of one stage, seven branches each, at MaxArraySize 3."""
    place.cluster.configure(MaxArraySize=3)
    jobs = [squares(place, "[1, 2, 3, 4, 5, 6, 7]") for _ in range(2)]
    place.run()

    assert [str(140 + 7)] * 2 == [place.out(job) for job in jobs]
    assert ["1-all.sum.scatter", "2-all.sum.gather"] == [line[0] for line in place.submitted()]


def test_a_node_lost_under_scatter_takes_gather_along(place: Place) -> None:
    job = squares(place, scatter="sleep 60")
    last = place.lab.job("last", needs=[job])
    place.repx("run")
    scatter = place.store / "outputs" / job / "scatter/repx/stdout.log"
    place.cluster.wait(scatter.exists)
    where = place.status()[job]["where"]
    place.cluster.kill_node(where)
    place.cluster.drain()
    told = place.status()
    place.cluster.revive_node(where)

    assert "lost" == told[job]["state"]
    assert "node failure" in told[job]["reason"]
    assert "skipped" == told[last]["state"]


def test_cancelling_reaches_the_steps(place: Place) -> None:
    job = squares(place, square="sleep 600")
    place.repx("run")
    step = place.store / "outputs" / job / "branch-0/step-square/repx/stdout.log"
    place.cluster.wait(step.exists)
    place.repx("cancel", job)
    place.cluster.drain()

    assert "failed" == place.states()[job]
    assert "cancelled" in place.status()[job]["reason"]
