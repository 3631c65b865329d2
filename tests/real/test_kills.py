"""`kill -9` at any moment: finished work is kept, nothing runs twice at once, no false SUCCESS."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from campaign.study import KINDS, LAB, Study, Verdict

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.real.place import Place


@dataclass
class Victim:
    """A place whose processes all belong to a study, so that they and no others are killed."""

    here: Place
    study: Study
    work_s: float = 0.1

    def env(self) -> dict[str, str]:
        return self.study.env(self.work_s)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return self.here.start(*words, **self.env())

    def run(self, *words: str, code: int = 0) -> str:
        return self.here.repx("run", *words, code=code, env=self.env())

    def kill(self, kind: str) -> int:
        """Kill all processes of a kind; those of `everything` have no time to notice."""
        killed = 0
        while pids := self.study.processes(kind):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            killed += len(pids)
            if kind != "everything":
                break
            time.sleep(0.01)  # the killed need a moment to be gone
        return killed

    def wait_for_quiet(self) -> None:
        self.here.wait_until(lambda: not self.study.processes())

    def told(self, word: str) -> Counter[str]:
        return self.study.told(word)

    def succeeded(self) -> set[str]:
        """Return who has a SUCCESS, having checked that it is deserved and alone."""
        verdict = Verdict()
        found = self.study.succeeded(verdict)
        assert not verdict.failures, verdict.notes
        return found


@pytest.fixture
def victim(defined: Callable[..., Place]) -> Iterator[Victim]:
    here = defined(LAB)
    made = Victim(here, Study(here.folder, here.store, uuid.uuid4().hex))
    yield made
    made.kill("everything")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_random_moments_lose_nothing_that_was_finished(victim: Victim, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # the same moments every time
    finished: set[str] = set()
    for _ in range(7):
        before = victim.told("start")
        client = victim.start("run")
        time.sleep(chance.uniform(0.2, 1.6))
        kind = chance.choice(list(KINDS))
        victim.kill(kind)
        out, err = client.communicate(timeout=60)
        assert "Traceback" not in err, out + err
        if kind == "agent":
            victim.wait_for_quiet()
        again = victim.told("start") - before
        assert not finished & again.keys(), "done already, and yet run again"
        finished = victim.succeeded()
    victim.wait_for_quiet()
    victim.run()

    assert set(victim.here.states().values()) == {"succeeded"}
    assert len(victim.succeeded()) == 14
    assert not victim.told("twice")
    assert "nothing to do" in victim.run()


def test_jobs_of_a_killed_agent_go_on_and_are_not_run_again(victim: Victim) -> None:
    victim.work_s = 0.5
    client = victim.start("run", "-j", "3")
    victim.here.wait_until(lambda: len(victim.told("start")) >= 3)
    victim.kill("agent")
    _, err = client.communicate(timeout=60)

    assert client.returncode == 3
    assert "the local scheduler ended early (exit code -9)" in err
    assert "hint: `repx run` continues with what is not done" in err
    victim.run()
    assert set(victim.told("start").values()) == {1}
    assert len(victim.succeeded()) == 14


def test_a_killed_client_changes_nothing(victim: Victim) -> None:
    client = victim.start("run")
    victim.here.wait_until(lambda: victim.told("start"))
    victim.kill("client")
    client.communicate(timeout=60)
    victim.wait_for_quiet()

    assert len(victim.succeeded()) == 14
    assert set(victim.told("start").values()) == {1}
    assert "nothing is running here" in victim.here.repx("status", "--follow")


def test_what_was_cut_off_is_called_so_and_runs_again(victim: Victim) -> None:
    """As a power cut leaves it: nothing had time for a marker."""
    victim.work_s = 30
    client = victim.start("run", "sweep", "-s", "first", "-j", "2")
    victim.here.wait_until(lambda: len(victim.told("start")) == 2)
    victim.kill("everything")
    client.communicate(timeout=60)

    assert Counter(victim.here.states().values())["lost"] == 2
    planned = victim.here.repx("run", "--dry-run")
    assert "2\tfirst\twas interrupted before (killed without a trace)" in planned
    victim.work_s = 0
    victim.run()
    assert len(victim.succeeded()) == 14


def test_the_program_of_a_killed_wrapper_is_ended(victim: Victim) -> None:
    victim.work_s = 30
    client = victim.start("run", "-s", "first", "-j", "1")
    victim.here.wait_until(lambda: victim.told("start"))
    victim.kill("wrappers")
    _, err = client.communicate(timeout=60)

    assert client.returncode == 1
    assert "wrapper died: signal 9" in err
    assert not victim.study.processes()


def test_a_program_that_outlived_its_runners_is_waited_for(victim: Victim) -> None:
    """Nobody can tell how it ended, so it runs again, but never beside itself."""
    victim.work_s = 3
    client = victim.start("run", "-s", "first", "-j", "1")
    victim.here.wait_until(lambda: victim.told("start"))
    for kind in ("agent", "wrappers", "client"):
        victim.kill(kind)
    client.communicate(timeout=60)

    assert "running" in victim.here.states().values()
    victim.work_s = 0
    victim.run()
    assert max(victim.told("start").values()) == 2
    assert not victim.told("twice")
    assert len(victim.succeeded()) == 14


@pytest.mark.parametrize("kinds", [("agent",), ("agent", "wrappers")], ids=["agent", "both"])
def test_jobs_without_a_scheduler_are_cancelled(victim: Victim, kinds: tuple[str, ...]) -> None:
    victim.work_s = 60
    client = victim.start("run", "-s", "first", "-j", "2")
    victim.here.wait_until(lambda: len(victim.told("start")) == 2)
    for kind in (*kinds, "client"):
        victim.kill(kind)
    client.communicate(timeout=60)
    assert "running" in victim.here.states().values()

    said = victim.here.repx("cancel", "--all", env=victim.env())

    assert "ended 2 jobs that ran without a scheduler" in said
    victim.wait_for_quiet()
    assert "running" not in victim.here.states().values()
    assert not victim.told("end")
    assert "Nothing to cancel" in victim.here.repx("cancel", "--all")


def test_why_a_job_cannot_start_is_told_everywhere(victim: Victim) -> None:
    """A file stands where its folder should be."""
    job = min(victim.here.states())
    (victim.here.store / "outputs").mkdir(parents=True)
    (victim.here.store / "outputs" / job).write_text("in the way")

    said = victim.run("--keep-going", code=1)

    why = "cannot start: "
    assert f"{why}[Errno" in said
    (log,) = victim.here.store.glob("submissions/*/agent.log")
    assert f"repx: {job}: {why}" in log.read_text()
    assert why in victim.here.repx("status", job)
    assert f"repx: {job}: {why}" in victim.here.repx("log", job)
    assert victim.here.states()[job] == "failed"
