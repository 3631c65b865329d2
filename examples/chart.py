"""Draws small charts as SVG with nothing but the standard library; both examples ship it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    Point = tuple[float, float]

# Okabe and Ito (2008): told apart with any colour vision, and in print.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, GREY, FAINT = "#222222", "#666666", "#e4e4e4"
# Shapes tell curves apart where colours cannot; each is a path round (0, 0).
CIRCLE = "M-3.7,0a3.7,3.7 0 1,0 7.4,0a3.7,3.7 0 1,0 -7.4,0"
SQUARE = "M-3.3,-3.3h6.6v6.6h-6.6z"
DIAMOND = "M0,-4.6L4.6,0L0,4.6L-4.6,0z"
ENOUGH_TICKS = 3
CLOSE = 4  # pixels
LABEL = 12  # pixels from a point to the middle of its label
AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (0.7, -0.7), (0.7, 0.7), (-0.7, -0.7), (-0.7, 0.7))
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Pen:
    """How one series looks."""

    colour: str
    shape: str = CIRCLE


@dataclass(frozen=True)
class Axis:
    """One direction of a panel: its range, its ticks, linear or logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies between the axis' ends: 0 at low, 1 at high."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def between(start: Point, end: Point, share: float) -> Point:
    """Return the point a share of the way from start to end."""
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def log_axis(values: list[float], label: str) -> Axis:
    """Return an axis with a tick per power of ten, or at 1, 2, 5 where those are too few."""
    low, high = min(values) / 1.5, max(values) * 1.5
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for steps in ((1,), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        within = tuple(tick for tick in ticks if low <= tick <= high)
        if len(within) >= ENOUGH_TICKS:
            break
    return Axis(low, high, within, label, log=True)


def linear_axis(low: float, high: float, label: str, *, steps: int = 5) -> Axis:
    """Return an axis with about ``steps`` round ticks that covers low to high."""
    rough = (high - low) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, label)


@dataclass
class Panel:
    """One pair of axes at (left, top), in pixels; grows as things are drawn."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float
    title: str = ""
    parts: list[str] = field(default_factory=list)
    taken: list[Point] = field(default_factory=list)  # pixels where a label would hide something

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        across = self.left + self.x.share(x) * self.width
        return across, self.top + (1 - self.y.share(y)) * self.height

    def grid(self, *, y_label: bool = True) -> None:
        """Draw frame, grid, ticks, labels and title; do this first."""
        bottom = self.top + self.height
        for tick in self.x.ticks:
            across, _ = self.place(tick, self.y.low)
            self._line(across, self.top, across, bottom, FAINT)
            self.text(across, bottom + 16, f"{tick:g}", anchor="middle", colour=GREY)
        for tick in self.y.ticks:
            _, down = self.place(self.x.low, tick)
            self._line(self.left, down, self.left + self.width, down, FAINT)
            if y_label:
                self.text(self.left - 7, down + 4, f"{tick:g}", anchor="end", colour=GREY)
        self._line(self.left, bottom, self.left + self.width, bottom, GREY)
        self._line(self.left, self.top, self.left, bottom, GREY)
        middle = self.left + self.width / 2
        self.text(middle, bottom + 34, self.x.label, anchor="middle")
        self.text(self.left, self.top - 10, self.title, bold=True)
        if y_label:
            self._upright(self.left - 42, self.top + self.height / 2, self.y.label)

    def curve(self, points: list[Point], pen: Pen, *, dashed: bool = False) -> None:
        """Join points by straight lines."""
        places = [self.place(*point) for point in points]
        for start, end in itertools.pairwise(places):
            steps = 1 + int(math.dist(start, end) / CLOSE)
            self.taken += [between(start, end, step / steps) for step in range(steps + 1)]
        pixels = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        style = " stroke-dasharray='5 4'" if dashed else ""
        self.parts.append(
            f"<polyline points='{pixels}' fill='none' stroke='{pen.colour}'"
            f" stroke-width='1.5'{style}/>"
        )

    def mark(self, point: Point, pen: Pen, *, tip: str = "") -> None:
        """Draw one point; ``tip`` shows when the mouse is over it."""
        self._shape(*self.place(*point), pen, tip)

    def error_bar(self, x: float, low: float, high: float, pen: Pen) -> None:
        """Draw an interval with a cap at both ends."""
        across, upper = self.place(x, high)
        _, lower = self.place(x, low)
        self._line(across, upper, across, lower, pen.colour)
        for down in (upper, lower):
            self._line(across - 4, down, across + 4, down, pen.colour)

    def note(self, point: Point, text: str, pen: Pen, *, right: bool) -> None:
        """Write beside a point."""
        across, down = self.place(*point)
        anchor, shift = ("start", 7) if right else ("end", -7)
        self.text(across + shift, down + 4, text, anchor=anchor, colour=pen.colour, size=11)

    def label(self, point: Point, text: str, pen: Pen) -> None:
        """Write round a point where there is most room; do this after all curves."""
        across, down = self.place(*point)
        spots = [(across + LABEL * x, down + LABEL * y) for x, y in AROUND]
        spot = max(spots, key=lambda spot: min(math.dist(spot, taken) for taken in self.taken))
        self.taken.append(spot)
        self.text(spot[0], spot[1] + 4, text, anchor="middle", colour=pen.colour, size=11)

    def text(  # how a text looks
        self,
        across: float,
        down: float,
        text: str,
        *,
        anchor: str = "start",
        colour: str = INK,
        size: int = 12,
        bold: bool = False,
    ) -> None:
        """Write at a pixel."""
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(
            f"<text x='{across:.1f}' y='{down:.1f}' {FONT} font-size='{size}'{weight}"
            f" text-anchor='{anchor}' fill='{colour}'>{escape(text)}</text>"
        )

    def legend(self, pens: Mapping[str, Pen], across: float, down: float) -> None:
        """Name the pens in one row that begins at a pixel."""
        for name, pen in pens.items():
            self._line(across, down - 4, across + 24, down - 4, pen.colour)
            self._shape(across + 12, down - 4, pen, name)
            self.text(across + 30, down, name)
            across += 30 + 7 * len(name) + 18

    def _shape(self, across: float, down: float, pen: Pen, tip: str) -> None:
        self.parts.append(
            f"<path d='{pen.shape}' transform='translate({across:.1f} {down:.1f})'"
            f" fill='{pen.colour}' stroke='white'><title>{escape(tip)}</title></path>"
        )

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
        self.parts.append(
            f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"
        )

    def _upright(self, across: float, down: float, text: str) -> None:
        self.parts.append(
            f"<text transform='translate({across:.1f} {down:.1f}) rotate(-90)' {FONT}"
            f" font-size='12' text-anchor='middle' fill='{INK}'>{escape(text)}</text>"
        )


def svg(panels: list[Panel], width: float, height: float) -> str:
    """Return panels as one picture on white."""
    parts = "\n".join(part for panel in panels for part in panel.parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}'"
        f" viewBox='0 0 {width:g} {height:g}'>\n<rect width='100%' height='100%' fill='white'/>\n"
        f"{parts}\n</svg>\n"
    )
