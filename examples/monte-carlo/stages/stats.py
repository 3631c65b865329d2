#!/usr/bin/env python3
"""Reduces the payoffs of one chunk to count, mean and sum of squared deviations."""

from __future__ import annotations

import json
import math
from array import array

import repx_py


def main() -> None:
    stage = repx_py.stage()
    values = array("d", stage.inputs["payoffs"].read_bytes())
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    moments = {"count": len(values), "mean": mean, "squares": squares}
    stage.outputs["moments"].write_text(json.dumps(moments), encoding="utf-8")


main()
