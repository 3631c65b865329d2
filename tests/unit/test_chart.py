"""The figures of the examples can be read, whatever was measured."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path
from typing import Any, Final

import pytest

CHART: Final[dict[str, Any]] = runpy.run_path(
    str(Path(__file__).parents[2] / "examples" / "chart.py")
)


@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 5.0), (1.1, 5.0), (1.2, 5.0), (9.0, 5.0)],
        [(5.0, 1.0), (5.0, 1.2), (5.0, 1.4), (5.0, 9.0)],
        [(2.0, 2.0), (2.2, 2.2), (2.0, 2.4), (1.8, 2.2)],
    ],
    ids=["row", "column", "heap"],
)
def test_a_label_hides_no_mark(points: list[tuple[float, float]]) -> None:
    axis = CHART["linear_axis"](0, 10, "")
    panel = CHART["Panel"](axis, axis, 0, 0, 250, 240)
    pen = CHART["Pen"]("black")
    panel.curve(points, pen)
    for point in points:
        panel.mark(point, pen)
    for point in (points[0], points[-1]):
        panel.label(point, "9", pen)
    drawn = "\n".join(panel.parts)

    marks = re.findall(r"translate\(([0-9.]+) ([0-9.]+)\)", drawn)
    labels = re.findall(r"<text x='([0-9.]+)' y='([0-9.]+)'", drawn)

    assert (4, 2) == (len(marks), len(labels))
    for x, y in labels:
        middle = (float(x), float(y) - 4)
        assert min(math.dist(middle, (float(a), float(b))) for a, b in marks) > 8
