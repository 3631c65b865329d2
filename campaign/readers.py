"""Whoever reads a mutated file: a command of repx, repx_py, or a submission's own run.sh."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pkgutil
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import repx
import repx_py
from campaign.study import BUG, Study
from repx import cli
from repx.errors import RepxError

if TYPE_CHECKING:
    from pathlib import Path

    from repx_py import Job

ANALYSIS: Final = "repx_py"
RUNNER: Final = "run.sh"
_SECONDS: Final = 120  # 4 GiB are hashed in seconds, but not on a machine that does much else
_FAILED: Final = 3
_MEMORY: Final = 2 << 30
# capabilities(7): what lets root read files that nobody may read.
_CAPABILITIES: Final = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_DROP: Final = 24  # prctl(2): PR_CAPBSET_DROP
_VERSION: Final = 0x20080522  # capset(2)


@dataclass(frozen=True)
class Told:
    """How a reader ended: ``code`` None where it had to be killed."""

    words: tuple[str, ...]
    code: int | None
    text: str


def load_everything() -> None:
    """Import all that commands use, once: each runs in a fork of this process."""
    for package in (repx, repx_py):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", ".start")):  # these begin to work
                with contextlib.suppress(ImportError):  # an extra that is not installed
                    importlib.import_module(module.name)
    for name in ("pandas", "numpy"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


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
        _obey_modes()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
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


def _obey_modes() -> None:
    """Let modes of files hold for this process and all that it starts, even where it is root's."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    libc.capget(header, sets)
    effective, permitted, inherited, *rest = struct.unpack("=6I", sets.raw)
    for number in _CAPABILITIES:
        libc.prctl(_DROP, number, 0, 0, 0)
        effective, permitted = effective & ~(1 << number), permitted & ~(1 << number)
    if libc.capset(header, struct.pack("=6I", effective, permitted, inherited, *rest)):
        raise OSError(ctypes.get_errno(), "capset")


def _analyse(name: str) -> int:
    """Ask repx_py for everything that it reads; anything but its own errors is a bug."""
    import traceback

    from repx_py import Lab

    try:
        lab = Lab.from_path("result")
        for job in lab.jobs():
            _ = job.status, job.params, job.marker, job.outputs
        job = lab.job(name)
        _ = job.marker
    except RepxError as error:
        print(f"error: {error.message}")
        return _FAILED
    except Exception:  # noqa: BLE001  # whatever it is
        traceback.print_exc()
        return BUG
    return _load(job)


def _load(job: Job) -> int:
    """Load each result of a job."""
    import traceback

    try:
        for output in job.outputs:
            job.load(output)
    except RepxError as error:
        print(f"error: {error.message}")
        return _FAILED
    except MemoryError:  # a result that is larger than the memory
        print("error: not enough memory")
        return _FAILED
    except Exception:  # noqa: BLE001  # whatever it is
        traceback.print_exc()
        return BUG
    return 0


def _wait(child: int) -> int | None:
    ending = os.pidfd_open(child)
    try:
        if not select.select([ending], [], [], _SECONDS)[0]:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(ending)


def _run_submission(study: Study) -> Told:
    """Run a submission by hand where it can write to nothing but the study: its files are wrong."""
    folder = min(path for path in study.store.glob("submissions/*") if not path.is_symlink())
    for path in study.store.glob("outputs/*"):
        shutil.rmtree(path, ignore_errors=True)
    log = folder / "agent.log"
    log.write_text("")
    root = str(study.folder)
    room = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"]
    if os.geteuid() == 0:
        room = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *room]
    room = ["prlimit", f"--as={_MEMORY}", *room]
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
