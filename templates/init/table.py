#!/usr/bin/env python3
"""Join the summaries of all throws that succeeded into one table."""

import csv
import json

import repx_py

stage = repx_py.stage()
jobs = json.loads(stage.inputs["metadata__throws"].read_text())["jobs"]
outputs = stage.inputs["store__base"] / "outputs"
places = [outputs / job / "out" / "summary.json" for job in jobs]
rows = [json.loads(place.read_text()) for place in places if place.exists()]
rows.sort(key=lambda row: (row["sides"], row["throws"], row["seed"]))
with stage.outputs["table"].open("w", newline="") as file:
    table = csv.DictWriter(file, ["sides", "throws", "seed", "mean", "error"])
    table.writeheader()
    table.writerows(rows)
