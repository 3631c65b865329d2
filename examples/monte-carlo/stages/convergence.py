#!/usr/bin/env python3
"""Compares the estimates with the exact price: a table for reading and a figure for seeing."""

from __future__ import annotations

import json

import chart
import option

import repx_py

PENS = {
    "plain": chart.Pen(chart.BLUE, chart.CIRCLE),
    "antithetic": chart.Pen(chart.VERMILLION, chart.SQUARE),
    "control": chart.Pen(chart.GREEN, chart.DIAMOND),
}
EXACT = chart.Pen(chart.GREY)
WIDTH, HEIGHT, LEFT, TOP, GAP = 340, 260, 62, 62, 96
INTERVAL = 1.96  # standard errors on either side hold 95 % of a normal distribution

Estimate = dict[str, "str | int | float"]


def table(rows: list[Estimate]) -> str:
    """Return the estimates as Markdown, best last within each method."""
    lines = [
        f"European call, exact price {option.exact():.4f}",
        "",
        "| method     |  samples |   price | std. error |   95 % interval  | holds |",
        "|:-----------|---------:|--------:|-----------:|:----------------:|:-----:|",
    ]
    for row in rows:
        low, high = interval(row)
        holds = "yes" if low <= option.exact() <= high else "no"
        lines.append(
            f"| {row['method']:10} | {row['samples']:8} | {row['price']:7.4f} |"
            f" {row['std_error']:10.4f} | {low:7.4f}, {high:7.4f} | {holds:^5} |"
        )
    return "\n".join(lines) + "\n"


def interval(row: Estimate) -> tuple[float, float]:
    """Return the ends of the 95 % confidence interval."""
    half = INTERVAL * row["std_error"]
    return row["price"] - half, row["price"] + half


def prices(rows: list[Estimate]) -> chart.Panel:
    """Return the estimates with their intervals round the exact price."""
    ends = [end for row in rows for end in interval(row)]
    x = chart.log_axis([row["samples"] for row in rows], "samples")
    y = chart.linear_axis(min(ends), max(ends), "price")
    panel = chart.Panel(x, y, LEFT, TOP, WIDTH, HEIGHT, title="estimate and 95 % interval")
    panel.grid()
    panel.curve([(x.low, option.exact()), (x.high, option.exact())], EXACT, dashed=True)
    panel.note((x.high, option.exact()), "exact", EXACT, right=True)
    for number, (method, pen) in enumerate(PENS.items()):
        beside = 1.12 ** (number - 1)  # side by side, where intervals would hide each other
        for row in rows:
            if row["method"] == method:
                panel.error_bar(row["samples"] * beside, *interval(row), pen)
                panel.mark((row["samples"] * beside, row["price"]), pen)
    panel.legend(PENS, LEFT + WIDTH + GAP, 22)
    panel.text(LEFT, 22, "Price of a European call", bold=True, size=14)
    return panel


def errors(rows: list[Estimate]) -> chart.Panel:
    """Return the standard errors, which fall with the root of the number of samples."""
    x = chart.log_axis([row["samples"] for row in rows], "samples")
    y = chart.log_axis([row["std_error"] for row in rows], "standard error")
    panel = chart.Panel(x, y, LEFT + WIDTH + GAP, TOP, WIDTH, HEIGHT, title="standard error")
    panel.grid()
    for method, pen in PENS.items():
        points = [(row["samples"], row["std_error"]) for row in rows if row["method"] == method]
        panel.curve(points, pen)
        for point in points:
            panel.mark(point, pen)
    return panel


def main() -> None:
    stage = repx_py.stage()
    rows = json.loads(stage.inputs["estimates"].read_text(encoding="utf-8"))
    stage.outputs["table"].write_text(table(rows), encoding="utf-8")
    picture = chart.svg(
        [prices(rows), errors(rows)], LEFT + 2 * WIDTH + GAP + 14, TOP + HEIGHT + 46
    )
    stage.outputs["plot"].write_text(picture, encoding="utf-8")


main()
