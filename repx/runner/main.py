"""The command line of the local scheduler.

    bash run.sh [-j N] [--cpus N] [--mem 4G] [--keep-going] [--quiet]

Exit code: 0 every job succeeded, 1 some jobs did not, 130 interrupted, 3 the agent could not work.

A failed job stops its run: its remaining jobs do not start, running ones finish, jobs that need
the run's success are skipped, other runs go on. With --keep-going only the jobs that need the
failed one are skipped. All state is in the folder and the store, so the scheduler may be killed at
any moment and started again.

Signals: INT, TERM end all jobs as cancelled (a second one kills them), USR1 ends them as timed
out, HUP reads FOLDER/cancel (one job id per line, or *).
"""

from __future__ import annotations

import argparse
import gc
import os
import sys

from repx.runner import files, gpus, locks, plan, remains
from repx.runner.agent import Agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def bytes_of(text: str) -> int:
    """Return ``4G`` as bytes. Raises ValueError."""
    number, unit = text[:-1], text[-1:].upper()
    if unit.isdigit():
        number, unit = text, ""
    if unit not in UNITS:
        raise ValueError(text)
    return int(number) * UNITS[unit]


def count(text: str) -> int:
    """Return a number of at least 1. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def names(text: str) -> list[str]:
    """Return ``0,2`` as its parts, each once."""
    return list(dict.fromkeys(filter(None, text.split(","))))


def parse(words: list[str]) -> argparse.Namespace:
    """Return the options of the command line; the default is all resources of this machine."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parser = argparse.ArgumentParser(prog="run.sh", description="Run a submission folder.")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("-j", "--jobs", type=count, help="jobs at once (default: by cores)")
    parser.add_argument("--cpus", type=count, help=f"cores to use (default: {cores})")
    parser.add_argument(
        "--mem", type=bytes_of, default=memory, help="memory to use, e.g. 4G (default: all)"
    )
    parser.add_argument(
        "--gpus", type=count, help="number of GPUs to share (default: those that are visible)"
    )
    parser.add_argument("--devices", type=names, help="GPUs to share by name, e.g. 0,2")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failed job")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the terminal")
    options = parser.parse_args(words)
    options.cpus = options.cpus or max(cores, options.jobs or 0)
    options.jobs = options.jobs or sys.maxsize
    options.devices = options.devices or gpus.shared(options.gpus, os.environ)
    return options


def only_agent(folder: str) -> bool:
    """Hold the folder's lock until this process ends; return whether the agent may work."""
    path = f"{folder}/agent.lock"
    lock = os.open(path, locks.FLAGS, 0o666)
    try:
        locks.patiently(lock)
    except BlockingIOError:
        holder = locks.signature(path)
        print(f"repx: {folder}: another agent works on it ({holder})", file=sys.stderr)
        return False
    except OSError:
        print(f"repx: {folder} cannot be locked; start only one agent", file=sys.stderr)
    locks.sign(lock, os.uname().nodename, os.getpid())
    return True


def register(folder: str, planned: dict[str, Any]) -> None:
    """Link a folder outside the store into the store, so that `repx status` finds it."""
    submissions = f"{planned['base']}/submissions"
    known = f"{submissions}/{planned['submission']}"
    if os.path.exists(known):
        return
    files.refuse_links(os.fsencode(submissions))
    os.makedirs(submissions, exist_ok=True)
    if os.path.islink(known):
        os.unlink(known)
    os.symlink(folder, known)


def main(words: list[str]) -> int:
    """Run the folder named on the command line; return the exit code."""
    options = parse(words)
    folder = os.path.realpath(options.folder)
    try:
        planned = plan.read(folder)
        if not only_agent(folder):
            return 3
        register(folder, planned)
        outputs = f"{planned['base']}/outputs"
        files.refuse_links(os.fsencode(outputs))
        os.makedirs(outputs, exist_ok=True)
        agent = Agent(folder, planned, options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"repx: cannot work on {folder}: {error}", file=sys.stderr)
        return 3
    remains.adopt_orphans()
    files.restore_locale()
    gc.freeze()  # the plan stays: scanning it for garbage would cost time per job
    return agent.run()
