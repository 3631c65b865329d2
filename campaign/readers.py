"""Whoever reads a mutated file: a command of repx, repx_py, or a submission's own run.sh."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from campaign.study import BUG, Study
from repx import cli
from repx.errors import RepxError

if TYPE_CHECKING:
    from pathlib import Path

ANALYSIS: Final = "repx_py"
RUNNER: Final = "run.sh"
_SECONDS: Final = 30
_FAILED: Final = 3


@dataclass(frozen=True)
class Told:
    """How a reader ended: ``code`` None where it had to be killed."""

    words: tuple[str, ...]
    code: int | None
    text: str


def read(study: Study, words: list[str]) -> Told:
    """Let a reader read."""
    if words[0] == RUNNER:
        return _run_submission(study)
    with tempfile.TemporaryFile("w+b") as screen:
        child = os.fork()
        if not child:
            _become(study, words, screen.fileno())
        code = _wait(child)
        screen.seek(0)
        return Told(tuple(words), code, screen.read().decode(errors="replace"))


def _become(study: Study, words: list[str], screen: int) -> NoReturn:
    """Be a command in a fork of this process, which has loaded what all commands need."""
    code = BUG
    try:
        os.setsid()
        with open(os.devnull) as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        os.chdir(study.folder)
        given = study.env(0)
        os.environ.clear()
        os.environ.update(given)
        code = _analyse(words[1]) if words[0] == ANALYSIS else 0
        if words[0] != ANALYSIS:
            cli.main(words)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _analyse(name: str) -> int:
    """Ask repx_py for everything that it reads; anything but its own errors is a bug."""
    import traceback

    from repx_py import Lab

    try:
        lab = Lab.from_path("result")
        for job in lab.jobs():
            _ = job.status, job.params, job.marker, job.outputs
        _ = lab.job(name).marker
    except RepxError as error:
        print(f"error: {error.message}")
        return _FAILED
    except Exception:  # noqa: BLE001  # whatever it is
        traceback.print_exc()
        return BUG
    return 0


def _wait(child: int) -> int | None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run_submission(study: Study) -> Told:
    """Run a submission by hand where it can write to nothing but the study: its files are wrong."""
    folder = min(path for path in study.store.glob("submissions/*") if not path.is_symlink())
    for path in study.store.glob("outputs/*"):
        shutil.rmtree(path, ignore_errors=True)
    log = folder / "agent.log"
    log.write_text("")
    root = str(study.folder)
    room = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"]
    words = [*room, "--bind", root, root, "--die-with-parent", "bash", str(folder / "run.sh")]
    try:
        done = subprocess.run(
            words,
            env=study.env(0),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Told((RUNNER,), None, str(error.stdout))
    return Told((RUNNER,), done.returncode, done.stdout + _text(log))


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
