"""A small line of a quantity over time, as SVG paths in a drawing of 1000 by 56 units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000, 56
_MOST, _FEWEST = 120, 4


@dataclass(frozen=True, slots=True)
class Sparkline:
    line: str
    area: str
    highest: float
    """The value at the top of the drawing."""


def draw(values: Sequence[float]) -> Sparkline | None:
    """The picture, or None with fewer than four values. Long series are averaged down."""
    values = _thinned(values)
    if len(values) < _FEWEST:
        return None
    highest = max(*values, 1e-9)
    step = WIDTH / (len(values) - 1)
    points = [
        (round(index * step, 1), round(HEIGHT - 2 - value / highest * (HEIGHT - 6), 1))
        for index, value in enumerate(values)
    ]
    line = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    return Sparkline(line, f"{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z", highest)


def _thinned(values: Sequence[float]) -> list[float]:
    size = -(-len(values) // _MOST) or 1
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    return [sum(group) / len(group) for group in groups]
