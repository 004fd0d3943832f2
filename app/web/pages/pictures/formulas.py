"""The merge methods on vectors of a few numbers, for pictures: the true formulas, with what became of every entry.

The same maths as the engine's, in plain Python: the web side carries no array library, and a picture needs the steps
that a kernel runs through without keeping. Sources: the papers named in ``app/recipe/catalogue.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import acos, cos, exp, fsum, hypot, log, sin

from app.recipe.catalogue import METHODS
from app.web.pages.pictures.small_vectors import Row, Values, Vector, combined, dot, make_rows, scaled, signs_that_win
from app.web.pages.pictures.thinning import task_vectors


@dataclass(frozen=True, slots=True)
class Example:
    """What is merged: ``base`` (zeros where the method has none), the other parents, their own parameters, and for the
    random methods a number from 0 to 1 an entry: an entry is kept where the number is below its chance."""

    base: Vector
    inputs: Sequence[Vector]
    shared: Values
    each: Sequence[Values]
    draws: Sequence[Vector] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """``result`` has the parents' length. ``rows``, one a parent, tell what became of its change from the base; empty
    for the methods that never look at single entries."""

    result: Vector
    rows: tuple[Row, ...] = ()


def merge(method: str, example: Example) -> Merged:
    """The merged vector. Parameters that are left out have the catalogue's defaults.

    Where the engine would divide by zero (weights that cancel out) the picture goes undivided.
    """
    about = METHODS[method]
    defaults = {one.name: float(one.default) for one in about.parameters if isinstance(one.default, (bool, int, float))}
    filled = Example(
        example.base, example.inputs, defaults | dict(example.shared),
        [defaults | {"weight": 1.0} | dict(one) for one in example.each], example.draws,
    )  # fmt: skip
    return _MERGES[method](filled) if method in _MERGES else _task_vectors(method, filled)


def _moved(one: Example) -> list[Vector]:
    return [tuple(x - b for x, b in zip(vector, one.base, strict=True)) for vector in one.inputs]


def _on_base(one: Example, change: Sequence[float]) -> Vector:
    return tuple(b + v for b, v in zip(one.base, change, strict=True))


def _weights(one: Example) -> list[float]:
    return [values["weight"] for values in one.each]


def _linear(one: Example) -> Merged:
    weights = _weights(one)
    below = fsum(weights) if one.shared["normalize"] and fsum(weights) else 1.0
    return Merged(combined(one.inputs, [weight / below for weight in weights]))


def _arc(a: Vector, o: Vector, t: float, cosine: float) -> Vector:
    angle = acos(cosine)
    return combined([a, o], [sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)])


def _slerp(one: Example) -> Merged:
    """Nearly parallel and nearly opposite vectors are joined by the chord."""
    a, o, t = one.base, one.inputs[0], one.shared["t"]
    lengths = [size if (size := hypot(*v)) > 1e-8 else 1.0 for v in (a, o)]
    cosine = max(-1.0, min(1.0, dot(a, o) / (lengths[0] * lengths[1])))
    if abs(cosine) > 0.9995:
        return Merged(combined([a, o], [1 - t, t]))
    return Merged(_arc(a, o, t, cosine))


def _nuslerp(one: Example) -> Merged:
    first, second = _weights(one)
    t = 0.5 if abs(first + second) < 1e-6 else second / (first + second)
    v1, v2 = _moved(one)
    cosine = max(-1.0, min(1.0, dot(v1, v2) / (max(hypot(*v1), 1e-7) * max(hypot(*v2), 1e-7))))
    change = combined([v1, v2], [1 - t, t]) if 1 - cosine**2 <= 1e-16 else _arc(v1, v2, t, cosine)
    return Merged(_on_base(one, change))


def _multislerp(one: Example) -> Merged:
    if len(one.inputs) == 1:
        return Merged(tuple(one.inputs[0]))
    eps, vs, ws = one.shared["eps"], _moved(one), _weights(one)
    if one.shared["normalize_weights"] and fsum(ws):
        ws = [weight / fsum(ws) for weight in ws]
    us = [scaled(v, 1 / (hypot(*v) + eps)) for v in vs]
    mean = combined(us, ws)
    if hypot(*mean) < max(eps, 1e-12):
        return Merged(_on_base(one, combined(vs, ws)))
    mean = scaled(mean, 1 / hypot(*mean))
    turn = combined([_across(u, mean) for u in us], ws)
    size = hypot(*turn) + eps
    length = fsum(weight * hypot(*v) for weight, v in zip(ws, vs, strict=True))
    return Merged(_on_base(one, scaled(combined([mean, turn], [cos(size), sin(size) / (size or 1.0)]), length)))


def _across(vector: Vector, unit: Vector) -> Vector:
    """The part of a vector at right angles to a unit vector."""
    along = dot(vector, unit)
    return tuple(v - along * u for v, u in zip(vector, unit, strict=True))


def _karcher(one: Example) -> Merged:
    tol, lengths = one.shared["tol"], [hypot(*x) for x in one.inputs]
    us = [scaled(x, 1 / size) for x, size in zip(one.inputs, lengths, strict=True) if size > tol]
    if not us:
        return Merged(scaled(one.inputs[0], 0.0))
    share = [1 / len(us)] * len(us)
    mean = combined(us, share)
    mean = us[0] if hypot(*mean) < tol else scaled(mean, 1 / hypot(*mean))
    for _ in range(int(one.shared["max_iter"])):
        turns = []
        for u in us:
            cosine = max(-1.0, min(1.0, dot(mean, u)))
            angle = acos(cosine)
            turns.append(scaled(_across(u, mean), angle / sin(angle) if angle >= tol else 0.0))
        turn = combined(turns, share)
        size = hypot(*turn)
        if size < tol:
            break
        mean = combined([mean, turn], [cos(size), sin(size) / size])
        mean = scaled(mean, 1 / hypot(*mean))
    return Merged(scaled(mean, fsum(lengths) / len(lengths)))


def _transfer(one: Example) -> Merged:
    """The first parent, and what the others learnt on top of it."""
    changes = _moved(one)
    factors = [1.0, *(one.shared["lambda"] * weight for weight in _weights(one)[1:])]
    return Merged(_on_base(one, combined(changes, factors)))


def _model_stock(one: Example) -> Merged:
    """``t = k cos θ / (1 + (k-1) cos θ)``, cos θ the mean over all pairs."""
    changes = _moved(one)
    k = len(changes)
    cosines = [
        max(-1.0, min(1.0, dot(a, b) / max(hypot(*a) * hypot(*b), 1e-6))) for a, b in combinations(changes, 2)
    ] or [1.0]
    cosine = fsum(cosines) / len(cosines)
    below = 1 + (k - 1) * cosine
    t = 0.0 if abs(below) < 1e-6 else k * cosine / below
    return Merged(_on_base(one, scaled(combined(changes, [1 / k] * k), t)))


def _sce(one: Example) -> Merged:
    changes = _moved(one)
    n, size = len(changes), len(one.base)
    if one.shared["select_topk"] < 1:
        means = [fsum(v[i] for v in changes) / n for i in range(size)]
        spread = [fsum((v[i] - means[i]) ** 2 for v in changes) / n for i in range(size)]
        most = max(0, int(sum(value != 0 for value in spread) * one.shared["select_topk"]))
        chosen = set(sorted(range(size), key=lambda i: -spread[i])[:most])
        selected = [tuple(v[i] if i in chosen else 0.0 for i in range(size)) for v in changes]
    else:
        selected = changes
    energies = [fsum(value * value for value in v) / size for v in selected]
    shares = [1 / n] * n if fsum(energies) < 1e-6 else [energy / fsum(energies) for energy in energies]
    agrees = signs_that_win(selected)
    change = []
    for i in range(size):
        below = max(fsum(share for share, agree in zip(shares, agrees, strict=True) if agree[i]), 1e-6)
        above = fsum(share * v[i] for share, v, agree in zip(shares, selected, agrees, strict=True) if agree[i])
        change.append(above / below)
    weighed = [scaled(v, share * n) for v, share in zip(selected, shares, strict=True)]
    whole = [scaled(v, share * n) for v, share in zip(changes, shares, strict=True)]
    return Merged(_on_base(one, change), make_rows(whole, weighed, agrees))


def _nearswap(one: Example) -> Merged:
    (change,) = _moved(one)
    part = tuple(value * max(0.0, min(1.0, one.shared["t"] / max(abs(value), 1e-6))) for value in change)
    return Merged(_on_base(one, part), make_rows([change], [part]))


def _arcee_fusion(one: Example) -> Merged:
    """Takes the other parent where |x - b| · KL(softmax x ‖ softmax b) is at least median + 1.5 (Q3 - Q1)."""
    (change,) = _moved(one)
    new, old = _softmax(one.inputs[0]), _softmax(one.base)
    distance = fsum(p * log(p / q) for p, q in zip(new, old, strict=True))
    importance = [abs(value) * distance for value in change]
    ordered = sorted(importance)
    q1, median, q3 = (ordered[int(q * (len(ordered) - 1))] for q in (0.25, 0.5, 0.75))
    part = tuple(
        value if weight >= median + 1.5 * (q3 - q1) else 0.0 for value, weight in zip(change, importance, strict=True)
    )
    return Merged(_on_base(one, part), make_rows([change], [part]))


def _softmax(vector: Vector) -> list[float]:
    powers = [exp(value - max(vector)) for value in vector]
    return [power / fsum(powers) + 1e-8 for power in powers]


def _ram(one: Example) -> Merged:
    changes, epsilon = _moved(one), one.shared["epsilon"]
    size = len(one.base)
    touched = [[abs(value) > epsilon for value in v] for v in changes]
    count = [sum(who[i] for who in touched) for i in range(size)]
    parts = []
    for v, mine in zip(changes, touched, strict=True):
        alone = sum(mine[i] and count[i] == 1 for i in range(size))
        together = sum(mine[i] and count[i] > 1 for i in range(size))
        ratio = together / max(alone, epsilon) if max(alone, epsilon) else 0.0
        boost = 1 + one.shared.get("r", 0.0) * max(0.0, min(one.shared.get("alpha", 0.0), ratio))
        parts.append(tuple(v[i] * (boost if count[i] == 1 else 1 / count[i]) if mine[i] else 0.0 for i in range(size)))
    change = combined(parts, [1.0] * len(parts))
    return Merged(_on_base(one, change), make_rows(changes, parts))


def _task_vectors(method: str, one: Example) -> Merged:
    """Task arithmetic, TIES, DARE, Breadcrumbs and DELLA: thin out, weigh, vote, add."""
    change, rows = task_vectors(method, _moved(one), one.shared, one.each, one.draws)
    return Merged(_on_base(one, change), rows)


_MERGES: Mapping[str, Callable[[Example], Merged]] = {
    "linear": _linear,
    "slerp": _slerp,
    "nuslerp": _nuslerp,
    "multislerp": _multislerp,
    "karcher": _karcher,
    "transfer": _transfer,
    "model_stock": _model_stock,
    "sce": _sce,
    "nearswap": _nearswap,
    "arcee_fusion": _arcee_fusion,
    "ram": _ram,
    "ramplus_tl": _ram,
}
