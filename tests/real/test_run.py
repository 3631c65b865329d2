"""`repx run` as a person uses it: the recorded Labs give their known results, whatever happens."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.place import Place

# The recorded scripts themselves cannot read a path with a double quote or a newline.
BASES = ("a store", "it's odd $HOME `x` #1")


@pytest.mark.parametrize("tar", [False, True], ids=["folder", "tar"])
@pytest.mark.parametrize(
    ("lab", "results"),
    [
        (
            "simple-two-runs",
            {
                "*-stage-c-total-1.0/out/total.txt": ["195\n"],
                "*-stage-analysis-1.0/out/report.txt": ["jobs=3 totals=1 sum=195\n"],
            },
        ),
        (
            "sweep",
            {
                "*-calc-1.0/out/result.csv": [
                    f"label,base,factor,value\n{name},{base},{factor},{base * factor}\n"
                    for name, base, factor in sorted(
                        (name, base, factor)
                        for base in (100, 200)
                        for name, factor in (("five", 5), ("three", 3), ("two", 2))
                    )
                ]
            },
        ),
        (
            "scatter-gather",
            {
                "*-b-square-sum-1.0/out/gathered.txt": ["count=4 sum=70\n"],
                "*-c-report-1.0/out/report.txt": ["report: count=4 sum=70\n"],
            },
        ),
    ],
)
def test_the_recorded_labs_give_their_results(
    recorded: Callable[..., Place], lab: str, results: dict[str, list[str]], *, tar: bool
) -> None:
    here = recorded(lab, tar=tar)
    here.repx("run")

    for pattern, texts in results.items():
        assert here.output(pattern) == texts
    assert set(here.states().values()) == {"succeeded"}
    assert "nothing to do" in here.repx("run")


@pytest.mark.parametrize("base", BASES)
def test_a_store_may_have_any_path(recorded: Callable[..., Place], base: str) -> None:
    here = recorded("scatter-gather", base=base)
    here.repx("run")

    assert here.output("*-c-report-1.0/out/report.txt") == ["report: count=4 sum=70\n"]


def test_a_store_may_be_a_link(recorded: Callable[..., Place], tmp_path: Path) -> None:
    here = recorded("sweep")
    (tmp_path / "elsewhere").mkdir()
    here.store.symlink_to(tmp_path / "elsewhere")
    here.repx("run")

    assert set(here.states().values()) == {"succeeded"}


def test_a_failure_stops_what_depends_on_it_and_a_second_run_continues(
    recorded: Callable[..., Place], tmp_path: Path
) -> None:
    here = recorded("simple-two-runs")
    trace = {"REPX_FIXTURE_TRACE": str(tmp_path / "trace")}
    said = here.repx(
        "run", "simulation-run", code=1, env={"REPX_FIXTURE_FAIL": "stage-b-transform", **trace}
    )

    assert "exit 3" in said
    assert "failing on request" in said
    assert "stderr.log" in said
    states = {name.split("-", 1)[1]: state for name, state in here.states().items()}
    assert states == {
        "stage-a-generate-1.0": "succeeded",
        "stage-b-transform-1.0": "failed",
        "stage-c-total-1.0": "skipped",
        "stage-analysis-1.0": "pending",
    }
    here.repx("run", "simulation-run", env=trace)
    ran = [line.split()[0] for line in (tmp_path / "trace").read_text().splitlines()]
    assert ran == ["stage-a-generate", "stage-b-transform", "stage-c-total"]


@pytest.mark.parametrize("option", ["--keep-going", "--continue-on-failure"])
def test_a_soft_dependency_that_failed_does_not_block(
    recorded: Callable[..., Place], option: str
) -> None:
    here = recorded("simple-two-runs")
    here.repx("run", option, code=1, env={"REPX_FIXTURE_FAIL": "stage-c-total"})

    assert here.output("*-stage-analysis-1.0/out/report.txt") == ["jobs=3 totals=0 sum=0\n"]


def test_one_failed_branch_is_all_that_runs_again(
    recorded: Callable[..., Place], tmp_path: Path
) -> None:
    here = recorded("scatter-gather")
    here.repx("run", "--keep-going", code=1, env={"REPX_FIXTURE_FAIL_BRANCH": "2"})
    assert len(here.output("*-b-square-sum-1.0/branch-*/step-square/out/squared.txt")) == 3
    assert re.search(r"step \w+ of branch 2 failed: exit \d", here.repx("status"))

    here.repx("run", env={"REPX_FIXTURE_TRACE": str(tmp_path / "trace")})
    ran = sorted(line.split()[0] for line in (tmp_path / "trace").read_text().splitlines())
    assert ran == [
        "b-square-sum-gather",
        "b-square-sum-step-extract",
        "b-square-sum-step-square",
        "c-report",
    ]


def test_what_render_writes_is_what_run_runs(recorded: Callable[..., Place]) -> None:
    here = recorded("simple-two-runs")
    here.repx("render", "simulation-run", "-o", "scripts dir")
    subprocess.run(
        ["bash", "scripts dir/run.sh"], cwd=here.folder, env=dict(os.environ), check=True
    )

    assert here.output("*-stage-c-total-1.0/out/total.txt") == ["195\n"]
    assert list(here.states().values()).count("succeeded") == 3


def test_following_a_job_that_was_cut_off_ends(recorded: Callable[..., Place]) -> None:
    here = recorded("sweep")
    here.repx("run")
    (marker, *_) = here.store.glob("outputs/*/repx/SUCCESS")
    marker.unlink()

    assert here.states()[marker.parent.parent.name] == "lost"
    here.repx("log", marker.parent.parent.name, "--follow")


def test_force_runs_again_what_has_succeeded(
    recorded: Callable[..., Place], tmp_path: Path
) -> None:
    here = recorded("scatter-gather")
    here.repx("run")
    here.repx("run", "--force", env={"REPX_FIXTURE_TRACE": str(tmp_path / "trace")})

    assert len((tmp_path / "trace").read_text().splitlines()) == 1 + 1 + 4 + 4 + 1 + 1


def test_dry_run_says_why_and_starts_nothing(recorded: Callable[..., Place]) -> None:
    here = recorded("simple-two-runs")
    document = json.loads(here.repx("run", "--dry-run", "--json"))

    assert [task["reason"] for task in document["run"]] == ["never ran"] * 4
    assert not (here.store / "outputs").exists()


def test_ctrl_c_ends_jobs_as_cancelled_and_a_second_run_finishes(
    recorded: Callable[..., Place],
) -> None:
    here = recorded("sweep")
    process = here.start("run", REPX_FIXTURE_SLEEP="30")
    here.wait_until(lambda: "running" in here.states().values())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    failed = [name for name, state in here.states().items() if state == "failed"]
    marker = json.loads((here.store / "outputs" / failed[0] / "repx" / "FAIL").read_text())
    assert marker["reason"] == "cancelled"
    here.repx("run")
    assert set(here.states().values()) == {"succeeded"}


@pytest.mark.parametrize("meant", ["--all", "the submission"])
def test_a_detached_run_can_be_followed_and_cancelled(
    recorded: Callable[..., Place], meant: str
) -> None:
    here = recorded("sweep")
    here.repx("run", "--detach", env={"REPX_FIXTURE_SLEEP": "30"})
    here.wait_until(lambda: "running" in here.states().values())
    watcher = here.start("status", "--follow", "--json")
    assert watcher.stderr is not None
    assert "Ctrl-C stops watching" in watcher.stderr.readline()
    (submission,) = (path.name for path in here.store.glob("submissions/*"))
    here.repx("cancel", submission if meant == "the submission" else meant)
    printed, _ = watcher.communicate(timeout=60)

    assert watcher.returncode == 130, "as the run itself would have said"
    states = here.states()
    assert {job: told["state"] for job, told in json.loads(printed)["jobs"].items()} == states
    assert "succeeded" not in states.values()


def test_named_jobs_can_be_followed(recorded: Callable[..., Place]) -> None:
    here = recorded("simple-two-runs")
    running = here.start("run", REPX_FIXTURE_SLEEP="2")
    here.wait_until(lambda: "running" in here.states().values())
    printed = here.repx("status", "--follow", "simulation-run", "--json")
    running.communicate(timeout=60)

    document = json.loads(printed[: printed.rindex("}") + 1])
    assert document["runs"]["simulation-run"] == "succeeded"
    assert document["runs"]["analysis-run"] != "succeeded"


def test_what_runs_on_another_machine_is_not_cancelled_from_here(
    recorded: Callable[..., Place],
) -> None:
    here = recorded("sweep")
    submission = here.store / "submissions/20260101-000000-aaaaaa"
    submission.mkdir(parents=True)
    job = next(iter(here.states()))
    (submission / "plan.json").write_text(json.dumps({"tasks": [{"job": job}]}))
    innocent = subprocess.Popen(["sleep", "600"])
    lock = submission / "agent.lock"
    lock.write_text(f"login2 {innocent.pid}\n")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = here.repx("cancel", "--all", code=3)

    assert "runs on login2" in said
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


def test_two_runs_at_once_execute_each_job_once(
    recorded: Callable[..., Place], tmp_path: Path
) -> None:
    here = recorded("sweep")
    env = {"REPX_FIXTURE_SLEEP": "0.2", "REPX_FIXTURE_TRACE": str(tmp_path / "trace")}
    processes = [here.start("run", **env) for _ in range(3)]
    said = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len((tmp_path / "trace").read_text().splitlines()) == 8


def test_a_killed_scheduler_leaves_nothing_sticky(
    recorded: Callable[..., Place], tmp_path: Path
) -> None:
    here = recorded("sweep")
    trace = tmp_path / "trace"
    process = here.start("run", REPX_FIXTURE_SLEEP="0.3", REPX_FIXTURE_TRACE=str(trace))
    here.wait_until(lambda: any(here.store.glob("submissions/*/events.jsonl")) and trace.exists())
    (events,) = here.store.glob("submissions/*/events.jsonl")
    pid = json.loads(events.read_text().splitlines()[0])["pid"]
    os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 3

    here.repx("run", env={"REPX_FIXTURE_TRACE": str(trace)})
    ran = trace.read_text().splitlines()
    assert len(ran) == len(set(ran)) == 8
    assert set(here.states().values()) == {"succeeded"}


@pytest.mark.parametrize("given", [(), ("LC_CTYPE=C",)], ids=["none", "C"])
def test_jobs_see_no_locale_of_pythons_own(
    defined: Callable[..., Place], given: tuple[str, ...]
) -> None:
    run = 'printf "%s\\n" "${LC_CTYPE-none}" "${LANG-none}" "${LC_ALL-none}" > "${outputs[seen]}"'
    stage = {"outputs": {"seen": "$out/seen"}, "run": run}
    lab = {
        "stages": {"look": stage},
        "pipelines": {"p": ["look"]},
        "runs": {"r": {"pipelines": ["p"]}},
    }
    here = defined(lab)
    bare = ("env", "-u", "LANG", "-u", "LC_ALL", "-u", "LC_CTYPE", *given)
    dataclasses.replace(here, before=bare).repx("run")

    assert here.output("*-look-*/out/seen") == [f"{'C' if given else 'none'}\nnone\nnone\n"]
