"""One process measured as its user feels it: wall time, and the peak memory of its tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``wall_s`` in seconds; ``rss_mib`` the largest of the process and those it waited for."""

    wall_s: float
    rss_mib: float


class FailedError(Exception):
    """A measured command failed, so its figure would mean nothing."""


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Sample:
    """Run a command to its end; raises FailedError with the end of its stderr."""
    with tempfile.TemporaryFile() as talk:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=talk,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            talk.seek(0)
            words = talk.read()[-2000:].decode(errors="replace")
            message = f"{' '.join(argv)}: exit {process.returncode}\n{words}"
            raise FailedError(message)
    return Sample(wall_s=wall_s, rss_mib=usage.ru_maxrss / 1024)
