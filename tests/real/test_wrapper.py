"""What a job script leaves behind, whatever happens to it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from repx.target import Durability
from tests.real.folders import TOUCH, Folder, MakeFolder, Work, alive, ended, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

TRACE: Final = 'echo "$0" >>"${out%/outputs/*}/trace"\n'
SLEEP: Final = 'echo $$ >"$out/pid"\nsleep 60\n'


def _pid(folder: Folder, job: str = "job") -> int:
    path = folder.home(job) / "out" / "pid"
    wait_until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


# --- how a job ends --------------------------------------------------------------------------


def test_success_leaves_marker_logs_inputs_and_a_completion_line(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"echo out\necho err >&2\n{TOUCH}", params={"n": 1, "s": "ü"})})

    assert made.script("job") == (0, "")

    marker = made.marker("job", "SUCCESS")
    assert ["SUCCESS"] == made.markers("job")
    assert ("success", 0, "", 1, "local") == tuple(
        marker[key] for key in ("outcome", "exit", "reason", "attempt", "scheduler")
    )
    assert marker["start"] <= marker["end"] <= time.time()
    assert "out\n" == (made.record("job") / "stdout.log").read_text()
    assert "err\n" == (made.record("job") / "stderr.log").read_text()
    assert "{}\n" == (made.record("job") / "inputs.json").read_text()
    assert '{\n  "n": 1,\n  "s": "ü"\n}\n' == (made.record("job") / "parameters.json").read_text()
    completions = made.base / "outputs" / "completions.jsonl"
    assert '{"id":"job","s":"ok"}\n' == completions.read_text()
    assert [] == list(made.base.rglob("*.part"))


def test_a_job_that_succeeded_is_not_run_again(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=TRACE + TOUCH)})

    assert [0, 0] == [made.script("job")[0] for _ in range(2)]
    assert 1 == len(made.traced())


def test_force_runs_again_once(folder: MakeFolder) -> None:
    """A success older than the plan does not count; one made for this plan does."""
    work = Work(body=TRACE + TOUCH)
    folder({"job": work}).script("job")
    time.sleep(0.05)
    made = folder({"job": Work(body=TRACE + TOUCH, forced=True)}, name="s2")

    assert [0, 0] == [made.script("job")[0] for _ in range(2)]
    assert 2 == len(made.traced())


@pytest.mark.parametrize(
    ("body", "exit_code", "reason"),
    [
        ("exit 7\n", 7, "exit 7"),
        ("kill -9 $$\n", 137, "killed by signal 9"),
        ("kill -SEGV $$\n", 139, "killed by signal 11"),
        ("exit 255\n", 255, "exit 255"),
    ],
    ids=["exit", "kill", "segv", "255"],
)
def test_failure_says_why(folder: MakeFolder, body: str, exit_code: int, reason: str) -> None:
    made = folder({"job": Work(body=TOUCH + body)})

    code, said = made.script("job")

    assert (1, ["FAIL"]) == (code, made.markers("job"))
    marker = made.marker("job")
    assert ("fail", exit_code, reason) == (marker["outcome"], marker["exit"], marker["reason"])
    assert f"repx: job: {reason} (see {made.record('job')}/stderr.log)\n" == said
    completions = made.base / "outputs" / "completions.jsonl"
    assert '{"id":"job","s":"fail"}\n' == completions.read_text()


def test_a_second_attempt_starts_clean_and_keeps_the_logs_before(folder: MakeFolder) -> None:
    body = (
        '[[ ! -e $out/rest ]] || exit 9\nmkdir "$out/rest"\ntouch "$out/rest/.hidden"\n'
        'chmod 500 "$out/rest"\n'
        f'echo "try ${{TRY-}}"\n[[ -n ${{TRY-}} ]]\n{TOUCH}'
    )
    made = folder({"job": Work(body=body)})

    assert 1 == made.script("job")[0]
    assert 0 == made.script("job", TRY="2", REPX_ATTEMPT="2")[0]

    assert ["SUCCESS"] == made.markers("job")
    assert 2 == made.marker("job", "SUCCESS")["attempt"]
    assert "try 2\n" == (made.record("job") / "stdout.log").read_text()
    assert "try \n" == (made.record("job") / "stdout.log.1").read_text()


def test_a_missing_output_is_named(folder: MakeFolder) -> None:
    made = folder({"job": Work(outputs={"o": "$out/o.txt", "it's": '$out/a "b"\n.txt'})})

    assert 1 == made.script("job")[0]
    path = f'{made.home("job")}/out/a "b"\n.txt'
    assert f"missing output: it's ({path})" == made.marker("job")["reason"]


def test_an_output_that_shows_late_counts(folder: MakeFolder) -> None:
    """As on a network file system: no process of the job writes it when the job has ended."""
    made = folder({"job": Work(body='touch "$out/left"\n')}, input_wait_s=20)
    process = made.start_script("job")
    wait_until((made.home("job") / "out/left").exists)
    time.sleep(0.5)
    (made.home("job") / "out/o.txt").write_text("x\n")

    assert (0, "") == ended(process)


def test_an_input_that_shows_late_is_waited_for(folder: MakeFolder) -> None:
    made = folder({"a": Work(), "b": Work()}, input_wait_s=20)
    script = made.path / "jobs" / "b.sh"
    late = made.base / "late"
    script.write_text(script.read_text().replace("repx_needs=()", f"repx_needs=(late {late})"))

    process = made.start_script("b")
    time.sleep(0.5)
    late.touch()

    assert (0, "") == ended(process)


def test_a_missing_input_is_named(folder: MakeFolder) -> None:
    made = folder({"job": Work()}, input_wait_s=0)
    script = made.path / "jobs" / "job.sh"
    script.write_text(script.read_text().replace("repx_needs=()", "repx_needs=(data /nowhere/x)"))

    assert 1 == made.script("job")[0]
    assert "missing input: data (/nowhere/x)" == made.marker("job")["reason"]


@pytest.mark.parametrize("fault", ["missing", "not executable", "a folder"])
def test_a_program_that_cannot_run_is_named(folder: MakeFolder, fault: str) -> None:
    made = folder({"job": Work()})
    program = made.base / "artifacts/jobs/job/bin/main"
    program.unlink()
    if fault == "not executable":
        program.write_text("")
    elif fault == "a folder":
        program.mkdir()

    assert 1 == made.script("job")[0]
    what = "missing" if fault == "missing" else "not executable"
    assert f"script {what}: {program}" == made.marker("job")["reason"]


def test_a_job_that_removes_its_own_records_still_gets_a_marker(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f'{TOUCH}rm -rf "${{out%/out}}/repx"\n')})

    assert 0 == made.script("job")[0]
    assert ["SUCCESS"] == made.markers("job")


# --- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "cancelled"),
        (signal.SIGINT, "cancelled"),
        (signal.SIGHUP, "cancelled"),
        (signal.SIGUSR1, "timeout"),
    ],
)
def test_a_signal_ends_the_whole_group(folder: MakeFolder, number: int, reason: str) -> None:
    made = folder({"job": Work(body=f'sleep 60 &\necho $! >"$out/other"\n{SLEEP}')})
    process = made.start_script("job")
    pids = [_pid(made), int((made.home("job") / "out/other").read_text())]

    process.send_signal(number)

    assert 1 == ended(process)[0]
    assert (["FAIL"], reason) == (made.markers("job"), made.marker("job")["reason"])
    assert [] == [pid for pid in pids if alive(pid)]


def test_a_job_that_ignores_term_is_killed_after_the_grace(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"trap '' TERM\n(trap '' TERM; sleep 60) &\n{SLEEP}")})
    process = made.start_script("job")
    pid = _pid(made)

    process.terminate()

    assert 1 == ended(process)[0]
    assert "cancelled" == made.marker("job")["reason"]
    assert not alive(pid)


def test_a_job_that_ends_well_on_term_is_cancelled_all_the_same(folder: MakeFolder) -> None:
    body = f"trap 'exit 0' TERM\n{TOUCH}echo $$ >\"$out/pid\"\nsleep 60 &\nwait\n"
    made = folder({"job": Work(body=body)})
    process = made.start_script("job")
    _pid(made)

    process.terminate()

    assert 1 == ended(process)[0]
    assert "cancelled" == made.marker("job")["reason"]


def test_a_signal_before_the_program_starts_ends_the_job(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=TRACE + TOUCH)}, input_wait_s=60)
    script = made.path / "jobs" / "job.sh"
    script.write_text(script.read_text().replace("repx_needs=()", "repx_needs=(data /nowhere/x)"))
    process = made.start_script("job")
    wait_until((made.record("job") / "lock").exists)
    time.sleep(0.3)

    process.terminate()

    assert 1 == ended(process)[0]
    assert ("cancelled", []) == (made.marker("job")["reason"], made.traced())


def test_what_a_job_leaves_running_is_ended(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f'sleep 60 &\necho $! >"$out/pid"\n{TOUCH}')})

    assert (0, "") == made.script("job")
    assert not alive(_pid(made))


@pytest.fixture
def nobody_reaps() -> Iterator[None]:
    """Make this process the parent of orphans, as process 1 of a container is, and reap none."""
    libc = ctypes.CDLL(None)
    set_child_subreaper = 36  # prctl(2)
    assert libc.prctl(set_child_subreaper, 1) == 0
    yield
    libc.prctl(set_child_subreaper, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.usefixtures("nobody_reaps")
def test_zombies_are_not_waited_for(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"sleep 60 &\n{TOUCH}")})

    assert (0, "") == made.script("job", REPX_GRACE_S="600")


def test_signals_at_any_moment_leave_one_marker_and_nothing_running(folder: MakeFolder) -> None:
    """Swept over the whole life of a short job, from before its start to after its end."""
    for step in range(25):
        made = folder({"job": Work(body=f"sleep 0.02\n{TOUCH}")}, name=f"s{step}")
        process = made.start_script("job")
        time.sleep(step * 0.012)
        process.terminate()
        code, said = ended(process)

        if code == -signal.SIGTERM:  # before the traps stood: nothing has happened yet
            assert [] == made.markers("job")
        else:
            assert (["SUCCESS"] if code == 0 else ["FAIL"]) == made.markers("job"), (code, said)
        for name in made.markers("job"):  # the next one works in the same store
            (made.record("job") / name).unlink()


# --- locks -----------------------------------------------------------------------------------


def test_two_at_once_run_the_job_once(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"{TRACE}sleep 0.5\n{TOUCH}")})

    processes = [made.start_script("job") for _ in range(4)]

    assert {0} == {ended(process)[0] for process in processes}
    assert 1 == len(made.traced())


def test_trying_does_not_wait_for_another_runner(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"{SLEEP}{TOUCH}")})
    process = made.start_script("job")
    _pid(made)

    assert (75, "") == made.script("job", REPX_LOCK="try")

    process.terminate()
    ended(process)


def test_waiting_for_another_runner_can_be_given_up(folder: MakeFolder) -> None:
    """Whoever gives up leaves no marker: the job is not theirs."""
    made = folder({"job": Work(body=f"{SLEEP}{TOUCH}")})
    first = made.start_script("job")
    _pid(made)
    second = made.start_script("job")
    lock = made.record("job") / "lock"
    wait_until(lambda: lock in map(Path.resolve, Path(f"/proc/{second.pid}/fd").iterdir()))

    second.terminate()

    code, said = ended(second)
    assert (75, []) == (code, made.markers("job"))
    assert "another runner has this job" in said
    first.terminate()
    ended(first)


def test_the_lock_is_held_until_the_last_process_of_the_job_has_ended(folder: MakeFolder) -> None:
    """`kill -9` of the wrapper leaves the program; nobody else may start it meanwhile."""
    made = folder({"job": Work(body=f'{TRACE}echo $$ >"$out/pid"\nsleep 1.5\n{TOUCH}')})
    process = made.start_script("job")
    pid = _pid(made)
    process.kill()
    process.communicate()

    assert alive(pid)
    assert 75 == made.script("job", REPX_LOCK="try")[0]
    assert [] == made.markers("job")
    assert 0 == made.script("job")[0]
    assert not alive(pid)
    assert 2 == len(made.traced())


def test_without_flock_a_job_runs_and_says_so(folder: MakeFolder, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "mkdir", "rm", "mv", "sleep", "env"):
        program = subprocess.run(["which", name], check=True, capture_output=True, text=True)
        (tools / name).symlink_to(program.stdout.strip())
    made = folder({"job": Work()})

    code, said = made.script("job", PATH=str(tools))

    assert 0 == code
    assert "no flock on this machine" in said


# --- places ----------------------------------------------------------------------------------


def test_any_store_path_and_job_name_work(folder: MakeFolder, tmp_path: Path) -> None:
    base = tmp_path / "a b'c\"d$HOME`x`#\n;é\\ "
    job = "j o'b\"$x`#;&é\\"
    made = folder({job: Work(params={"p": 'v"\n$(x)'}, outputs={"o": "$out/o.txt"})}, base=base)

    assert (0, "") == made.script(job)
    assert ["SUCCESS"] == made.markers(job)
    assert {"p": 'v"\n$(x)'} == json.loads((made.record(job) / "parameters.json").read_text())
    line = (base / "outputs" / "completions.jsonl").read_text()
    assert {"id": job, "s": "ok"} == json.loads(line)


def test_a_script_may_be_started_from_anywhere(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=TRACE + TOUCH)})

    for cwd, script in ((made.path, "jobs/job.sh"), (made.path / "jobs", "job.sh")):
        subprocess.run(["bash", script], cwd=cwd, check=True)
        (made.record("job") / "SUCCESS").unlink()

    assert 2 == len(made.traced())


def test_the_program_finds_its_environment(folder: MakeFolder) -> None:
    body = (
        'test "$PWD" = "$out"\ntest -z "$(cat)"\ntest "$A_B" = "x y\'"$\'\\n\'\'$z\'\n'
        f'test -z "${{REPX_ATTEMPT-}}${{REPX_GRACE_S-}}"\n{TOUCH}'
    )
    made = folder({"job": Work(body=body)}, environment={"A_B": "x y'\n$z"})

    assert (0, "") == made.script("job", REPX_ATTEMPT="2")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system that is soon full."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "small", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_no_success(folder: MakeFolder, small_disk: Path) -> None:
    made = folder(
        {"job": Work(body=f'{TOUCH}cat /dev/zero >"$out/big" || true\n')}, base=small_disk
    )

    code, said = made.script("job")

    assert (3, []) == (code, made.markers("job"))
    assert "cannot write" in said
    assert [] == list(made.base.rglob("*.part"))
    (made.home("job") / "out" / "big").unlink()
    (made.base / "artifacts/jobs/job/bin/main").write_text(f"#!/bin/bash\nout=$1\n{TOUCH}")
    assert 0 == made.script("job")[0]


def test_the_common_path_starts_no_program_but_the_job_s(folder: MakeFolder) -> None:
    """With the lock held and the folders made; but for env, which becomes the job's program."""
    made = folder({"job": Work()}, durability=Durability.FAST)
    (made.base / "bin").mkdir()
    (made.base / "bin/env").symlink_to(shutil.which("env") or "")
    program = made.base / "artifacts/jobs/job/bin/main"
    program.write_text('#!/bin/bash\nprintf x >"$1/o.txt"\n')
    for name in ("out", "repx"):
        (made.home("job") / name).mkdir(parents=True)
    lock = os.open(made.record("job") / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    process = subprocess.run(
        ["/bin/bash", made.path / "jobs/job.sh"],
        env={"PATH": str(made.base / "bin"), "REPX_LOCK_FD": str(lock)},
        pass_fds=[lock],
        capture_output=True,
        check=False,
    )
    os.close(lock)

    assert (0, b"") == (process.returncode, process.stderr)
    assert ["SUCCESS"] == made.markers("job")
