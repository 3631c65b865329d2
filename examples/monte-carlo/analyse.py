#!/usr/bin/env python3
"""Reads the results of the Lab in ./result: the report, where it is, and one of the estimates."""

from __future__ import annotations

import os

from repx_py import Lab

lab = Lab.from_path("result")

(report,) = lab.jobs(stage="convergence")
print(report.load_text("table"))

(best,) = lab.jobs(stage="estimate", method="control", samples=256000)
estimate = best.load("estimate")
print(f"{estimate['price']:.4f} +- {estimate['std_error']:.4f}")
print()

for path in report.outputs.values():
    print(os.path.relpath(path))
