"""The local scheduler at work: real processes, locks and signals."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from repx.target import Resources
from tests.real.folders import TOUCH, Folder, MakeFolder, Work, ended, wait_until
from tests.real.traced import ROOT, SLEEP, TRACE, is_locked, reasons, wait_for_trace

pytestmark = pytest.mark.real


# --- order and failure -----------------------------------------------------------------------


def test_jobs_run_in_order_and_what_happened_is_told(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=TRACE + TOUCH), "b": Work(body=TRACE + TOUCH, needs=("a",))})

    code, said = made.agent("-j2")

    assert (0, "repx: 2 succeeded, 0 failed, 0 skipped\n") == (code, said)
    assert ["a", "b"] == made.traced()
    kinds = [(event["e"], event.get("job")) for event in made.events()]
    expected = ["agent-start", "start", "end", "start", "end", "agent-end"]
    assert list(zip(expected, [None, "a", "a", "b", "b", None], strict=True)) == kinds
    end = made.events("end")[0]
    assert (None, True, "") == (end["phase"], end["ok"], end["reason"])
    assert end["wall_s"] > 0
    last = made.events("agent-end")[0]
    assert (2, 0, 0, "done") == tuple(last[key] for key in ("ok", "failed", "skipped", "reason"))


def test_started_again_it_runs_only_what_is_missing(folder: MakeFolder) -> None:
    works = {name: Work(body=f"{TRACE}[[ $job != ${{FAIL-}} ]]\n{TOUCH}") for name in "abc"}
    made = folder(works)

    assert 1 == made.agent("-j1", "--keep-going", FAIL="b")[0]
    assert 0 == made.agent()[0]
    assert ["a", "b", "c", "b"] == made.traced()


def test_a_failure_stops_its_run_but_not_others(folder: MakeFolder) -> None:
    """Running jobs go on to their end; a run that waits softly starts, one that waits hard not."""
    made = folder(
        {
            "bad": Work(body=f"{TRACE}exit 3\n", run="one"),
            "long": Work(body=f"{TRACE}sleep 0.5\n{TOUCH}", run="one"),
            "late": Work(body=TRACE + TOUCH, run="one"),
            "needs-bad": Work(body=TRACE + TOUCH, run="one", needs=("bad",)),
            "free": Work(body=TRACE + TOUCH, run="two"),
            "soft": Work(body=TRACE + TOUCH, run="three", gates=(0,)),
            "hard": Work(body=TRACE + TOUCH, run="four", gates=(1,)),
        },
        gates=(("one", "soft", ("long", "late")), ("one", "hard", ("long", "late"))),
    )

    code, said = made.agent("-j2")

    assert 1 == code
    assert {"bad", "long", "free", "soft"} == set(made.traced())
    assert ["free", "long", "soft"] == made.succeeded()
    skipped = {event["job"]: event["because"] for event in made.events("skip")}
    assert {"needs-bad": "bad", "hard": "bad"} == skipped
    assert said.endswith("3 succeeded, 1 failed, 2 skipped, 1 not started\n")


def test_keep_going_skips_only_what_needs_the_failed_job(folder: MakeFolder) -> None:
    made = folder(
        {
            "bad": Work(body="exit 3\n"),
            "b": Work(needs=("bad",)),
            "c": Work(needs=("b",)),
            "d": Work(),
        }
    )

    assert 1 == made.agent("-j1", "--keep-going")[0]
    assert ["d"] == made.succeeded()
    assert [("b", "bad"), ("c", "bad")] == [
        (event["job"], event["because"]) for event in made.events("skip")
    ]
    assert ["exit 3"] == reasons(made, "bad")


def test_a_failed_job_is_tried_again(folder: MakeFolder) -> None:
    body = f'{TRACE}(( $(wc -l <"$root/trace") > 2 ))\n{TOUCH}'
    made = folder({"a": Work(body=body, retries=2)})

    assert 0 == made.agent()[0]
    assert 3 == made.marker("a", "SUCCESS")["attempt"]
    assert ["exit 1", "exit 1", ""] == reasons(made, "a")
    assert [1, 2, 3] == [event["attempt"] for event in made.events("start")]


def test_a_job_over_its_time_is_ended(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=SLEEP, resources=Resources(time_s=1))})

    assert 1 == made.agent()[0]
    assert "timeout" == made.marker("a")["reason"]


def test_resources_limit_what_runs_at_once(folder: MakeFolder) -> None:
    body = (
        f'{ROOT}mkdir -p "$root/on"\ntouch "$root/on/$job"\nls "$root/on" | wc -l >>"$root/trace"\n'
        f'sleep 0.1\nrm "$root/on/$job"\n{TOUCH}'
    )
    ask = Resources(cpus=2, mem_bytes=1 << 20)
    made = folder({f"j{i}": Work(body=body, resources=ask) for i in range(8)})

    assert 0 == made.agent("-j8", "--cpus=5", "--mem=10M")[0]
    assert max(map(int, made.traced())) <= 2


def test_a_job_larger_than_the_machine_runs_alone_with_a_warning(folder: MakeFolder) -> None:
    made = folder({"a": Work(resources=Resources(cpus=1000)), "b": Work()})

    code, said = made.agent()

    assert 0 == code
    assert "repx: a asks for more than there is; it runs alone\n" in said


@pytest.mark.parametrize("locale", ["", "C.UTF-8"])
def test_jobs_find_the_locale_and_nothing_of_ours_in_their_environment(
    folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    made = folder({"a": Work(body=f'env -0 | sort -z >"$out/env"\n{TOUCH}')})
    given = {"LC_ALL": locale} if locale else {}
    for name in ("LC_ALL", "REPX_REQUIRE"):
        monkeypatch.delenv(name, raising=False)

    assert 0 == made.agent(LANG="C.UTF-8", **given)[0]
    found = dict(
        line.partition("=")[::2]
        for line in (made.home("a") / "out/env").read_text().rstrip("\0").split("\0")
    )
    assert ("C.UTF-8", locale or None) == (found["LANG"], found.get("LC_ALL"))
    assert f"{made.home('a')}#1#" == found["REPX_UNIT"]
    assert ["REPX_UNIT"] == [name for name in found if name.startswith("REPX_")]


def test_it_sleeps_while_nothing_happens(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=SLEEP)})
    agent = made.start_agent()
    wait_for_trace(made, "a")
    time.sleep(0.5)
    before = _switches(agent.pid)
    time.sleep(1.5)

    assert before == _switches(agent.pid)

    agent.terminate()
    ended(agent)


def _switches(pid: int) -> str:
    return next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("vol")
    )


# --- other runners ---------------------------------------------------------------------------


def test_a_second_agent_on_a_folder_is_refused(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=SLEEP)})
    agent = made.start_agent()
    wait_for_trace(made, "a")

    code, said = made.agent()

    assert 3 == code
    assert f"another agent works on it ({os.uname().nodename} {agent.pid})" in said
    agent.terminate()
    ended(agent)


def test_two_agents_on_one_store_share_the_work(folder: MakeFolder) -> None:
    works = {f"j{i:02}": Work(body=f"{TRACE}sleep 0.05\n{TOUCH}") for i in range(20)}
    works["last"] = Work(body=TRACE + TOUCH, needs=tuple(works))
    made = [folder(works, name=name) for name in ("s1", "s2")]

    agents = [each.start_agent("-j2") for each in made]

    assert [0, 0] == [ended(agent)[0] for agent in agents]
    assert sorted(works) == sorted(made[0].traced())


def test_jobs_promised_by_another_agent_are_waited_for(folder: MakeFolder) -> None:
    works = {"first": Work(body=f"{TRACE}sleep 1\n{TOUCH}"), "second": Work(body=TRACE + TOUCH)}
    other = folder(works, name="s1")
    made = folder({"mine": Work(body=TRACE + TOUCH, needs=("second",))}, name="s2")
    agent = other.start_agent("-j1")
    wait_for_trace(other, "first")

    assert 0 == made.agent()[0]
    assert ["first", "second", "mine"] == made.traced()
    assert 0 == ended(agent)[0]


def test_a_job_that_another_agent_gave_up_is_not_waited_for_for_ever(folder: MakeFolder) -> None:
    made = folder({"mine": Work(needs=("theirs",))})

    assert 1 == made.agent()[0]
    assert [("mine", "theirs")] == [(e["job"], e["because"]) for e in made.events("skip")]


def test_a_job_that_runs_by_hand_is_not_started(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=f"{TRACE}sleep 1\n{TOUCH}"), "b": Work(needs=("a",))})
    by_hand = made.start_script("a")
    wait_for_trace(made, "a")

    assert 0 == made.agent()[0]
    assert ["a"] == made.traced()
    assert 0 == ended(by_hand)[0]


def test_a_folder_elsewhere_is_made_known_to_the_store(folder: MakeFolder, tmp_path: Path) -> None:
    made = folder({"a": Work()})
    elsewhere = tmp_path / "else where"
    made.path.rename(elsewhere)

    assert 0 == Folder(base=made.base, path=elsewhere).agent()[0]
    assert elsewhere == (made.base / "submissions" / "s1").resolve()


# --- crashes ---------------------------------------------------------------------------------


def test_a_killed_wrapper_takes_its_job_along_and_is_told(folder: MakeFolder) -> None:
    made = folder({"a": Work(body=f'{TRACE}echo $PPID >"$out/pid"\nsleep 60\n'), "b": Work()})
    agent = made.start_agent("-j1", "--keep-going")
    path = made.home("a") / "out/pid"
    wait_until(lambda: path.exists() and path.read_text().strip())

    os.kill(int(path.read_text()), signal.SIGKILL)

    assert 1 == ended(agent)[0]
    assert ["wrapper died: signal 9"] == reasons(made, "a")
    assert ([], ["b"]) == (made.markers("a"), made.succeeded())


def test_killed_at_any_moment_and_started_again_it_runs_nothing_twice(folder: MakeFolder) -> None:
    """Jobs outlive their agent; the next one waits for them instead of starting them again."""
    chance = random.Random(1)  # noqa: S311 -- moments, not secrets
    works = {f"j{i:02}": Work(body=f"{TRACE}sleep 0.05\n{TOUCH}") for i in range(24)}
    works["last"] = Work(body=TRACE + TOUCH, needs=tuple(works))
    made = folder(works)
    for _ in range(4):
        agent = made.start_agent("-j3")
        time.sleep(chance.uniform(0.1, 0.5))
        agent.kill()
        agent.communicate()

    assert 0 == made.agent("-j3")[0]
    assert Counter(dict.fromkeys(works, 1)) == Counter(made.traced())
    assert sorted(works) == made.succeeded()
    assert all(isinstance(event, dict) for event in made.events())


# --- scatter-gather --------------------------------------------------------------------------

BRANCH: Final = (
    f'{ROOT}branch=${{out%/step-*}} branch=${{branch##*-}}\necho "one $branch" >>"$root/trace"\n'
)
PHASED: Final = Work(
    scatter=f'{TRACE}echo "[0,1,2]" >"$out/work_items.json"\n',
    steps={
        "one": (f"{BRANCH}[[ ${{FAIL-}} != $branch ]]\n{TOUCH}", ()),
        "two": (f'{ROOT}echo two >>"$root/trace"\n{TOUCH}', ("one",)),
    },
    body=f'{ROOT}echo gather >>"$root/trace"\n{TOUCH}',
)


def test_branches_and_steps_run_side_by_side(folder: MakeFolder) -> None:
    made = folder({"sg": PHASED, "after": Work(body=TRACE + TOUCH, needs=("sg",))})

    assert 0 == made.agent("-j4")[0]
    traced = made.traced()
    assert ["gather", "after"] == traced[-2:]
    assert Counter(["one 0", "one 1", "one 2", *["two"] * 3]) == Counter(traced[1:-2])
    phases = {event["phase"] for event in made.events("start") if event["job"] == "sg"}
    steps = {f"step {step} {i}" for step in ("one", "two") for i in range(3)}
    assert {"scatter", "gather", *steps} == phases


def test_two_agents_do_not_share_a_job_in_phases(folder: MakeFolder) -> None:
    """The first holds its lock from scatter to gather; the second finds it done."""
    slow = {step: (f"sleep 0.3\n{body}", deps) for step, (body, deps) in PHASED.steps.items()}
    work = Work(scatter=PHASED.scatter, steps=slow, body=PHASED.body)
    made = [folder({"sg": work, "b": Work(needs=("sg",))}, name=name) for name in ("s1", "s2")]

    agents = [each.start_agent("-j3") for each in made]

    assert [0, 0] == [ended(agent)[0] for agent in agents]
    assert 8 == len(made[0].traced())
    assert {1, 2} == {len(each.events("wait")) + 1 for each in made}


def test_finished_branches_are_kept(folder: MakeFolder) -> None:
    made = folder({"sg": PHASED, "after": Work(needs=("sg",))})

    code, _ = made.agent("-j4", "--keep-going", FAIL="1")

    assert 1 == code
    assert "step one of branch 1 failed" == made.marker("sg")["reason"]
    assert [("after", "sg")] == [(e["job"], e["because"]) for e in made.events("skip")]
    (made.base / "trace").unlink()
    assert 0 == made.agent()[0]
    assert ["one 1", "two", "gather"] == made.traced()


def test_a_cancelled_scatter_gather_job_frees_its_lock(folder: MakeFolder) -> None:
    slow = Work(scatter=PHASED.scatter, steps={"one": (SLEEP, ())}, body=TOUCH)
    made = folder({"sg": slow, "b": Work(body=f"sleep 1\n{TOUCH}")})
    agent = made.start_agent("-j3")
    wait_until(lambda: len(made.traced()) > 2)

    (made.path / "cancel").write_text("sg\n")
    agent.send_signal(signal.SIGHUP)

    assert 1 == ended(agent)[0]
    assert ["b"] == made.succeeded()
    assert not is_locked(made, "sg")


# --- what is not a plan ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{}", '{"version": 99}'], ids=["empty", "other", "newer"])
def test_a_folder_without_a_plan_is_refused(folder: MakeFolder, text: str) -> None:
    made = folder({"a": Work()})
    (made.path / "plan.json").write_text(text)

    code, said = made.agent()

    assert 3 == code
    assert said.startswith(f"repx: cannot work on {made.path}: ")


def test_a_missing_script_fails_its_job(folder: MakeFolder) -> None:
    made = folder({"a": Work(), "b": Work()})
    (made.path / "jobs" / "a.sh").unlink()

    assert 1 == made.agent("--keep-going")[0]
    assert ["b"] == made.succeeded()
    assert "the job script could not work (exit code 127)" in reasons(made, "a")[0]


def test_half_an_event_of_a_crash_spoils_no_other(folder: MakeFolder) -> None:
    made = folder({"a": Work()})
    (made.path / "events.jsonl").write_text('{"t":1,"e":"st')

    made.agent()

    first, *rest = (made.path / "events.jsonl").read_text().splitlines()
    assert '{"t":1,"e":"st' == first
    assert "agent-start" == json.loads(rest[0])["e"]


def test_run_sh_takes_the_python_it_is_given_and_keeps_that_from_jobs(folder: MakeFolder) -> None:
    made = folder({"job": Work(body='[[ -z ${REPX_PYTHON-} ]]\necho "$1" >"$out/o.txt"\n')})
    run = str(made.path / "run.sh")

    assert 0 == ended(made.start("bash", run, "-j1", REPX_PYTHON=sys.executable))[0]
    assert ["job"] == made.succeeded()


OLD_PYTHON: Final = f"""#!/bin/sh
shift 2 # -I -S
exec {sys.executable} -I -c 'import sys
sys.version_info = (3, 6)
exec(open(sys.argv[1]).read())' "$@"
"""


@pytest.mark.parametrize("old", [False, True], ids=["none", "old"])
def test_run_sh_needs_a_python_that_is_new_enough(
    folder: MakeFolder, tmp_path: Path, *, old: bool
) -> None:
    made = folder({"job": Work()})
    if old:
        (tmp_path / "python3").write_text(OLD_PYTHON)
        (tmp_path / "python3").chmod(0o755)
        (tmp_path / "env").symlink_to(shutil.which("env") or "")

    code, said = ended(made.start("/bin/bash", str(made.path / "run.sh"), PATH=str(tmp_path)))

    assert (3, 1) == (code, said.count("\n"))
    assert "python3 (3.9 or newer) is needed" in said
    assert [] == made.succeeded()


def test_a_job_that_destroys_the_store_runs_once(folder: MakeFolder) -> None:
    destroy = 'cd /; outputs=${out%/job/out}; rm -r "$outputs"; : >"$outputs"\n'
    made = folder({"job": Work(body=TRACE + destroy)})

    code, _ = made.agent("-j2")

    assert code == 1
    assert (len(made.traced()), len(made.events("end"))) == (1, 1)


def test_a_time_limit_of_months_is_no_trouble(folder: MakeFolder) -> None:
    made = folder({"job": Work(resources=Resources(time_s=90 * 86400))})

    assert made.agent() == (0, "repx: 1 succeeded, 0 failed, 0 skipped\n")
