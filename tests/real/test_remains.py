"""A job that has ended has ended: whatever it started, whoever runs it, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.real.folders import (
    TOUCH,
    Folder,
    MakeFolder,
    Work,
    alive,
    ended,
    naming,
    wait_until,
    words_of,
)

pytestmark = pytest.mark.real

NOTE: Final = 'echo $! >"$out/pid"\n'
# What leaves the process group, the session, the lock or the parent of the job's program.
LEAVINGS: Final = {
    "background": f"sleep 600 &\n{NOTE}disown\n",
    "timeout": f"timeout 600 sleep 600 &\n{NOTE}",
    "own group": f"set -m\nsleep 600 &\n{NOTE}",
    "own session": f"setsid sleep 600 </dev/null >/dev/null 2>&1 &\n{NOTE}sleep 0.1\n",
    "double fork": 'bash -c \'setsid bash -c "echo \\$\\$ >$1/pid; exec sleep 600" &\' x "$out"\n'
    "until [[ -s $out/pid ]]; do sleep 0.02; done\n",
    "python": "python3 -c 'import subprocess, sys\n"
    'p = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=-3, stdout=-3, stderr=-3)'
    '\nopen(sys.argv[1] + "/pid", "w").write(str(p.pid))\' "$out"\n',
}
FORGETFUL: Final = f"env -i setsid sleep 600 </dev/null >/dev/null 2>&1 &\n{NOTE}sleep 0.1\n"
ENDS: Final = {"success": (TOUCH, 0), "failure": ("exit 3\n", 1)}


def _pid(made: Folder, part: str = "") -> int:
    path = made.home("job") / part / "out/pid"
    wait_until(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


@pytest.mark.parametrize("leaving", LEAVINGS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("agent", [True, False], ids=["agent", "by hand"])
def test_what_is_left_ends_with_the_job(
    folder: MakeFolder, leaving: str, end: str, *, agent: bool
) -> None:
    last, code = ENDS[end]
    made = folder({"job": Work(body=LEAVINGS[leaving] + last)})

    got = made.agent()[0] if agent else made.script("job")[0]

    assert code == got
    assert not alive(_pid(made))
    assert (["SUCCESS"] if code == 0 else ["FAIL"]) == made.markers("job")


@pytest.mark.parametrize("leaving", LEAVINGS)
@pytest.mark.parametrize("agent", [True, False], ids=["agent", "by hand"])
def test_what_is_left_ends_when_the_job_is_cancelled(
    folder: MakeFolder, leaving: str, *, agent: bool
) -> None:
    made = folder({"job": Work(body=f"{LEAVINGS[leaving]}sleep 600\n")})
    process = made.start_agent() if agent else made.start_script("job")
    pid = _pid(made)

    process.send_signal(signal.SIGTERM)

    assert (130 if agent else 1) == ended(process)[0]
    assert "cancelled" == made.marker("job")["reason"]
    assert not alive(pid)


def test_what_is_left_ends_when_the_time_is_over(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"{LEAVINGS['own session']}sleep 600\n")})
    process = made.start_script("job")
    pid = _pid(made)

    process.send_signal(signal.SIGUSR1)

    assert 1 == ended(process)[0]
    assert "timeout" == made.marker("job")["reason"]
    assert not alive(pid)


@pytest.mark.parametrize("agent", [True, False], ids=["agent", "by hand"])
def test_what_forgets_its_environment_is_found_by_its_parent(
    folder: MakeFolder, *, agent: bool
) -> None:
    made = folder({"job": Work(body=FORGETFUL + TOUCH)})

    assert 0 == (made.agent() if agent else made.script("job"))[0]
    assert not alive(_pid(made))


def test_a_step_by_hand_ends_what_forgets_its_environment(folder: MakeFolder) -> None:
    work = Work(
        scatter='echo "[1,2]" >"$out/work_items.json"\n', steps={"one": (FORGETFUL + TOUCH, ())}
    )
    made = folder({"job": work})

    assert 0 == made.script("job")[0]
    assert [] == [i for i in range(2) if alive(_pid(made, f"branch-{i}/step-one"))]


def test_by_hand_what_forgets_its_environment_is_cancelled_too(folder: MakeFolder) -> None:
    made = folder({"job": Work(body=f"{FORGETFUL}sleep 600\n")})
    process = made.start_script("job")
    pid = _pid(made)

    process.send_signal(signal.SIGTERM)

    assert 1 == ended(process)[0]
    assert "cancelled" == made.marker("job")["reason"]
    assert not alive(pid)


def test_by_hand_without_python_the_job_runs(folder: MakeFolder, tmp_path: Path) -> None:
    """A python3 that does not start, e.g. a shim of a version that is not installed."""
    broken = tmp_path / "bin/python3"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    made = folder({"job": Work(body=LEAVINGS["own session"] + TOUCH)})

    assert 0 == made.script("job", PATH=f"{broken.parent}:{os.environ['PATH']}")[0]
    assert not alive(_pid(made))


def test_what_a_step_leaves_ends_with_the_step(folder: MakeFolder) -> None:
    """And not with another step, which may run beside it."""
    step = f"{LEAVINGS['own session']}{TOUCH}sleep 0.3\n"
    work = Work(scatter='echo "[1,2,3]" >"$out/work_items.json"\n', steps={"one": (step, ())})
    made = folder({"job": work})

    assert 0 == made.agent("-j3")[0]
    assert [] == [i for i in range(3) if alive(_pid(made, f"branch-{i}/step-one"))]
    assert ["SUCCESS"] == made.markers("job")


def test_a_retry_does_not_wait_for_what_the_attempt_before_has_left(folder: MakeFolder) -> None:
    body = f'[[ ! -e ${{out%/out}}/once ]] || {{ {TOUCH}exit 0; }}\n>"${{out%/out}}/once"\n'
    made = folder({"job": Work(body=f"{body}{LEAVINGS['own session']}exit 1\n", retries=1)})

    assert 0 == made.agent()[0]
    assert 2 == made.marker("job", "SUCCESS")["attempt"]


ORPHAN: Final = (
    'echo start >>"$root/trace"\n'
    "python3 -c 'import subprocess, sys\n"
    'subprocess.run(["bash", "-c", "sleep 6; echo end >>$1/trace", "x", sys.argv[1]])\' "$root" &\n'
    f"wait\n{TOUCH}"
)


@pytest.mark.parametrize("agent", [True, False], ids=["agent", "by hand"])
def test_what_outlived_its_runner_without_the_lock_is_waited_for_and_named(
    folder: MakeFolder, *, agent: bool
) -> None:
    """As `pkill -9 python` leaves it: Python's subprocess has closed the lock's descriptor."""
    made = folder({"job": Work(body=f"root=${{out%/outputs/*}}\n{ORPHAN}")})
    process = made.start_agent()
    wait_until(lambda: made.traced() == ["start"])
    mark = f"REPX_UNIT={made.home('job')}#".encode()
    wait_until(lambda: _sleepers(mark))
    left = min(_sleepers(mark))  # a process that has just forked is there twice
    process.kill()
    process.communicate()
    for pid in [*naming(made.path), *_marked(mark)]:
        if pid != left and not words_of(pid).startswith(b"sleep"):
            os.kill(pid, signal.SIGKILL)

    code, said = made.agent() if agent else made.script("job")

    assert 0 == code
    assert ["start", "end", "start", "end"] == made.traced()
    assert f"{left} (bash -c sleep 6; echo end" in said


def _marked(mark: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes():
                found.append(int(path.parts[2]))
    return found


def _sleepers(mark: bytes) -> list[int]:
    return [pid for pid in _marked(mark) if words_of(pid).startswith(b"bash -c sleep 6")]
