"""Slurm with accounting: what has been forgotten is looked up, and limits are lived with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.real import slurm_cluster, slurm_user
from tests.real.slurm_accounting import AccountedCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.real.slurm_cluster import Cluster
    from tests.real.slurm_place import Place

pytestmark = [pytest.mark.slurm, pytest.mark.needs("slurm-accounting")]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    """Give a cluster with accounting, to `place` too."""
    with slurm_cluster.running(AccountedCluster) as cluster:
        yield cluster


def admin(place: Place, *words: str) -> None:
    """Tell Slurm's database something."""
    place.cluster.sh("sacctmgr", "--immediate", "--quiet", *words)


def add_qos(place: Place, name: str, *settings: str) -> None:
    """Make a QOS that the user may use."""
    if _known(place, "qos", name):
        return
    admin(place, "add", "qos", name, *settings)
    admin(place, "modify", "user", slurm_user.NAME, "set", f"qos+={name}")


def add_account(place: Place, name: str, *settings: str) -> None:
    """Make an account with limits of its own that the user may use."""
    if _known(place, "account", name):
        return
    admin(place, "add", "account", name, *settings)
    admin(place, "add", "user", slurm_user.NAME, f"account={name}")


def _known(place: Place, what: str, name: str) -> bool:
    """Return whether it is there, from a first try of the same test."""
    listed = place.cluster.sh("sacctmgr", "--noheader", "--parsable2", "show", what, name)
    return bool(listed.stdout.strip())


def accounted(place: Place, *fields: str) -> set[tuple[str, ...]]:
    """Return what accounting has of the newest submission's jobs."""
    ids = ",".join(id_ for _, id_, *_ in place.submitted())
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={ids}"]
    told = place.cluster.sh(*argv, f"--format={','.join(fields)}").stdout
    return {tuple(line.split("|")) for line in told.splitlines()}


def wait_for_accounts(place: Place, expected: set[tuple[str, ...]]) -> None:
    """Wait until accounting has this name, account and QOS of each job; it hears of them late."""
    place.cluster.wait(lambda: expected == accounted(place, "JobName", "Account", "QOS"), 30)


def all_succeed(place: Place) -> bool:
    """Return whether every job has succeeded."""
    return {"succeeded"} == set(place.states().values())


def count_calls(place: Place, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """Let each call of a Slurm command add a line to a file."""
    folder = place.folder / "counted"
    folder.mkdir()
    calls = place.folder / f"{program}.calls"
    script = f"#!/bin/sh\necho called >>'{calls}'\nexec /usr/bin/{program} \"$@\"\n"
    (folder / program).write_text(script)
    (folder / program).chmod(0o755)
    monkeypatch.setitem(place.cluster.env, "PATH", f"{folder}:{place.cluster.env['PATH']}")
    return calls


def test_what_the_controller_has_forgotten_accounting_tells(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these dies without a marker, or never begins; accounting is asked once."""
    n1, n2 = ({"sbatch_opts": [f"--nodelist={node}"]} for node in ("n1", "n2"))
    killed = place.lab.job("killed", "kill -KILL $PPID", hints=n1)
    needy = place.lab.job("needy", needs=[killed])
    late = place.lab.job("late", "trap 'kill -KILL $PPID' TERM; sleep 100 & wait", hints=n1)
    unwanted = place.lab.job("unwanted", needs=[late])
    died = place.lab.job("died", "sleep 100", hints=n2)
    place.repx("run")
    place.cluster.wait(lambda: place.started(late) and place.started(died))
    ids = place.ids()
    place.cluster.sh("scancel", ids["all.unwanted"])
    place.cluster.sh("scontrol", "update", f"JobId={ids['all.late']}", "EndTime=now")
    place.cluster.kill_node("n2")
    place.cluster.drain()
    place.cluster.revive_node("n2")
    place.cluster.wait(lambda: not {("RUNNING",), ("PENDING",)} & accounted(place, "State"))
    place.cluster.stop_controller()
    place.cluster.start_controller("-c")
    calls = count_calls(place, monkeypatch, "sacct")
    told = place.status()
    again = place.status()

    assert 1 == len(calls.read_text().splitlines())
    assert told == again
    assert not list(place.store.glob("outputs/*/repx/FAIL"))
    assert told[killed]["reason"].startswith("ended without a marker")
    assert {"state": "skipped", "reason": killed} == told[needy]
    assert ("failed", "timeout") == (told[late]["state"], told[late]["reason"].split()[0])
    assert f"cancelled (Slurm job {ids['all.unwanted']})" == told[unwanted]["reason"]
    assert "lost" == told[died]["state"]
    assert told[died]["reason"].startswith("node failure")


@pytest.mark.parametrize(
    ("add", "key", "limit"),
    [(add_qos, "qos", "MaxSubmitJobsPerUser=4"), (add_account, "account", "MaxSubmitJobs=4")],
    ids=["of a qos", "of an association"],
)
def test_more_jobs_than_may_be_submitted(
    place: Place, add: Callable[..., None], key: str, limit: str
) -> None:
    """A job in Slurm, charged like the others, submits the rest; none runs twice."""
    add(place, f"few-{key}", limit)
    trace = place.folder / "trace"
    first = [place.lab.job("first", f"echo 1-{i} >>'{trace}'; echo >o") for i in range(3)]
    for i, job in enumerate(first):
        place.lab.job("second", f"echo 2-{i} >>'{trace}'; echo >o", needs=[job])
    place.target(slurm={key: f"few-{key}"})
    said = place.repx("run")
    place.cluster.drain()
    place.cluster.wait(lambda: {(f"few-{key}",)} == accounted(place, key), 30)

    assert all_succeed(place)
    assert "submits the rest" in said
    assert ["1-0", "1-1", "1-2", "2-0", "2-1", "2-2"] == sorted(trace.read_text().split())


def test_an_array_larger_than_the_limit_is_refused_with_what_to_say(place: Place) -> None:
    """Nothing else is queued, so waiting would be in vain; what is to be said is tried out.

    Slurm also answers "no" to a trial when no node is up, which says nothing of the limit.
    """
    add_qos(place, "tiny-qos", "MaxSubmitJobsPerUser=4")
    for _ in range(6):
        place.lab.job("many")
    place.target(slurm={"qos": "tiny-qos"})
    nodes = ("scontrol", "update", "NodeName=n[1-2]")
    place.cluster.sh(*nodes, "State=DRAIN", "Reason=test")
    said = place.repx("run", code=3)
    left = place.cluster.queue()
    place.cluster.sh(*nodes, "State=RESUME")
    place.target(slurm={"qos": "tiny-qos", "max_submit": 4})
    place.run()

    assert all_succeed(place)
    assert "QOSMaxSubmitJobPerUserLimit" in said
    assert "max_submit: 4 }" in said
    assert [] == left


def test_an_array_that_never_fits_is_not_tried_for_ever(place: Place) -> None:
    """Only when what came before has ended is this known: to the job that submits the rest."""
    add_account(place, "tiny-account", "MaxSubmitJobs=4")
    first = place.lab.job("first")
    many = [place.lab.job("many", needs=[first]) for _ in range(6)]
    place.target(slurm={"account": "tiny-account"})
    place.run()
    told = place.status()
    log = place.submissions()[-1] / "logs/continue.out"
    place.target(slurm={"account": "tiny-account", "max_submit": 4})
    place.run()

    assert all_succeed(place)
    assert "succeeded" == told[first]["state"]
    assert {"lost"} == {told[job]["state"] for job in many}
    assert f"see {log}" in told[many[0]]["reason"]
    assert "AssocMaxSubmitJobLimit" in log.read_text()
    assert "max_submit: 4 }" in log.read_text()


def test_a_scatter_whose_steps_find_no_place_fails_and_says_so(place: Place) -> None:
    """Its gather is not left in the queue, and what was scattered is kept for the next time."""
    add_account(place, "cramped", "MaxSubmitJobs=4")
    job = place.lab.scattered(
        "wide", items="echo '[1,2,3,4]' >work_items.json", steps={"a": ("echo >o", [], {})}
    )
    place.target(slurm={"account": "cramped"})
    place.run()
    told = place.status()[job]
    log = place.submissions()[-1] / f"logs/{place.ids()['all.wide.scatter']}.out"
    admin(place, "modify", "account", "cramped", "set", "MaxSubmitJobs=-1")
    place.run()

    assert "failed" == told["state"]
    assert told["reason"].startswith("cannot submit its steps (Slurm job ")
    assert f"see {log}" in told["reason"]
    assert "AssocMaxSubmitJobLimit" in log.read_text()
    assert all_succeed(place)


def test_limits_that_only_delay_are_told_as_reasons(place: Place) -> None:
    add_qos(place, "single", "MaxJobsPerUser=1")
    add_account(place, "narrow", "GrpTRES=cpu=1")
    gate = place.folder / "gate"
    script = f"until test -e '{gate}'; do sleep 0.1; done; echo >o"
    jobs = {stage: [place.lab.job(stage, script) for _ in range(2)] for stage in ("one", "two")}
    rules = [{"stage": "one", "qos": "single"}, {"stage": "two", "account": "narrow"}]
    place.target(resources={"rules": rules})
    place.repx("run")

    def waits(stage: str, reason: str) -> bool:
        told = [place.status()[job] for job in jobs[stage]]
        return ["queued", "running"] == sorted(each["state"] for each in told) and reason in (
            each.get("reason") for each in told
        )

    place.cluster.wait(lambda: waits("one", "QOSMaxJobsPerUserLimit"))
    place.cluster.wait(lambda: waits("two", "AssocGrpCpuLimit"))
    gate.touch()
    place.cluster.drain()

    assert all_succeed(place)


@pytest.mark.parametrize(
    ("key", "words"),
    [("qos", "Invalid qos specification"), ("account", "Invalid account")],
)
def test_what_the_user_may_not_use_is_refused(place: Place, key: str, words: str) -> None:
    """Neither what there is not; the rest is submitted once the target or Slurm is corrected."""
    first = place.lab.job("first")
    second = place.lab.job("second", needs=[first])
    place.lab.job("third", needs=[second])
    name = f"closed-{key}"
    admin(place, "add", key, name)
    wrong = [{"stage": "second", key: "missing"}, {"stage": "third", key: name}]
    place.target(resources={"rules": wrong})
    missing = place.repx("run", code=3)
    place.target(resources={"rules": wrong[1:]})
    closed = place.repx("run", code=3)
    grant = ("modify", "user", slurm_user.NAME, "set", f"qos+={name}")
    admin(place, *(grant if key == "qos" else ("add", "user", slurm_user.NAME, f"account={name}")))
    place.run()

    assert words in missing
    assert "Slurm refused sbatch/2-all.second.sh" in missing
    assert "repx run" in missing
    assert words in closed
    assert "all.third.sh" in closed
    assert all_succeed(place)


@pytest.mark.parametrize(
    ("word", "limit"),
    [
        ("QOSMaxCpuPerJobLimit", "MaxTRESPerJob=cpu=1"),
        ("QOSMaxCpuPerNode", "MaxTRESPerNode=cpu=1"),
        ("QOSGrpCpuLimit", "GrpTRES=cpu=1"),
        ("QOSMaxWallDurationPerJobLimit", "MaxWall=10"),
    ],
)
def test_a_job_larger_than_its_qos_allows_is_refused_at_once(
    place: Place, word: str, limit: str
) -> None:
    """No job in Slurm is left to try again: what is denied once always will be."""
    add_qos(place, word, "Flags=DenyOnLimit", limit)
    place.lab.job("first", hints={"cpus": 2, "time": "30"})
    place.target(slurm={"qos": word})
    said = place.repx("run", code=3)

    assert f"sbatch: error: {word}" in said
    assert "Slurm refused sbatch/1-all.first.sh" in said
    assert "submits the rest" not in said
    assert [] == place.cluster.queue()


def test_accounts_and_qos_reach_slurm(place: Place) -> None:
    """Of the user, of the target, of a rule: the last that says something wins."""
    add_account(place, "of-target")
    add_account(place, "of-rule")
    add_qos(place, "good")
    for stage in ("plain", "usual", "special"):
        place.lab.job(stage)
    place.target("bare")
    place.target(
        slurm={"account": "of-target", "qos": "good"},
        resources={"rules": [{"stage": "special", "account": "of-rule"}]},
    )
    place.repx("run", "--stage", "plain", target="bare")
    place.cluster.drain()
    wait_for_accounts(place, {("all.plain", "lab", "normal")})
    place.run()
    wait_for_accounts(
        place, {("all.usual", "of-target", "good"), ("all.special", "of-rule", "good")}
    )
