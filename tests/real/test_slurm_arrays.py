"""Sweeps on a real cluster: few arrays, each job when its own dependencies allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = pytest.mark.slurm

COPY = 'cat "$(input in0)" >o'


def test_a_sweep_larger_than_the_sites_arrays_is_cut(place: Place) -> None:
    """23 chains of two under MaxArraySize 5, which Slurm is asked for: ten calls of sbatch."""
    place.cluster.configure(MaxArraySize=5)
    first = [place.lab.job("prep", f"echo {i} >o", params={"i": i}) for i in range(23)]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    place.run()

    assert {"succeeded"} == set(place.states().values())
    assert [str(i) for i in range(23)] == [place.out(job) for job in second]
    assert 10 == len(place.submitted())
    assert [] == list((place.submissions()[-1] / "logs").iterdir())


def test_one_failed_element_takes_only_its_own_chain_with_it(place: Place) -> None:
    """Its followers are skipped and name it; the next run submits what is not done."""
    flag = place.folder / "works now"
    first = [
        place.lab.job("prep", f"test {i} != 1 || test -e '{flag}'\necho {i} >o") for i in range(3)
    ]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    report = place.lab.job("report", "echo all >o", needs=second)
    place.run()
    told = place.status()

    assert "failed" == told[first[1]]["state"]
    assert "exit 1" == told[first[1]]["reason"]
    assert {"state": "skipped", "reason": first[1]} == told[second[1]]
    assert {"state": "skipped", "reason": first[1]} == told[report]
    assert ["succeeded"] * 4 == [told[job]["state"] for job in (*first[::2], *second[::2])]

    flag.touch()
    place.run()

    assert {"succeeded"} == set(place.states().values())
    assert 3 == len(place.submitted())


def test_a_fan_out_starts_each_job_when_its_own_input_is_there(place: Place) -> None:
    """One slow producer holds back its own consumers only."""
    gate = place.folder / "gate"
    first = [
        place.lab.job("prep", f"until test {i} = 0 -o -e '{gate}'; do sleep 0.1; done; echo {i} >o")
        for i in range(2)
    ]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    alone = place.lab.job("alone", COPY, needs=[first[1]])
    place.repx("run")
    place.cluster.wait(lambda: "succeeded" == place.states()[second[0]])
    waiting = place.status()[second[1]]
    held = place.status()[alone]
    gate.touch()
    place.cluster.drain()

    assert "queued" == waiting["state"]
    assert "Dependency" == waiting["reason"]
    assert "Dependency" == held["reason"]
    assert ["0", "1"] == [place.out(job) for job in second]


def test_runs_wait_hard_for_success_and_softly_for_an_end(place: Place) -> None:
    bad = place.lab.job("bad", "exit 7")
    good = place.lab.job("good")
    soft = place.lab.job("soft", "echo soft >o")
    hard = place.lab.job("hard", "echo hard >o")
    fine = place.lab.job("fine", "echo fine >o")
    place.lab.run("breaks", [bad])
    place.lab.run("works", [good])
    place.lab.run("any-end", [soft], breaks="soft")
    place.lab.run("needs-it", [hard], breaks="hard")
    place.lab.run("needs-other", [fine], works="hard")
    place.run()
    told = place.status()

    assert "soft" == place.out(soft)
    assert "fine" == place.out(fine)
    assert "failed" == told[bad]["state"]
    assert {"state": "skipped", "reason": bad} == told[hard]


def test_jobs_alive_are_not_submitted_again_and_others_wait_for_them(place: Place) -> None:
    gate = place.folder / "gate"
    first = [
        place.lab.job("prep", f"until test -e '{gate}'; do sleep 0.1; done; echo {i} >o")
        for i in range(3)
    ]
    second = [place.lab.job("calc", COPY, needs=[job]) for job in first]
    place.repx("run", "--stage", "prep")
    again = place.repx("run", "--stage", "prep")
    (id_,) = place.ids().values()
    place.repx("run")
    script = (place.submissions()[-1] / "submit.sh").read_text()
    gate.touch()
    place.cluster.drain()

    assert "queued or running already" in again
    assert f"submit 1-all.calc 3 aftercorr={id_}" in script
    assert ["0", "1", "2"] == [place.out(job) for job in second]


def test_a_local_run_does_not_take_what_slurm_has_for_ended(place: Place) -> None:
    gate = place.folder / "gate"
    first = place.lab.job("prep", f"until test -e '{gate}'; do sleep 0.1; done; echo 1 >o")
    second = place.lab.job("calc", COPY, needs=[first])
    place.target()
    place.target("here", scheduler="local")
    place.repx("run", "--stage", "prep")
    before = place.submissions()
    (id_,) = place.ids().values()
    said = place.repx("run", target="here", code=3)
    left = place.submissions()
    gate.touch()
    place.cluster.drain()
    place.repx("run", target="here")

    assert f"error: job {first} waits or runs where the local scheduler cannot wait" in said
    assert f"({id_}" in said
    assert before == left
    assert "1" == place.out(second)


def test_the_submitters_environment_stays_where_it_is(place: Place) -> None:
    job = place.lab.job("look", 'echo "${LEAKED-clean} ${SLURM_EXPORT_ENV-}" >o')
    place.repx("run", LEAKED="leaked", SBATCH_EXPORT="ALL", SBATCH_JOB_NAME="other")
    place.cluster.drain()

    assert "clean ALL" == place.out(job)


HOSTILE = ("a b", "it's", "$HOME", "a#b", "`id`", '"q"', "naïve", "a%j", "-x", "a;b|c&d>e")


def test_hostile_names_and_parameters(place: Place) -> None:
    """In job ids, runs, stages, parameters and the store's path, arrays and all."""
    for name in HOSTILE:
        value = f"{name}\n$(touch {place.folder}/escaped) \\ '"
        jobs = [
            place.lab.job(name, 'cat "$3" >o', params={"hostile": value, "i": i}) for i in range(2)
        ]
        place.lab.run(f"run {name}", [*jobs, place.lab.job(f"last {name}", needs=[jobs[0]])])
    place.run()

    assert {"succeeded"} == set(place.states().values())
    assert 3 * len(HOSTILE) == len(place.states())
    assert not (place.folder / "escaped").exists()
