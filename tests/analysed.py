"""A store as analyses find it: jobs that have ended, on a target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repx_py import Lab

CALC_2_5 = "1a3w5namblrpglvbpwd14hsb93hs2gz1-calc-1.0"
MARKER = {
    "outcome": "fail",
    "exit": 3,
    "reason": "exit 3",
    "start": 100,
    "end": 102.5,
    "host": "n1",
    "attempt": 2,
    "scheduler": "slurm:7",
    "cpu_s": 0.25,
}


def end(lab: Lab, job_id: str, name: str, content: dict[str, object] | None = None) -> None:
    """Leave a job as a runner does: an output folder and a marker, empty as RepX 0.5 writes."""
    job = lab.job(job_id)
    job.path.mkdir(parents=True)
    repx = job.path.parent / "repx"
    repx.mkdir()
    (repx / name).write_text(json.dumps(content) if content else "")


TARGETS = """\
default: here
targets:
  here: {base_path: ./results}
  there: {base_path: /elsewhere}
  far: {base_path: /scratch, address: me@far}
"""
