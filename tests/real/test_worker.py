"""A worker leaves what the job script itself leaves, whatever happens, and refuses the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from repx import runner_code
from repx.runner.locks import DESCRIPTOR as LOCK_FD
from repx.target import Durability
from tests.real.folders import TOUCH, Folder, MakeFolder, Work, alive, wait_until

pytestmark = pytest.mark.real

REMOVE_RECORDS: Final = 'rm -r "${out%/out}/repx"\n'


@dataclass(frozen=True, kw_only=True)
class Employed:
    """A worker that waits for assignments in one folder."""

    process: subprocess.Popen[str]

    def assign(self, job: str, attempt: int = 1, gpus: str = "") -> None:
        assert self.process.stdin
        self.process.stdin.write("\0".join([str(attempt), "0", job, "", "main", "", gpus]))
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return what has become of the unit; that it waits for the disk comes before."""
        assert self.process.stdout
        said = dict(json.loads(self.process.stdout.readline()))
        return self.answer() if said["outcome"] == "flushing" else said

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was said, after the last job."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def employ(made: Folder, **env: str) -> Employed:
    (made.base / "outputs").mkdir(exist_ok=True)
    start = runner_code.start(str(made.base))
    return Employed(
        process=subprocess.Popen(
            [sys.executable, "-I", "-S", start, "--worker", made.path, made.base],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "REPX_GRACE_S": "1", **env},
            text=True,
            start_new_session=True,
        )
    )


def _left(made: Folder) -> dict[str, object]:
    """Return all a job has left in the store, but for times and numbers of processes."""
    found: dict[str, object] = {}
    for path in sorted((made.base / "outputs").rglob("*")):
        name = str(path.relative_to(made.base))
        found[name] = path.read_text() if path.is_file() else None
        if path.name in ("SUCCESS", "FAIL"):
            marker = json.loads(path.read_text())
            assert 0 < marker.pop("start") <= marker.pop("end")
            assert marker.pop("cpu_s") < 10
            found[name] = marker
        elif path.name == "lock":
            found[name] = path.read_text().split()[0]
    return found


@pytest.mark.parametrize(
    "body",
    [
        f"echo out\necho err >&2\n{TOUCH}",
        "exit 7\n",
        f"{TOUCH}kill -9 $$\n",
        "echo no output\n",
        f"(sleep 1; {TOUCH.strip()}) </dev/null >/dev/null 2>&1 &\ndisown\n",
        f"{TOUCH}sleep 600 & disown\n",
        f"{TOUCH}{REMOVE_RECORDS}",
        f"{REMOVE_RECORDS}exit 3\n",
        f'{TOUCH}mkdir "$out/x"\nchmod 0 "$out/x"\n',
    ],
    ids=[
        *("well", "exit", "killed", "no output", "late output", "left running"),
        *("records removed", "records removed and failed", "unreadable"),
    ],
)
def test_a_job_leaves_the_same_whoever_runs_it(folder: MakeFolder, body: str) -> None:
    work = Work(body=body, params={"n": 1, "s": "ü '\n"})
    made = folder({"job": work})
    code, said = made.script("job")
    by_hand = _left(made)
    subprocess.run(["rm", "-r", made.base / "outputs"], check=True)

    worker = employ(made)
    worker.assign("job")
    answer = worker.answer()

    assert (0, said) == worker.end()
    assert code == answer.get("code", 0)
    assert (code == 0 and "rm" not in body) == (answer["outcome"] == "done")
    assert by_hand == _left(made)


def test_one_worker_runs_job_after_job(folder: MakeFolder) -> None:
    works = {f"j{i}": Work(body=f'echo $PPID >"$out/ppid"\n{TOUCH}') for i in range(3)}
    made = folder(works, durability=Durability.FAST)

    assert 0 == made.agent("-j1")[0]

    assert 1 == len({(made.home(f"j{i}") / "out/ppid").read_text() for i in range(3)})
    ends = made.events("end")
    assert all(end["rss_bytes"] is None or end["rss_bytes"] > 1 << 20 for end in ends)
    assert all(0 < end["cpu_s"] < 10 for end in ends)


@pytest.mark.parametrize("locale", ["", "C.UTF-8"], ids=["no locale", "locale"])
def test_the_program_finds_the_same_environment_and_descriptors(
    folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    if locale:
        monkeypatch.setenv("LANG", locale)
    body = f'env -0 >"$out/env"\nls /proc/$$/fd >"$out/fds"\n{TOUCH}'
    made = folder({"job": Work(body=body)}, environment={"MINE": "a 'b'\n"})

    def seen() -> tuple[set[str], str]:
        names = (made.home("job") / "out/env").read_text().split("\0")
        ours = ("_=", "SHLVL=", "OLDPWD=", "PWD=", "COLUMNS=", "LINES=")  # shells make these
        kept = {name for name in names if not name.startswith(ours)}
        return kept, (made.home("job") / "out/fds").read_text()

    made.record("job").mkdir(parents=True)
    lock = f'exec {LOCK_FD}<>"$1"; flock {LOCK_FD}; REPX_LOCK_FD={LOCK_FD} exec bash "$2"'
    files = (made.record("job") / "lock", made.path / "jobs/job.sh")
    subprocess.run(["bash", "-c", lock, "bash", *files], check=True)
    by_hand = seen()
    subprocess.run(["rm", "-r", made.home("job")], check=True)
    worker = employ(made, REPX_ATTEMPT="1", REPX_LOCK="try")
    worker.assign("job")

    assert "done" == worker.answer()["outcome"]
    assert by_hand == seen()
    worker.end()


@pytest.mark.parametrize(
    ("told", "by"), [("slurm:12_3", "slurm:12_3"), ('"},{', "local"), ("", "local")]
)
def test_marker_says_who_ran_the_job_by_hand_and_in_a_worker(
    folder: MakeFolder, told: str, by: str
) -> None:
    made = folder({"by-hand": Work(body=TOUCH), "in-a-worker": Work(body=TOUCH)})

    assert 0 == made.script("by-hand", REPX_BY=told)[0]
    worker = employ(made, REPX_BY=told)
    worker.assign("in-a-worker")
    worker.answer()
    worker.end()

    assert [by, by] == [
        made.marker(job, "SUCCESS")["scheduler"] for job in ("by-hand", "in-a-worker")
    ]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGTERM, "cancelled"), (signal.SIGINT, "cancelled"), (signal.SIGUSR1, "timeout")],
)
def test_a_signal_ends_the_job_and_all_it_started(
    folder: MakeFolder, number: int, reason: str
) -> None:
    made = folder({"job": Work(body=f'{TOUCH}sleep 600 &\necho $! >"$out/pid"\nwait\n')})
    worker = employ(made)
    worker.assign("job")
    pid = made.home("job") / "out/pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip())

    worker.process.send_signal(number)

    answer = worker.answer()
    assert ("ended", 1) == (answer["outcome"], answer["code"])
    worker.end()
    assert reason == made.marker("job")["reason"]
    assert ["FAIL"] == made.markers("job")
    assert not alive(int(pid.read_text()))


def test_a_signal_for_both_worker_and_program_is_a_wish_to_end(folder: MakeFolder) -> None:
    """As Slurm sends it to every process of a job."""
    made = folder({"job": Work(body='echo $$ >"$out/pid"\nexec sleep 600\n')})
    worker = employ(made)
    worker.assign("job")
    pid = made.home("job") / "out/pid"
    wait_until(lambda: pid.exists() and pid.read_text().strip())

    for number in (signal.SIGSTOP, signal.SIGTERM):
        worker.process.send_signal(number)
    os.kill(int(pid.read_text()), signal.SIGTERM)
    wait_until(lambda: not alive(int(pid.read_text())))
    worker.process.send_signal(signal.SIGCONT)

    assert 1 == worker.answer()["code"]
    worker.end()
    assert "cancelled" == made.marker("job")["reason"]


def test_a_signal_right_after_the_start_is_heard(folder: MakeFolder) -> None:
    made = folder({f"j{i}": Work(body="sleep 600\n") for i in range(6)})
    agent = made.start_agent("-j6")
    wait_until(lambda: (made.path / "events.jsonl").exists() and len(made.events("start")) == 6)

    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=60)

    assert ["cancelled"] * 6 == [made.marker(f"j{i}")["reason"] for i in range(6)]


def test_what_a_failed_job_used_is_told(folder: MakeFolder) -> None:
    work = "x=$(head -c 30000000 /dev/zero | tr '\\0' a)\nexit 3\n"
    made = folder({"job": Work(body=work)})

    assert 1 == made.agent()[0]

    (end,) = made.events("end")
    assert end["cpu_s"] > 0
    assert end["rss_bytes"] > 30_000_000


def test_it_outlives_the_agent_until_its_job_is_marked(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"sleep 1\n{TOUCH}"), "next": Work()})
    agent = made.start_agent("-j1")
    wait_until((made.record("job") / "stdout.log").exists)
    agent.kill()
    agent.communicate()

    wait_until(lambda: ["SUCCESS"] == made.markers("job"))
    assert not made.home("next").exists()


def test_a_killed_worker_takes_its_job_along_and_another_takes_its_place(
    folder: MakeFolder,
) -> None:
    made = folder({"bad": Work(body="kill -9 $PPID\nsleep 600\n"), "good": Work()})

    assert 1 == made.agent("-j1", "--keep-going")[0]

    assert ["good"] == made.succeeded()
    assert ["wrapper died: signal 9", ""] == [end["reason"] for end in made.events("end")]


def test_the_lock_s_descriptor_is_nobody_else_s(folder: MakeFolder) -> None:
    """Also when those below are taken, so that the next to be opened is just this."""
    made = folder({job: Work(body='cat >"$out/o.txt"\n') for job in "ab"})
    taken = " ".join(f"{number}</dev/null" for number in range(3, LOCK_FD))
    agent = ["bash", str(made.path / "run.sh"), "-j1"]

    subprocess.run(["bash", "-c", f'exec {taken}; "$@"', "bash", *agent], check=True)

    assert ["a", "b"] == made.succeeded()
    assert "" == (made.home("b") / "out/o.txt").read_text()


def test_too_few_descriptors_for_workers_fail_no_job(folder: MakeFolder) -> None:
    made = folder({f"j{i}": Work(body=f"sleep 0.5\n{TOUCH}") for i in range(24)})
    agent = ["bash", str(made.path / "run.sh"), "-j24"]

    subprocess.run(["bash", "-c", 'ulimit -n 20; "$@"', "bash", *agent], check=True)

    assert 24 == len(made.succeeded())


def _begun(made: Folder) -> None:
    made.record("job").mkdir(parents=True)


def _changed(made: Folder) -> None:
    script = made.path / "jobs/job.sh"
    site = "repx_site() {\n  export SEEN=yes\n  cd .\n}\n\ncase $0"
    script.write_text(script.read_text().replace("\ncase $0", f"\n{site}"))


def _no_program(made: Folder) -> None:
    (made.base / "artifacts/jobs/job/bin/main").unlink()


def _not_executable(made: Folder) -> None:
    (made.base / "artifacts/jobs/job/bin/main").chmod(0o644)


def _no_script(made: Folder) -> None:
    (made.path / "jobs/job.sh").unlink()


@pytest.mark.parametrize(
    ("fault", "code"),
    [(_begun, 0), (_changed, 0), (_no_program, 1), (_not_executable, 1), (_no_script, 127)],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_script(
    folder: MakeFolder, fault: Callable[[Folder], None], code: int
) -> None:
    made = folder({"job": Work(), "plain": Work()})
    fault(made)
    worker = employ(made)

    worker.assign("job")
    answer = worker.answer()
    assert ("ended", code) == (answer["outcome"], answer["code"])
    assert {0: ["SUCCESS"], 1: ["FAIL"], 127: []}[code] == made.markers("job")
    worker.assign("plain")
    assert "done" == worker.answer()["outcome"]

    assert 0 == worker.end()[0]


@pytest.mark.parametrize("what", ["FIFO", "endless", "folder"])
def test_a_job_file_that_is_no_file_fails_its_job_at_once(folder: MakeFolder, what: str) -> None:
    made = folder({"job": Work(body=TOUCH), "other": Work(body=TOUCH)})
    script = made.path / "jobs/job.sh"
    script.unlink()
    {"FIFO": os.mkfifo, "folder": os.mkdir, "endless": lambda path: path.symlink_to("/dev/zero")}[
        what
    ](script)

    ended = subprocess.run(["bash", made.path / "run.sh", "--keep-going"], check=False, timeout=60)

    assert 1 == ended.returncode
    assert {"other"} == set(made.succeeded())
    assert "not a file" in (made.path / "agent.log").read_text()


def test_a_script_that_people_have_changed_runs_as_they_wish(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f'echo "$SEEN"\n{TOUCH}')})
    _changed(made)

    assert 0 == made.agent()[0]

    assert "yes\n" == (made.record("job") / "stdout.log").read_text()
