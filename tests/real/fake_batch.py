"""A small batch system that really runs jobs: qsub, qstat and qdel over files in one folder.

``python fake_batch.py FOLDER qsub [-o LOG] [-W ID:ID] [-l WHAT=VALUE]... SCRIPT`` prints
``submitted 7.fake`` and starts a process that waits for the end of the jobs named, whatever that
is, and then runs the script in the folder of the call, without input. ``qstat`` lists what has not
ended, ``qdel`` ends jobs. It knows neither arrays nor whether a job went well.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def qsub(folder: Path, words: list[str]) -> None:
    """Submit one job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", default="/dev/null")
    parser.add_argument("-W", default="")
    parser.add_argument("-l", action="append", default=[])
    parser.add_argument("script")
    asked = parser.parse_args(words)
    if (folder / "down").exists():
        sys.exit("qsub: cannot connect to server")
    job = folder / _next(folder)
    job.mkdir()
    (job / "asked").write_text(f"{' '.join(asked.l)}\n")
    if os.fork() == 0:
        os.setsid()
        _run(job, asked)
        os._exit(0)
    sys.stdout.write(f"submitted {job.name}.fake\n")


def _next(folder: Path) -> str:
    with (folder / "next").open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        number = int(counter.read() or 0) + 1
        counter.truncate(0)
        counter.write(str(number))
    return str(number)


def _run(job: Path, asked: argparse.Namespace) -> None:
    """Wait, run, and note the end; nothing of the caller is kept open."""
    os.closerange(0, 3)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    (job / "pid").write_text(str(os.getpid()))
    waits = [job.parent / id_.partition(".")[0] for id_ in asked.W.split(":") if id_]
    while any(before.exists() and not (before / "ended").exists() for before in waits):
        time.sleep(0.05)
    (job / "running").touch()
    with Path(asked.o).open("ab") as log:
        subprocess.run(["bash", asked.script], stdout=log, stderr=log, check=False)
    (job / "ended").touch()


def qstat(folder: Path) -> None:
    """List what has not ended."""
    if (folder / "down").exists():
        sys.exit("qstat: cannot connect to server")
    sys.stdout.write("Job ID    S\n")
    for job in sorted(folder.glob("[0-9]*")):
        if not (job / "ended").exists():
            state = "R" if (job / "running").exists() else "Q"
            sys.stdout.write(f"{job.name}.fake    {state}\n")


def qdel(folder: Path, ids: list[str]) -> None:
    """End jobs: everything of their session."""
    for id_ in ids:
        job = folder / id_.partition(".")[0]
        if (job / "ended").exists():
            continue
        leader = int((job / "pid").read_text())
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _session(entry) == leader and int(entry.name) != leader:
                os.kill(int(entry.name), signal.SIGTERM)
        if not (job / "running").exists():
            os.kill(leader, signal.SIGKILL)
            (job / "ended").touch()


def _session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


if __name__ == "__main__":
    place, verb, *rest = sys.argv[1:]
    {"qsub": qsub, "qstat": lambda folder, _: qstat(folder), "qdel": qdel}[verb](Path(place), rest)
