#!/usr/bin/env python3
"""Gathers the estimates of the other run into one file, sorted as they were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import repx_py

METHODS = ("plain", "antithetic", "control")


def main() -> None:
    stage = repx_py.stage()
    outputs = Path(stage.inputs["store__base"], "outputs")
    metadata = json.loads(stage.inputs["metadata__estimate"].read_text(encoding="utf-8"))
    found = [outputs / job / "out" / "estimate.json" for job in metadata["jobs"]]
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    rows.sort(key=lambda row: (METHODS.index(row["method"]), row["samples"]))
    stage.outputs["estimates"].write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"{len(rows)} estimates")


main()
