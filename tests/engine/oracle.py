"""The merge methods in plain NumPy, in float64, straight from their formulas.

Slow, short and independent of the engine: what a kernel computes is compared with this. Sources: the papers named in
``app/recipe/catalogue.py``, with mergekit 0.1.5's defaults and thresholds where a paper leaves them open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from tests.engine.oracle_deltas import DELTA_METHODS, chosen, task_vectors

Array = np.ndarray
Values = Mapping[str, Any]

TENSOR_DEFAULTS: Mapping[str, Values] = {
    "linear": {"normalize": True},
    "nuslerp": {"nuslerp_flatten": True, "nuslerp_row_wise": False},
    "multislerp": {"normalize_weights": True, "eps": 1e-8},
    "karcher": {"max_iter": 10, "tol": 1e-5},
    "task_arithmetic": {"normalize": False, "rescale": False, "lambda": 1.0},
    "transfer": {"lambda": 1.0},
    "consensus_ta": {"k": 2, "normalize": False, "lambda": 1.0},
    "consensus_ties": {"k": 2, "normalize": False, "lambda": 1.0},
    "ties": {"normalize": True, "rescale": False, "lambda": 1.0},
    "dare_linear": {"normalize": False, "rescale": True, "lambda": 1.0},
    "dare_ties": {"normalize": False, "rescale": True, "lambda": 1.0},
    "breadcrumbs": {"normalize": False, "rescale": False, "lambda": 1.0},
    "breadcrumbs_ties": {"normalize": False, "rescale": False, "lambda": 1.0},
    "della": {"normalize": True, "rescale": True, "lambda": 1.0},
    "della_linear": {"normalize": False, "rescale": True, "lambda": 1.0},
    "model_stock": {"filter_wise": False},
    "sce": {"select_topk": 1.0},
    "ram": {"epsilon": 1e-5},
    "ramplus_tl": {"r": 0.1, "alpha": 0.2, "epsilon": 1e-5},
}
INPUT_DEFAULTS: Values = {"density": 1.0, "gamma": 0.01, "epsilon": 0.15, "scale": 1.0, "threshold": 0.4, "weight": 1.0}


def merge(
    method: str,
    base: Array | None,
    inputs: Sequence[Array],
    parameters: Values,
    input_parameters: Sequence[Values],
    masks: Sequence[Array] | None = None,
) -> Array:
    """One tensor merged: float64, of the inputs' shape.

    ``base`` is apart from ``inputs``; slerp, nearswap and arcee_fusion take the base and one input. ``masks`` are the
    random methods' draws, one boolean array an input (True: kept), used where a density is below 1. Parameters that
    are left out have the catalogue's defaults. Equal magnitudes at a cut-off are kept in index order.
    """
    values = {**TENSOR_DEFAULTS.get(method, {}), **parameters}
    each = [{**INPUT_DEFAULTS, **one} for one in input_parameters]
    tensors = [np.asarray(one, np.float64) for one in inputs]
    origin = None if base is None else np.asarray(base, np.float64)
    if method in DELTA_METHODS:
        return task_vectors(method, _needed(origin), tensors, values, each, masks)
    return _OTHER_METHODS[method](origin, tensors, values, each)


def _needed(base: Array | None) -> Array:
    if base is None:
        raise ValueError("this method needs a base")
    return base


def _norm(x: Array) -> float:
    return float(np.linalg.norm(x.ravel()))


# --- averages and arcs ------------------------------------------------------------------------------------------------


def _linear(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    weights = [one["weight"] for one in each]
    total = sum(weights) if p["normalize"] else 1.0
    return np.sum([w * x for w, x in zip(weights, xs, strict=True)], axis=0) / total


def _passthrough(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    (x,) = xs
    return x * each[0]["scale"]


def _slerp(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    a, (o,) = _needed(base), xs
    t = p["t"]
    units = [x / n if (n := _norm(x)) > 1e-8 else x for x in (a, o)]
    c = float(np.clip(np.sum(units[0] * units[1]), -1, 1))
    if abs(c) > 0.9995:
        return (1 - t) * a + t * o
    angle = math.acos(c)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * o) / math.sin(angle)


def _nuslerp(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    w1, w2 = (one["weight"] for one in each)
    t = 0.5 if abs(w1 + w2) < 1e-6 else w2 / (w1 + w2)
    origin = np.zeros_like(xs[0]) if base is None else base
    v1, v2 = (x - origin for x in xs)
    axis = None if p["nuslerp_flatten"] or v1.ndim == 0 else (0 if p["nuslerp_row_wise"] else -1)
    d1, d2 = (v / np.maximum(np.sqrt(np.sum(v * v, axis=axis, keepdims=True)), 1e-7) for v in (v1, v2))
    c = np.clip(np.sum(d1 * d2, axis=axis, keepdims=True), -1, 1)
    collinear = 1 - c * c <= 1e-16
    angle = np.arccos(np.where(collinear, 0.5, c))
    arc = (np.sin((1 - t) * angle) * v1 + np.sin(t * angle) * v2) / np.sin(angle)
    return origin + np.where(collinear, (1 - t) * v1 + t * v2, arc)


def _multislerp(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    if len(xs) == 1:
        return xs[0]
    origin = np.zeros_like(xs[0]) if base is None else base
    eps = p["eps"]
    vs = [x - origin for x in xs]
    ws = np.array([one["weight"] for one in each], np.float64)
    ws = ws / ws.sum() if p["normalize_weights"] else ws
    us = [v / (_norm(v) + eps) for v in vs]
    m = sum(w * u for w, u in zip(ws, us, strict=True))
    if _norm(m) < eps:
        if len(xs) != 2:
            raise ValueError("the directions cancel out")
        return ws[0] * vs[0] + ws[1] * vs[1] + origin
    m = m / _norm(m)
    g = sum(w * (u - np.sum(u * m) * m) for w, u in zip(ws, us, strict=True))
    r = _norm(g) + eps
    length = sum(w * _norm(v) for w, v in zip(ws, vs, strict=True))
    return (m * math.cos(r) + g * math.sin(r) / r) * length + origin


def _karcher(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    tol = p["tol"]
    norms = [_norm(x) for x in xs]
    us = [x / n for x, n in zip(xs, norms, strict=True) if n > tol]
    if not us:
        return np.zeros_like(xs[0])
    m = np.mean(us, axis=0)
    m = us[0] if _norm(m) < tol else m / _norm(m)
    for _ in range(p["max_iter"]):
        g = np.zeros_like(m)
        for u in us:
            d = float(np.clip(np.sum(m * u), -1, 1))
            angle = math.acos(d)
            if angle >= tol:
                g += angle / math.sin(angle) * (u - d * m) / len(us)
        step = _norm(g)
        if step < tol:
            break
        m = math.cos(step) * m + math.sin(step) * g / step
        m = m / _norm(m)
    return float(np.mean(norms)) * m


def _model_stock(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b = _needed(base)
    offsets = [x - b for x in xs]
    axis = -1 if p["filter_wise"] and b.ndim > 0 else None
    k = len(xs)
    cosines = []
    for one, two in combinations(offsets, 2):
        dot, n1, n2 = (np.sum(v, axis=axis, keepdims=True) for v in (one * two, one * one, two * two))
        cosines.append(np.clip(dot / np.maximum(np.sqrt(n1) * np.sqrt(n2), 1e-6), -1, 1))
    c = np.mean(cosines, axis=0)
    below = 1 + (k - 1) * c
    small = np.abs(below) < 1e-6
    t = np.where(small, 0.0, k * c / np.where(small, 1.0, below))
    return t * np.mean(xs, axis=0) + (1 - t) * b


# --- the others -------------------------------------------------------------------------------------------------------


def _sce(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b = _needed(base)
    vs = np.stack([x - b for x in xs])
    if p["select_topk"] < 1:
        variance = vs.var(axis=0)
        keep = max(0, int(np.count_nonzero(variance) * p["select_topk"]))
        vs = vs * chosen(b, np.argsort(-variance.ravel(), kind="stable")[:keep])
    majority = np.where(vs.sum(axis=0) >= 0, 1.0, -1.0)
    agrees = np.sign(vs) == majority
    energy = np.array([np.mean(v * v) for v in vs])
    shares = energy / energy.sum() if energy.sum() > 0 else np.full(len(xs), 1 / len(xs))
    shares = shares.reshape(-1, *([1] * b.ndim)) * agrees
    return b + (shares * vs).sum(axis=0) / np.maximum(shares.sum(axis=0), 1e-6)


def _nearswap(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b, (x,) = _needed(base), xs
    w = np.clip(p["t"] / np.maximum(np.abs(b - x), 1e-6), 0, 1)
    return w * x + (1 - w) * b


def _arcee_fusion(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b, (x,) = _needed(base), xs
    if b.size > 1_000_000:
        raise ValueError("the quartiles of more than a million entries are sampled; no exact answer exists")
    px, pb = (_softmax(v) + 1e-8 for v in (x, b))
    importance = np.abs(x - b) * np.sum(px * np.log(px / pb), axis=-1, keepdims=b.ndim > 0)
    ordered = np.sort(importance.ravel())
    q1, median, q3 = (ordered[int(q * (ordered.size - 1))] for q in (0.25, 0.5, 0.75))
    return np.where(importance >= median + 1.5 * (q3 - q1), x, b)


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _ram(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b = _needed(base)
    vs = np.stack([x - b for x in xs])
    changed = np.abs(vs) > p["epsilon"]
    count = changed.sum(axis=0)
    unique, shared = count == 1, count > 1
    result = b.copy()
    for v, z in zip(vs, changed, strict=True):
        ratio = (z & shared).sum() / max((z & unique).sum(), p["epsilon"])
        boost = 1 + p.get("r", 0.0) * float(np.clip(ratio, 0, p.get("alpha", 0.0)))
        result += z * v * (boost * unique + shared / np.maximum(count, 1))
    return result


def _transfer(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    b, target = _needed(base), xs[0]
    return target + p["lambda"] * sum(one.get("weight", 1.0) * (x - b) for x, one in zip(xs[1:], each[1:], strict=True))


def _consensus_ta(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    weights = [one["weight"] for one in each]
    b = _needed(base)
    merged = sum(w * (x - b) for w, x in zip(weights, xs, strict=True))
    divisor = sum(weights) if p["normalize"] and abs(sum(weights)) >= 1e-8 else 1.0
    return b + p["lambda"] * _heard(b, xs, p, each, merged) * merged / divisor


def _consensus_ties(base: Array | None, xs: list[Array], p: Values, each: list[Values]) -> Array:
    """The TALL masks are made with the sum that TIES elects, before any division."""
    b = _needed(base)
    ties = {"rescale": False, "lambda": 1.0}
    merged, change = (task_vectors("ties", b, xs, {**ties, "normalize": one}, each, None) - b
                      for one in (False, p["normalize"]))  # fmt: skip
    return b + p["lambda"] * _heard(b, xs, p, each, merged) * change


def _heard(b: Array, xs: list[Array], p: Values, each: list[Values], merged: Array) -> Array:
    """Where at least k tasks find their weighted change in the merged one: |v| ≥ τ |m − v|."""
    vs = [one["weight"] * (x - b) for x, one in zip(xs, each, strict=True)]
    voices = [np.abs(v) >= one["threshold"] * np.abs(merged - v) for v, one in zip(vs, each, strict=True)]
    return np.sum(voices, axis=0) >= p["k"]


_OTHER_METHODS: Mapping[str, Callable[[Array | None, list[Array], Values, list[Values]], Array]] = {
    "linear": _linear,
    "slerp": _slerp,
    "nuslerp": _nuslerp,
    "multislerp": _multislerp,
    "karcher": _karcher,
    "transfer": _transfer,
    "consensus_ta": _consensus_ta,
    "consensus_ties": _consensus_ties,
    "model_stock": _model_stock,
    "sce": _sce,
    "nearswap": _nearswap,
    "arcee_fusion": _arcee_fusion,
    "passthrough": _passthrough,
    "ram": _ram,
    "ramplus_tl": _ram,
}
METHODS = frozenset(DELTA_METHODS) | frozenset(_OTHER_METHODS)
