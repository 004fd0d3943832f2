"""What a method does to whole directions, as arrows in the plane with the recipe's own numbers.

The parents are fixed example vectors; the merged one is computed by the method's formula, so that moving a slider moves
the arrow. Lengths are in units of the drawing, angles in degrees, y upwards until the very end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import atan2, cos, hypot, radians, sin

from app.recipe.catalogue import METHODS
from app.web.pages.pictures.formulas import Example, merge
from app.web.pages.pictures.parents import Parent, others
from app.web.pages.pictures.threads import thread

WIDTH, HEIGHT, MARGIN = 260.0, 116.0, 14.0
_ANGLES = (56.0, 15.0, -9.0, 37.0, -26.0, 72.0, 3.0, 27.0)
_LENGTHS = (0.92, 1.3, 0.82, 1.1, 0.72, 0.7, 1.0, 0.85)
_ON_THE_SPHERE = ("multislerp", "karcher", "nuslerp", "slerp")
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Arrow:
    """From (x1, y1) to (x2, y2) in drawing units. ``letter`` is empty for the merged vector and for a base drawn as
    one of the two; ``head`` is the arrow head as an SVG path, (lx, ly) the place of the label."""

    letter: str
    label: str
    x1: float
    y1: float
    x2: float
    y2: float
    head: str
    lx: float
    ly: float

    @property
    def colour(self) -> str:
        return thread(self.letter)


@dataclass(frozen=True, slots=True)
class VectorPicture:
    """``origin`` is where the arrows start, ``origin_label`` what is there;
    ``trail`` is a dashed SVG path, or empty."""

    origin: Point
    origin_label: str
    arrows: tuple[Arrow, ...]
    merged: Arrow
    trail: str = ""
    kind: str = "arrows"


def draw(
    method: str, parents: Sequence[Parent], settings: Mapping[str, float], *, base_letter: str = "", based: bool = False
) -> VectorPicture:
    """The picture for a method. ``settings`` are the shared parameters by name, switches as 0 and 1; ``based``: the
    recipe names a base, which matters where it is optional."""
    about = METHODS[method]
    shown = others(about, parents, base_letter)[: len(_ANGLES)]
    around = method in _ON_THE_SPHERE
    if about.base_counts:
        shown, points = [Parent(base_letter), *shown], [_polar(66, 1.15), _polar(6, 1.15)]
        example = Example(points[0], points[1:], settings, [shown[1].values])
    else:
        points = [_polar(_ANGLES[i] + 12 * around, 1.15 if around else _LENGTHS[i]) for i in range(len(shown))]
        example = Example((0.0, 0.0), points, settings, [one.values for one in shown])
    x, y = merge(method, example).result
    deltas = about.base == "required" and not about.base_counts
    label = "base" if deltas or (based and about.base == "optional") else "0"
    joined = "arc" if around else "step" if method == "transfer" else ""
    return _place(label, shown, points, (x, y), joined)


def _polar(angle: float, length: float) -> Point:
    return length * cos(radians(angle)), length * sin(radians(angle))


def _place(origin_label: str, parents: Sequence[Parent], points: Sequence[Point], merged: Point, joined: str) -> (
    VectorPicture
):  # fmt: skip
    """Scale everything into the drawing and turn y downwards.

    ``joined``: ``arc`` from tip to tip, ``step`` from the first tip to the merged one, or not at all.
    """
    everything = [(0.0, 0.0), *points, merged]
    low_x, high_x = min(p[0] for p in everything), max(p[0] for p in everything)
    low_y, high_y = min(p[1] for p in everything), max(p[1] for p in everything)
    scale = min(
        (WIDTH - 2 * MARGIN - 72) / max(high_x - low_x, 0.5), (HEIGHT - 2 * MARGIN) / max(high_y - low_y, 0.5), 150.0
    )
    left = 36 + (WIDTH - 72 - 46 - (high_x - low_x) * scale) / 2 - low_x * scale
    top = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN - (high_y - low_y) * scale) / 2 + low_y * scale

    def spot(point: Point) -> Point:
        return round(left + point[0] * scale, 1), round(top - point[1] * scale, 1)

    origin = spot((0.0, 0.0))
    arrows = tuple(
        _arrow(one.letter, one.letter or "base", origin, spot(point))
        for one, point in zip(parents, points, strict=True)
    )
    trail = ""
    if joined == "step":
        trail = "M{} {}L{} {}".format(*spot(points[0]), *spot(merged))
    elif joined and len(points) > 1:
        order = sorted(points, key=lambda point: atan2(point[1], point[0]))
        radius = round(hypot(*order[0]) * scale, 1)
        (x1, y1), (x2, y2) = spot(order[0]), spot(order[-1])
        trail = f"M{x1} {y1}A{radius} {radius} 0 0 0 {x2} {y2}"
    return VectorPicture(
        origin, origin_label, arrows, _clear(_arrow("", "merged", origin, spot(merged)), arrows), trail
    )


def _clear(merged: Arrow, others: Sequence[Arrow]) -> Arrow:
    """The merged arrow with its label lifted off the others' labels and tips, or put below where there is no room."""
    for one in others:
        if abs(one.ly - merged.ly) < 11 and -10 < one.lx - merged.lx < 62:
            above = round(one.ly - 12, 1)
            return replace(merged, ly=above if above > 10 else round(one.ly + 12, 1))
    return merged


def _arrow(letter: str, label: str, start: Point, end: Point) -> Arrow:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = hypot(dx, dy) or 1.0
    ux, uy = dx / length, dy / length
    size = 7.0 if label == "merged" else 6.0
    tail = (end[0] - ux * size, end[1] - uy * size)
    side = size * 0.45
    head = (
        f"M{end[0]:.1f} {end[1]:.1f}L{tail[0] - uy * side:.1f} {tail[1] + ux * side:.1f}"
        f"L{tail[0] + uy * side:.1f} {tail[1] - ux * side:.1f}Z"
    )
    return Arrow(
        letter, label, *start, round(end[0] - ux * 3, 1), round(end[1] - uy * 3, 1), head,
        round(end[0] + ux * 7 + 1, 1), round(end[1] + uy * 7 + 3.5, 1),
    )  # fmt: skip
