"""End jobs that no scheduler has: ``start.py --end BASE JOB...``.

Their scheduler was killed, or the jobs were started by hand. The worker or the bash script that
runs such a job gets a signal to end it and marks it as cancelled. If the worker or the script was
killed as well, this program ends the job's processes. Prints the jobs that had processes, one per
line. Processes that cannot be ended are named on stderr, with exit code 1.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from repx.runner import files, locks, remains

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

GRACE_S: Final = files.grace_s()  # between TERM and KILL


def end(home: str) -> tuple[bool, list[int]]:
    """End the job in a folder; return whether it ran, and the processes that cannot be ended."""
    folder, lock = os.fsencode(home), f"{home}/repx/lock"
    own = remains.marked(folder, parts=True)
    runners = [pid for pid in remains.holders(lock) if pid not in own] if locks.held(lock) else []
    if runners:
        remains.tell(runners, signal.SIGTERM)
        return True, []
    left = remains.end(lambda: remains.marked(folder, parts=True), GRACE_S, time.sleep)
    return bool(own), left


def main(base: str, *jobs: str) -> int:
    """End jobs of the store at ``base``; return the exit code."""
    code = 0
    units = [unit for _, unit in remains.units()]
    for job in jobs:
        home = f"{base}/outputs/{job}"
        folder = os.fsencode(home)
        alive = any(remains.belongs(unit, folder, parts=True) for unit in units)
        if not alive and not locks.held(f"{home}/repx/lock"):
            continue
        ran, left = end(home)
        if left:
            sys.stderr.write(f"{job}: cannot be ended: {remains.named(left)}\n")
            code = 1
        elif ran:
            print(job)
    return code
