#!/usr/bin/env python3
"""Gathers the rows of every measurement that has succeeded so far into one CSV file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import repx_py

ORDER = ("text", "binary", "table"), ("zlib", "bz2", "lzma")


def place(row: dict[str, object]) -> tuple[object, ...]:
    kinds, tools = ORDER
    return kinds.index(row["kind"]), tools.index(row["tool"]), row["level"]


def main() -> None:
    stage = repx_py.stage()
    outputs = Path(stage.inputs["store__base"], "outputs")
    metadata = json.loads(stage.inputs["metadata__measure"].read_text(encoding="utf-8"))
    wanted = [
        job for job, facts in metadata["jobs"].items() if facts["name"].startswith("measure-")
    ]
    found = [outputs / job / "out" / "row.json" for job in wanted]
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    with stage.outputs["results"].open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(sorted(rows, key=place))
    print(f"{len(rows)} of {len(wanted)} measurements")


main()
