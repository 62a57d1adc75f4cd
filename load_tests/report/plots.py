"""Charts as inline SVG: no script, no font, no file in addition to the page. Pure.

Rule: one y axis a chart, starting at 0 unless it is logarithmic; every line has its name in the legend.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 34
COLOURS = ("#3b6fd4", "#d9822b", "#2f9e62", "#b0449c", "#7a6ad8", "#a3472d", "#4a9bb0", "#8a8f98")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, one cloud of dots, or one set of bars."""

    name: str
    points: Points
    kind: str = "line"


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, mapped to pixels; logarithmic from the first positive value on."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return self.start + (at - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, about six."""
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            values = [base * 10.0**power for power in range(first, last + 1) for base in (1, 2, 5)]
            return [value for value in values if self.low <= value <= self.high]
        step = nice_step((self.high - self.low) / 6)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * place for place in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= rough * 0.999)


def chart(
    title: str, series: Sequence[Series], *, x: str, y: str, logarithmic: bool = False, labels: Sequence[str] = ()
) -> str:
    """One figure with its caption. `labels` name whole-number x positions instead of numbers."""
    points = [point for each in series for point in each.points]
    if not points:
        return ""
    across = Axis(min(p[0] for p in points), max(p[0] for p in points), LEFT, WIDTH - RIGHT)
    if labels:
        across = Axis(-0.6, len(labels) - 0.4, LEFT, WIDTH - RIGHT)
    top = max(p[1] for p in points) * 1.05 or 1.0
    bottom = max(min(p[1] for p in points if p[1] > 0) * 0.9, 1e-6) if logarithmic else 0.0
    up = Axis(bottom, max(top, bottom * 2), HEIGHT - BOTTOM, TOP, logarithmic)
    body = [*grid(across, up, labels), *(draw(each, place, across, up) for place, each in enumerate(series))]
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}{legend(series, x, y)}</figure>"


def grid(across: Axis, up: Axis, labels: Sequence[str]) -> list[str]:
    """Lines and numbers of both axes."""
    parts = []
    for value in up.ticks():
        at = up.place(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    marks = [(float(p), text) for p, text in enumerate(labels)] if labels else [(v, f"{v:g}") for v in across.ticks()]
    for value, text in marks:
        at = across.place(value)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>')
    return parts


def draw(series: Series, place: int, across: Axis, up: Axis) -> str:
    """The marks of one series."""
    colour = COLOURS[place % len(COLOURS)]
    at = [(across.place(x), up.place(y)) for x, y in series.points]
    if series.kind == "dots":
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8" fill="{colour}" opacity=".55"/>' for x, y in at)
    if series.kind == "bars":
        width = max(2.0, 0.7 * (WIDTH - LEFT - RIGHT) / max(1, len(at)))
        return "".join(
            f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{up.start - y:.1f}"'
            f' fill="{colour}"/>'
            for x, y in at
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def legend(series: Sequence[Series], x: str, y: str) -> str:
    """The names of the series in their colours, and what the axes are."""
    names = "".join(
        f'<span><i style="background:{COLOURS[place % len(COLOURS)]}"></i>{escape(each.name)}</span>'
        for place, each in enumerate(series)
    )
    return f'<p class="legend">{names}<span class="axes">{escape(y)} over {escape(x)}</span></p>'
