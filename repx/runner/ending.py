"""End jobs that no scheduler has: ``start.py --end BASE JOB...``.

Their scheduler was killed, or they were started by hand. What runs such a job, a worker or a job
file in bash, is told to end it and marks it as cancelled. Where that was killed as well, the job's
processes are ended here. Prints the jobs of which something ran, one a line; what cannot be ended
is named on stderr, and the exit code is 1.
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
    """End the job in a folder; return whether something ran, and what cannot be ended."""
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
