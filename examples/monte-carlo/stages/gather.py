#!/usr/bin/env python3
"""Merges the moments of all chunks into one estimate with its standard error."""

from __future__ import annotations

import json
import math
from pathlib import Path

import repx_py


def main() -> None:
    stage = repx_py.stage()
    workers = json.loads(stage.inputs["worker__outs"].read_text(encoding="utf-8"))
    count, mean, squares = 0, 0.0, 0.0
    for worker in workers:
        chunk = json.loads(Path(worker["moments"]).read_text(encoding="utf-8"))
        # Chan, Golub and LeVeque (1979): the moments of a union from those of its parts.
        total = count + chunk["count"]
        gap = chunk["mean"] - mean
        squares += chunk["squares"] + gap**2 * count * chunk["count"] / total
        mean += gap * chunk["count"] / total
        count = total
    error = math.sqrt(squares / (count - 1) / count)
    estimate = {
        "method": stage.parameters["method"],
        "samples": stage.parameters["samples"],
        "price": mean,
        "std_error": error,
    }
    stage.outputs["estimate"].write_text(json.dumps(estimate), encoding="utf-8")
    print(f"{mean:.4f} +- {error:.4f}")


main()
