"""Time and memory against size, as SVG that reads on light and on dark pages alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.checkpoints import SIZES
from benchmarks.results import Line, Middle

DRAWN = ("linear", "dare_ties", "ties")
"""One of each kind: one pass over the weights, random, ranked."""
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 176, 44, 48
INK, RULE = "#78818c", "#78818c55"
COLOURS = {"Weightloom": "#17998a", "mergekit": "#c9702a"}
_LABEL_STEP = 16

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """``points``: parameters of a model, and what was measured."""

    tool: str
    method: str
    points: tuple[Point, ...]


def curves(lines: Sequence[Line], value: Callable[[Middle], float]) -> list[Curve]:
    """Both tools' curves of the methods in DRAWN."""
    found = []
    for method in DRAWN:
        own = [line for line in lines if line.method == method]
        for tool, side in (("mergekit", "theirs"), ("Weightloom", "ours")):
            middles = ((line, getattr(line, side)) for line in own)
            points = sorted((SIZES[line.size].parameters(), value(one)) for line, one in middles if one)
            if points:
                found.append(Curve(tool, method, tuple(points)))
    return found


def draw(title: str, unit: str, curves: Sequence[Curve]) -> str:
    """A log-log chart with each curve named at its end; at least one. ``unit`` is what the values are in."""
    values = [value for curve in curves for _, value in curve.points]
    sizes = [size for curve in curves for size, _ in curve.points]
    across = _Scale(min(sizes), max(sizes), LEFT, WIDTH - RIGHT)
    up = _Scale(min(values), max(values), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" fill="{INK}"',
        ' font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="600">{escape(title)}</text>',
        *_grid(across, up, unit, sorted(set(sizes))),
    ]
    heights = _spread([up.at(curve.points[-1][1]) for curve in curves])
    for curve, height in zip(curves, heights, strict=True):
        parts += _curve(curve, across, up, height)
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """A logarithmic axis from pixel ``begin`` to pixel ``end``, with a little room at both ends."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        room = 0.06 * max(math.log10(high / low), 0.5)
        self.low, self.high = math.log10(low) - room, math.log10(high) + room
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten; powers alone over a wide range."""
        steps = (1, 2, 5) if self.high - self.low < 2.5 else (1,)
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        every = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in every if self.low <= math.log10(tick) <= self.high]


def _grid(across: _Scale, up: _Scale, unit: str, sizes: list[float]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in up.ticks():
        y = up.at(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{RULE}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for size in sizes:
        x = across.at(size)
        parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="{INK}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{_name(size)}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">{escape(unit)}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">parameters of a model</text>')
    return parts


def _name(size: float) -> str:
    return next(name for name, one in SIZES.items() if one.parameters() == size)


def _curve(curve: Curve, across: _Scale, up: _Scale, label: float) -> list[str]:
    colour, name = COLOURS[curve.tool], escape(f"{curve.tool} {curve.method}")
    places = [(across.at(size), up.at(value)) for size, value in curve.points]
    (x, y), beside = places[-1], WIDTH - RIGHT + 8
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places),
        f'<line x1="{x + 6:.1f}" y1="{y:.1f}" x2="{beside}" y2="{label:.1f}" stroke="{colour}" opacity=".5"/>',
        f'<text x="{beside + 4}" y="{label + 4:.1f}" fill="{colour}">{name}</text>',
    ]


def _spread(wanted: Sequence[float]) -> list[float]:
    """Heights near those wanted, at least _LABEL_STEP apart and inside the picture."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    lowest = float("-inf")
    for index in order:
        placed[index] = lowest = max(wanted[index], lowest + _LABEL_STEP)
    highest = float(HEIGHT - BOTTOM)
    for index in reversed(order):
        placed[index] = highest = min(placed[index], highest)
        highest -= _LABEL_STEP
    return placed
