#!/usr/bin/env python3
"""Compare the mean of the throws with what it should be."""

import json
from statistics import mean

import repx_py

stage = repx_py.stage()  # .inputs and .outputs hold paths, .parameters values
numbers = [int(line) for line in stage.inputs["numbers"].read_text().split()]
expected = (stage.parameters["sides"] + 1) / 2
summary = {**stage.parameters, "mean": mean(numbers), "error": abs(mean(numbers) - expected)}
stage.outputs["summary"].write_text(json.dumps(summary))
