#!/usr/bin/env python3
"""Writes the results as a Markdown table, with what to take from them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import repx_py

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, str]

HEAD = (
    "| kind   | tool | level | ratio | pack MB/s | unpack MB/s |\n"
    "|:-------|:-----|------:|------:|----------:|------------:|"
)


def line(row: Row) -> str:
    return (
        f"| {row['kind']:6} | {row['tool']:4} | {row['level']:>5} | {float(row['ratio']):5.2f} |"
        f" {float(row['pack_mb_s']):9.1f} | {float(row['unpack_mb_s']):11.1f} |"
    )


def advice(rows: list[Row]) -> list[str]:
    """Return, for each kind of data, what packs smallest and what packs fastest."""
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        mine = [row for row in rows if row["kind"] == kind]
        smallest = max(mine, key=lambda row: float(row["ratio"]))
        fastest = max(mine, key=lambda row: float(row["pack_mb_s"]))
        lines.append(
            f"- {kind}: smallest {smallest['tool']} -{smallest['level']},"
            f" fastest {fastest['tool']} -{fastest['level']}"
        )
    return lines


def main() -> None:
    stage = repx_py.stage()
    with stage.inputs["results"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    text = "\n".join([HEAD, *map(line, rows), "", *advice(rows)])
    stage.outputs["table"].write_text(f"{text}\n", encoding="utf-8")


main()
