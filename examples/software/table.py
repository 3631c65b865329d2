#!/usr/bin/env python3
"""Draw counts as a table."""

from tabulate import tabulate

import repx_py

stage = repx_py.stage()
rows = [line.split(",") for line in stage.inputs["counts"].read_text().split()]
table = tabulate(rows, headers=["digit", "times"], tablefmt=stage.parameters["style"])
stage.outputs["table"].write_text(f"{table}\n")
