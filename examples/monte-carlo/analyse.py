#!/usr/bin/env python3
"""Reads the results of the Lab in ./result: the report, where it is, and one of the estimates."""

from __future__ import annotations

from repx_py import Lab

lab = Lab.from_path("result")

(report,) = lab.jobs(stage="convergence")
print(report.load_text("table"))

(best,) = lab.jobs(stage="estimate", method="control", samples=256000)
print(best.load("estimate"))
print()

for path in report.outputs.values():
    print(path)
