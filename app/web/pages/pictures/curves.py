"""Curves beside the loom: the value of one parameter over the layers, one line a parent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.web.pages.pictures.loom import HEADER
from app.web.pages.pictures.threads import thread

UNITS = 1000
_NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Line:
    letter: str
    values: tuple[float, ...]
    """One value a layer, layer 0 first."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical grid line: its label and place in percent."""

    label: str
    x: float


@dataclass(frozen=True, slots=True)
class Stroke:
    colour: str
    letter: str
    path: str


@dataclass(frozen=True, slots=True)
class CurvePicture:
    parameter: str
    strokes: tuple[Stroke, ...]
    marks: tuple[Mark, ...]
    height: int
    table: Mapping[str, tuple[str, ...]]
    """The values of a layer in words, one for each stroke."""

    @property
    def total_height(self) -> int:
        return self.height + HEADER


def draw(parameter: str, lines: Sequence[Line], spots: Sequence[float], height: int) -> CurvePicture | None:
    """The picture, or None without a line. ``spots`` are the vertical places of the layers, as the loom has them."""
    lines = [line for line in lines if len(line.values) == len(spots) and line.values]
    if not lines:
        return None
    values = [value for line in lines for value in line.values]
    low, high, marks = _scale(min(0.0, *values), max(1.0 if max(values) > 0.1 else 0.0, *values))
    span = high - low

    def across(value: float) -> float:
        return (value - low) / span * UNITS

    strokes = tuple(Stroke(thread(line.letter), line.letter, _path(line, spots, across)) for line in lines)
    places = tuple(Mark(f"{mark:g}", round(across(mark) / UNITS * 100, 2)) for mark in marks)
    table = {str(layer): tuple(f"{line.values[layer]:.3g}" for line in lines) for layer in range(len(spots))}
    return CurvePicture(parameter, strokes, places, height, table)


def _path(line: Line, spots: Sequence[float], across: Callable[[float], float]) -> str:
    points = [(across(value), spot) for value, spot in zip(line.values, spots, strict=True)]
    if len(points) == 1:
        points = [(points[0][0], points[0][1] - 4), (points[0][0], points[0][1] + 4)]
    kept = [
        point for index, point in enumerate(points) if index in (0, len(points) - 1) or not _straight(points, index)
    ]
    return "M" + "L".join(f"{x:.1f} {y:g}" for x, y in kept)


def _straight(points: Sequence[tuple[float, float]], index: int) -> bool:
    (x0, y0), (x1, y1), (x2, y2) = points[index - 1 : index + 2]
    return abs((x1 - x0) * (y2 - y1) - (x2 - x1) * (y1 - y0)) < 1e-6


def _scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round ends and two to five marks between them."""
    span = (high - low) or 1.0
    size = 10.0 ** len(str(int(span))) if span >= 1 else 1.0
    while size > span:
        size /= 10
    step = next(size * nice for nice in _NICE if span / (size * nice) <= 4)
    if span <= 1.0 < span * 2 + 1e-9 and abs(span - 1.0) < 1e-9:
        step = 0.5
    first, last = int(low // step), int(-(-high // step))
    marks = [round(index * step, 10) for index in range(first, last + 1)]
    return marks[0], marks[-1], marks
