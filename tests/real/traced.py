"""Jobs that leave a trace of their start, and what is seen of them."""

from __future__ import annotations

import fcntl
from typing import Final

from tests.real.folders import TOUCH, Folder, wait_until

ROOT: Final = "root=${out%/outputs/*}\njob=${out%/out} job=${job##*/}\n"
TRACE: Final = f'{ROOT}echo "$job" >>"$root/trace"\n'
SLEEP: Final = f"{TRACE}sleep 60\n{TOUCH}"


def wait_for_trace(made: Folder, job: str) -> None:
    wait_until(lambda: job in made.traced())


def reasons(made: Folder, job: str) -> list[str]:
    return [event["reason"] for event in made.events("end") if event["job"] == job]


def is_locked(made: Folder, job: str) -> bool:
    with (made.record(job) / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
