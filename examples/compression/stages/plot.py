#!/usr/bin/env python3
"""Draws ratio against speed, one panel per kind of data, one curve per tool."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import chart

import repx_py

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, str]

PENS = {
    "zlib": chart.Pen(chart.BLUE, chart.CIRCLE),
    "bz2": chart.Pen(chart.VERMILLION, chart.SQUARE),
    "lzma": chart.Pen(chart.GREEN, chart.DIAMOND),
}
WIDTH, HEIGHT, GAP, LEFT, TOP = 250, 240, 20, 60, 80


def panel(kind: str, number: int, rows: list[Row], x: chart.Axis, y: chart.Axis) -> chart.Panel:
    drawn = chart.Panel(x, y, LEFT + number * (WIDTH + GAP), TOP, WIDTH, HEIGHT, title=kind)
    drawn.grid(y_label=number == 0)
    ends: list[tuple[tuple[float, float], str, chart.Pen]] = []
    for tool, pen in PENS.items():
        mine = [row for row in rows if (row["kind"], row["tool"]) == (kind, tool)]
        points = [(float(row["pack_mb_s"]), float(row["ratio"])) for row in mine]
        drawn.curve(points, pen)
        for row, point in zip(mine, points, strict=True):
            drawn.mark(point, pen, tip=f"{tool} level {row['level']}: ratio {row['ratio']}")
        ends += [(points[at], mine[at]["level"], pen) for at in (0, -1)]
    for end in ends:
        drawn.label(*end)
    return drawn


def picture(rows: list[Row]) -> str:
    """Return the whole figure as SVG."""
    x = chart.log_axis([float(row["pack_mb_s"]) for row in rows], "compression speed, MB/s")
    y = chart.linear_axis(1, max(float(row["ratio"]) for row in rows), "ratio (larger is better)")
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    panels = [panel(kind, number, rows, x, y) for number, kind in enumerate(kinds)]
    panels[0].text(LEFT, 22, "Compression ratio against speed", bold=True, size=14)
    panels[0].text(LEFT, 40, "numbers: first and last level", colour=chart.GREY)
    panels[0].legend(PENS, LEFT + 2 * (WIDTH + GAP), 22)
    return chart.svg(panels, LEFT + len(kinds) * (WIDTH + GAP), TOP + HEIGHT + 46)


def main() -> None:
    stage = repx_py.stage()
    with stage.inputs["results"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stage.outputs["plot"].write_text(picture(rows), encoding="utf-8")


main()
