"""A heat map of a comparison: one row a layer, the last on top, one column a module; what is outside is one wide cell.

Places across are percents of the drawing's width, so that its letters keep their size; down they are CSS pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.comparing.comparison import Comparison, Place
from app.comparing.measures import Measure, Subject
from app.comparing.telling import brief, told

HEADER = 18
STEPS, BOTH_WAYS = 10, 9
_ROOMY, _TIGHT = 21, 9
_MOST_ROOMY = 64
"""Layers that are shown with room for their numbers."""
_GAP = 5
_SPACE = 0.5
"""Between columns, in percent."""
_LEAST_RANGE = 0.05
"""A scale that goes both ways reaches at least so far: noise around 0 is not to look like a storm."""


@dataclass(frozen=True, slots=True)
class Cell:
    """``colour`` is the class of its step, empty where there is no value; ``text`` is short, empty where there is no
    room for it, ``value`` whole; ``key`` names the place in addresses, empty where the layer has no such module."""

    x: float
    y: int
    width: float
    colour: str
    text: str
    value: str
    title: str
    key: str
    picked: bool

    @property
    def centre(self) -> float:
        return round(self.x + self.width / 2, 2)


@dataclass(frozen=True, slots=True)
class Scale:
    """What the colours stand for: from ``low`` to ``high``, evenly."""

    low: float
    high: float
    diverging: bool

    def step(self, value: float) -> str:
        count = BOTH_WAYS if self.diverging else STEPS
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return f"{'d' if self.diverging else 'h'}{min(count - 1, max(0, int(share * count)))}"

    @property
    def colours(self) -> tuple[str, ...]:
        letter, count = ("d", BOTH_WAYS) if self.diverging else ("h", STEPS)
        return tuple(f"{letter}{number}" for number in range(count))


@dataclass(frozen=True, slots=True)
class Row:
    """``label`` in full for the table; ``short`` beside the picture, empty where there is no room for it."""

    label: str
    short: str
    y: int
    wide: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    measure: Measure
    columns: tuple[tuple[str, float], ...]
    """Name and centre."""
    rows: tuple[Row, ...]
    scale: Scale
    low: str
    high: str
    pitch: int
    height: int


def draw(comparison: Comparison, measure: Measure, subject: Subject, picked: Place | None = None) -> HeatMap:
    """The heat map of one measure of one subject. ``picked``: the cell whose tensors are shown."""
    values = {place: comparison.value(measure.name, subject, place) for place in comparison.cells}
    return lay_out(measure, values, comparison.rows, comparison.columns, picked)


def lay_out(
    measure: Measure,
    values: Mapping[Place, float | None],
    labels: Sequence[int | str],
    columns: Sequence[str],
    picked: Place | None = None,
) -> HeatMap:
    """The heat map of these values: None where nothing was measured. ``labels``: the layers' numbers and the names of
    what lies outside them, in the order a model runs."""
    layers = [one for one in labels if isinstance(one, int)]
    scale = _scale(measure, [one for one in values.values() if one is not None])
    pitch = _ROOMY if len(layers) <= _MOST_ROOMY else _TIGHT
    width = round(100 / max(1, len(columns)), 3)

    def cell(place: Place, x: float, y: int, wide: float) -> Cell:
        value = values.get(place)
        room = pitch == _ROOMY or place[0] is None
        text = brief(measure, value) if room and value is not None else ""
        colour = "" if value is None else scale.step(value)
        whole = told(measure, value)
        title = f"{place_name(place)}: {'nothing' if value is None else whole}"
        key = place_key(place) if place in values else ""
        return Cell(round(x, 2), y, round(wide, 2), colour, text, whole, title, key, place == picked)

    rows: list[Row] = []
    y = HEADER
    for label in reversed(labels):
        wide = isinstance(label, str)
        if rows and wide != rows[-1].wide:
            y += _GAP
        height = _ROOMY if wide else pitch
        if isinstance(label, str):
            cells: tuple[Cell, ...] = (cell((None, label), 0, y, 100 - _SPACE),)
        else:
            named = enumerate(columns)
            cells = tuple(cell((label, name), number * width, y, width - _SPACE) for number, name in named)
        rows.append(Row(str(label), _short(label, layers, pitch), y, wide, cells))
        y += height
    heads = tuple((name, round((number + 0.5) * width, 2)) for number, name in enumerate(columns))
    return HeatMap(measure, heads, tuple(rows), scale, told(measure, scale.low), told(measure, scale.high), pitch, y)


def place_key(place: Place) -> str:
    """``12.up``, or ``-.embeddings`` outside the layers."""
    return f"{'-' if place[0] is None else place[0]}.{place[1]}"


def read_place(key: str, among: Sequence[Place]) -> Place | None:
    return next((place for place in among if place_key(place) == key), None)


def place_name(place: Place) -> str:
    return place[1] if place[0] is None else f"layer {place[0]}, {place[1]}"


def _scale(measure: Measure, values: Sequence[float]) -> Scale:
    """From nothing to the largest value; cosines of weights from the least of them to 1; both ways alike from 0."""
    if measure.diverging:
        reach = max([_LEAST_RANGE, *map(abs, values)])
        return Scale(-reach, reach, True)
    if measure.unit == "cosine":
        return Scale(min(values, default=0.0), 1.0, False)
    return Scale(0.0, max(values, default=0.0), False)


def _short(label: int | str, layers: Sequence[int], pitch: int) -> str:
    if isinstance(label, str):
        return {"embeddings": "emb", "final norm": "norm"}.get(label, label if len(label) < 6 else f"{label[:4]}…")
    return str(label) if pitch == _ROOMY or label % 8 == 0 or label == layers[-1] else ""
