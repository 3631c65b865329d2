#!/usr/bin/env python3
"""Reads the results of the Lab in ./result: the report, where it is, and what it cost."""

from __future__ import annotations

import os

from repx_py import Lab

lab = Lab.from_path("result")

(report,) = lab.jobs(stage="table")
print(report.load_text("table"))

for tool in ("zlib", "bz2", "lzma"):
    jobs = lab.jobs(stage="compress", tool=tool, status="succeeded")
    seconds = sum(job.duration_s or 0 for job in jobs)
    print(f"{tool:4} {len(jobs)} jobs, {seconds:.1f} s")
print()

for job in sorted(lab.jobs(run="report"), key=lambda job: job.stage):
    for path in job.outputs.values():
        print(os.path.relpath(path))
