"""Submitting: by hand, through refusals, limits, silence and banners; each thing once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm


def by_hand(place: Place, folder: Path, *, code: int = 0, path: str = "") -> str:
    """Run a folder's submit.sh as a person would, perhaps with other programs first on PATH."""
    process = place.begin(
        ("bash", "submit.sh"), folder, {"PATH": f"{path}:{place.cluster.env['PATH']}"}
    )
    out, err = process.communicate(timeout=120)
    assert code == process.returncode, out + err
    return out + err


def shim(place: Place, name: str, script: str) -> str:
    """Put a script in the place of a Slurm command; `real` in it is the true one."""
    folder = place.folder / "shims"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\nreal=/usr/bin/{name}\n{script}\n")
    (folder / name).chmod(0o755)
    return str(folder)


def chain(place: Place, length: int) -> list[str]:
    """Add jobs of different stages, each needing the one before; return their ids."""
    jobs: list[str] = []
    for i in range(length):
        jobs.append(place.lab.job(f"s{i}", needs=jobs[-1:]))
    return jobs


def test_a_rendered_folder_is_submitted_by_hand_and_moved_before(place: Place) -> None:
    """Same jobs, markers and states as `repx run`; a second submit.sh finds nothing to do."""
    jobs = chain(place, 2)
    place.repx("render", "-o", "scripts")
    folder = (place.folder / "scripts").rename(place.folder / "moved it's here")
    first = by_hand(place, folder)
    second = by_hand(place, folder)
    place.cluster.drain()

    assert ["1-all.s0", "2-all.s1"] == [line.split()[0] for line in first.splitlines()]
    assert "" == second
    assert ["succeeded"] * 2 == [place.states()[job] for job in jobs]


def test_a_refusal_stops_the_submission_which_goes_on_once_corrected(place: Place) -> None:
    jobs = chain(place, 3)
    rule = {"stage": "s1", "partition": "no-such"}
    place.target(resources={"rules": [rule]})
    said = place.repx("run", code=3)
    folder = place.submissions()[-1]
    place.cluster.drain()
    between = place.states()
    script = folder / "sbatch/2-all.s1.sh"
    script.write_text(script.read_text().replace("=no-such", "=main"))
    by_hand(place, folder)
    place.cluster.drain()

    assert "invalid partition specified: no-such" in said
    assert "sbatch/2-all.s1.sh" in said
    typed = str(folder).replace(" ", "\\ ")
    assert f"bash {typed}/submit.sh" in said
    assert ["succeeded", "pending", "blocked"] == [between[job] for job in jobs]
    assert {"succeeded"} == set(place.states().values())


def test_where_slurm_takes_no_more_a_job_in_slurm_submits_the_rest(place: Place) -> None:
    """MaxJobCount 4 and chains of six: nothing waits on this side, nothing is submitted twice."""
    place.cluster.configure(MaxJobCount=4, MinJobAge=2)
    trace = place.folder / "trace"
    previous: list[str] = []
    for i in range(6):
        previous = [place.lab.job(f"s{i}", f"echo {i} >>{trace}; echo >o", needs=previous)]
    place.target(slurm={"max_submit": 100})
    said = place.repx("run")
    told = place.status()
    place.cluster.wait(lambda: {"succeeded"} == set(place.states().values()), 120)

    assert "submits the rest" in said
    assert "queued" == told[previous[0]]["state"]
    assert "waits for room in the queue" in told[previous[0]]["reason"]
    assert [str(i) for i in range(6)] == trace.read_text().split()


def test_a_known_limit_is_kept_by_cutting_and_waiting(place: Place) -> None:
    """Ten jobs where four may be queued: arrays of three, submitted as places get free."""
    jobs = [place.lab.job("many") for _ in range(10)]
    place.target(slurm={"max_submit": 4})
    place.repx("run")
    most = len(place.cluster.queue())
    place.cluster.wait(lambda: ["succeeded"] * 10 == [place.states()[job] for job in jobs], 120)

    assert most <= 4


def test_an_answer_that_got_lost_is_looked_up_before_asking_again(place: Place) -> None:
    """The command times out after the controller took the job: it is found by its comment."""
    job = place.lab.job("once", "echo ran >>trace; mv trace o")
    lost = '$real "$@" >/dev/null\necho "sbatch: error: Socket timed out on send/recv" >&2; exit 1'
    folder = shim(place, "sbatch", lost)
    place.repx("render", "-o", "scripts")
    by_hand(place, place.folder / "scripts", path=folder)
    place.cluster.drain()

    assert "ran" == place.out(job)
    assert 1 == len(place.submitted())


def test_banners_round_the_answer_and_the_name_of_a_cluster_are_coped_with(place: Place) -> None:
    jobs = chain(place, 2)
    banner = 'echo "Welcome to 2 clusters, 100 users"\necho "$($real "$@");repxtest"\necho "bye 7"'
    place.repx("render", "-o", "scripts")
    by_hand(place, place.folder / "scripts", path=shim(place, "sbatch", banner))
    place.cluster.drain()
    lines = (place.folder / "scripts/submitted.tsv").read_text().splitlines()

    assert all(line.split("\t")[1].endswith(";repxtest") for line in lines)
    assert ["succeeded"] * 2 == [place.states()[job] for job in jobs]


def test_a_controller_that_is_away_for_a_while_loses_nothing(place: Place) -> None:
    """Submission waits for it; status calls the jobs submitted; what runs goes on."""
    gate = place.folder / "gate"
    first = place.lab.job("first", f"until test -e '{gate}'; do sleep 0.1; done; echo 1 >o")
    second = place.lab.job("second", needs=[first])
    place.repx("run")
    place.cluster.wait(lambda: place.started(first))
    place.cluster.stop_controller()
    told = place.status()
    gate.touch()
    process = place.start("run", "--force")
    process.kill()
    process.communicate()
    place.cluster.start_controller()
    place.cluster.drain()

    assert {"queued", "running"} >= {told[first]["state"], told[second]["state"]}
    assert "Slurm does not answer" in told[second]["reason"]
    assert {"succeeded"} == set(place.states().values())


def test_two_targets_share_a_store(place: Place) -> None:
    """What one has queued the other knows, waits for and does not submit again."""
    gate = place.folder / "gate"
    first = place.lab.job("first", f"until test -e '{gate}'; do sleep 0.1; done; echo 1 >o")
    second = place.lab.job("second", needs=[first])
    place.target("one")
    place.target("other", slurm={"cpus": 2})
    place.repx("run", "--stage", "first", target="one")
    place.repx("run", target="other")
    place.cluster.wait(lambda: place.started(first))
    gate.touch()
    place.cluster.drain()
    (id_,) = [line[1] for line in place.submitted()]

    assert ["2-all.second"] != [line[0] for line in place.submitted()]
    assert 1 == len(place.submitted())
    assert id_ == place.marker(second, "SUCCESS")["scheduler"].removeprefix("slurm:")
