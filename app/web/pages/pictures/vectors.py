"""What a method does, shown on two-dimensional vectors with the recipe's own numbers.

The parents are fixed example vectors; the merged one is computed by the method's formula, so that moving a slider moves
the arrow. Lengths are in units of the drawing, angles in degrees, y upwards until the very end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import acos, cos, degrees, hypot, radians, sin
from statistics import NormalDist

from app.web.pages.pictures.threads import thread

WIDTH, HEIGHT, MARGIN = 260.0, 116.0, 14.0
_ANGLES = (56.0, 15.0, -9.0, 37.0, -26.0, 72.0, 3.0, 27.0)
_LENGTHS = (0.92, 1.3, 0.82, 1.1, 0.72, 0.7, 1.0, 0.85)
Vector = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Parent:
    """One parent of the picture: its letter and its numbers, curves already averaged."""

    letter: str
    weight: float = 1.0
    density: float = 1.0


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

    origin: Vector
    origin_label: str
    arrows: tuple[Arrow, ...]
    merged: Arrow
    trail: str = ""


def draw(method: str, parents: Sequence[Parent], settings: Mapping[str, float], *, base_letter: str = "") -> (
    VectorPicture | None
):  # fmt: skip
    """The picture for a method, or None where arrows say nothing (passthrough). ``settings`` are the shared
    parameters by name, switches as 0 and 1."""
    if method == "passthrough":
        return None
    if method in _PAIRS:
        return _pair(method, parents, settings, base_letter)
    shown = list(parents[: len(_ANGLES)]) or [Parent("A"), Parent("B")]
    vectors = [_polar(_ANGLES[i], _LENGTHS[i]) for i in range(len(shown))]
    if method in _ON_THE_SPHERE:
        vectors = [_polar(_ANGLES[i] + 12, 1.15) for i in range(len(shown))]
        merged = _on_sphere(vectors, [1.0] * len(shown) if method == "karcher" else [one.weight for one in shown])
        return _place("0", shown, vectors, merged, trail=_arc(vectors))
    if method == "linear":
        return _place("0", shown, vectors, _weighted(vectors, shown, settings), trail="")
    merged = _MERGES.get(method, _task_arithmetic)(vectors, shown, settings)
    factor = settings.get("lambda", 1.0)
    return _place("base", shown, vectors, (merged[0] * factor, merged[1] * factor), trail="")


def kept_by_size(density: float) -> float:
    """How much of a change's energy its largest ``density`` share of entries holds, entries being normal:
    ``2 (Q(z) + z φ(z))`` with ``z = Φ⁻¹(1 - density/2)``."""
    if density >= 1:
        return 1.0
    if density <= 0:
        return 0.0
    normal = NormalDist()
    z = normal.inv_cdf(1 - density / 2)
    return 2 * ((1 - normal.cdf(z)) + z * normal.pdf(z))


def _polar(angle: float, length: float) -> Vector:
    return length * cos(radians(angle)), length * sin(radians(angle))


def _angle(a: Vector, b: Vector) -> float:
    size = hypot(*a) * hypot(*b)
    return degrees(acos(max(-1.0, min(1.0, (a[0] * b[0] + a[1] * b[1]) / size)))) if size else 0.0


def _sum(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    return (
        sum(v[0] * w for v, w in zip(vectors, weights, strict=True)),
        sum(v[1] * w for v, w in zip(vectors, weights, strict=True)),
    )


def _scaled(vector: Vector, factor: float) -> Vector:
    return vector[0] * factor, vector[1] * factor


def _weighted(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:
    weights = [one.weight for one in parents]
    total = sum(weights)
    merged = _sum(vectors, weights)
    return _scaled(merged, 1 / total) if settings.get("normalize", 1.0) and abs(total) > 1e-6 else merged


def _trimmed(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> list[Vector]:
    """The changes after the small entries are gone. With rescaling nothing is lost on average."""
    if settings.get("rescale"):
        return list(vectors)
    return [_scaled(v, kept_by_size(one.density)) for v, one in zip(vectors, parents, strict=True)]


def _task_arithmetic(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:
    return _weighted(_trimmed(vectors, parents, settings), parents, {"normalize": settings.get("normalize", 0.0)})


def _ties(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:
    """The sign vote of TIES (2306.01708), one vote a coordinate."""
    trimmed = _trimmed(vectors, parents, settings)
    merged = []
    for axis in (0, 1):
        votes = [(v[axis] * one.weight, one.weight) for v, one in zip(trimmed, parents, strict=True)]
        elected = sum(value for value, _ in votes) >= 0
        agreeing = [(value, weight) for value, weight in votes if value and (value > 0) == elected]
        total = sum(weight for _, weight in agreeing)
        divide = total if settings.get("normalize", 1.0) and abs(total) > 1e-6 else 1.0
        merged.append(sum(value for value, _ in agreeing) / divide)
    return merged[0], merged[1]


def _model_stock(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:  # noqa: ARG001
    """``t = k cos θ / (1 + (k-1) cos θ)`` with the mean angle (2403.19522)."""
    k = len(vectors)
    pairs = list(combinations(vectors, 2))
    cosine = cos(radians(sum(_angle(a, b) for a, b in pairs) / len(pairs))) if pairs else 1.0
    ratio = max(0.0, k * cosine / (1 + (k - 1) * cosine))
    return _scaled(_sum(vectors, [1 / k] * k), ratio)


def _sce(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:  # noqa: ARG001
    """Weights by the size of each change, then the minority signs dropped (2408.07990)."""
    energies = [hypot(*v) ** 2 for v in vectors]
    weighed = [
        Parent(one.letter, energy / (sum(energies) or 1.0)) for one, energy in zip(parents, energies, strict=True)
    ]
    return _ties(vectors, weighed, {"normalize": 1.0})


def _mean(vectors: Sequence[Vector], parents: Sequence[Parent], settings: Mapping[str, float]) -> Vector:  # noqa: ARG001
    return _sum(vectors, [1 / len(vectors)] * len(vectors))


def _on_sphere(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """The weighted mean of directions and of lengths."""
    total = sum(weights) or 1.0
    x, y = _sum([_scaled(v, 1 / hypot(*v)) for v in vectors], weights)
    length = sum(hypot(*v) * w for v, w in zip(vectors, weights, strict=True)) / total
    size = hypot(x, y) or 1.0
    return x / size * length, y / size * length


_Merge = Callable[[Sequence[Vector], Sequence[Parent], Mapping[str, float]], Vector]
_MERGES: Mapping[str, _Merge] = {
    "ties": _ties,
    "dare_ties": _ties,
    "della": _ties,
    "breadcrumbs_ties": _ties,
    "model_stock": _model_stock,
    "sce": _sce,
    "ram": _mean,
    "ramplus_tl": _mean,
}
_ON_THE_SPHERE = ("multislerp", "karcher", "nuslerp")
_PAIRS = ("slerp", "nearswap", "arcee_fusion")


def _pair(method: str, parents: Sequence[Parent], settings: Mapping[str, float], base_letter: str) -> VectorPicture:
    """Methods that go from the base to one other parent."""
    other = next((one for one in parents if one.letter != base_letter), Parent("B"))
    first, second = _polar(66, 1.15), _polar(6, 1.15)
    ends = [Parent(base_letter), other]
    if method == "slerp":
        t = max(0.0, min(1.0, settings.get("t", 0.5)))
        return _place("0", ends, [first, second], _polar(66 - 60 * t, 1.15), trail=_arc([first, second]))
    delta = (second[0] - first[0], second[1] - first[1])
    if method == "nearswap":
        reach = settings.get("t", 0.001) * 100
        parts = [max(0.0, min(1.0, reach / (abs(part) or 1.0))) * part for part in delta]
    else:
        parts = [part if abs(part) == max(map(abs, delta)) else 0.0 for part in delta]
    return _place("0", ends, [first, second], (first[0] + parts[0], first[1] + parts[1]), trail="")


def _arc(vectors: Sequence[Vector]) -> str:
    """Marks that the ends are joined by the arc between them; drawn once everything is placed."""
    return "arc" if len(vectors) > 1 else ""


def _place(
    origin_label: str, parents: Sequence[Parent], vectors: Sequence[Vector], merged: Vector, *, trail: str
) -> VectorPicture:
    """Scale everything into the drawing and turn y downwards."""
    points = [(0.0, 0.0), *vectors, merged]
    low_x, high_x = min(p[0] for p in points), max(p[0] for p in points)
    low_y, high_y = min(p[1] for p in points), max(p[1] for p in points)
    scale = min(
        (WIDTH - 2 * MARGIN - 72) / max(high_x - low_x, 0.5), (HEIGHT - 2 * MARGIN) / max(high_y - low_y, 0.5), 150.0
    )
    left = 36 + (WIDTH - 72 - 46 - (high_x - low_x) * scale) / 2 - low_x * scale
    top = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN - (high_y - low_y) * scale) / 2 + low_y * scale

    def spot(point: Vector) -> Vector:
        return round(left + point[0] * scale, 1), round(top - point[1] * scale, 1)

    origin = spot((0.0, 0.0))
    arrows = tuple(
        _arrow(one.letter, one.letter or "base", origin, spot(vector))
        for one, vector in zip(parents, vectors, strict=True)
    )
    path = ""
    if trail:
        order = sorted(vectors, key=lambda v: _angle((1.0, -0.6), v))
        radius = round(hypot(*order[0]) * scale, 1)
        (x1, y1), (x2, y2) = spot(order[0]), spot(order[-1])
        path = f"M{x1} {y1}A{radius} {radius} 0 0 0 {x2} {y2}"
    return VectorPicture(origin, origin_label, arrows, _clear(_arrow("", "merged", origin, spot(merged)), arrows), path)


def _clear(merged: Arrow, others: Sequence[Arrow]) -> Arrow:
    """The merged arrow with its label lifted off the others' labels and tips."""
    for one in others:
        if abs(one.ly - merged.ly) < 11 and -10 < one.lx - merged.lx < 48:
            return replace(merged, ly=round(one.ly - 12, 1))
    return merged


def _arrow(letter: str, label: str, start: Vector, end: Vector) -> Arrow:
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
