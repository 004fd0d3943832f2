"""The oracle's task vectors: TIES, DARE, Breadcrumbs, DELLA and task arithmetic, in float64 (see oracle.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Values = Mapping[str, Any]

DELTA_METHODS: Mapping[str, tuple[str, bool]] = {
    "task_arithmetic": ("none", False),
    "ties": ("largest", True),
    "dare_linear": ("random", False),
    "dare_ties": ("random", True),
    "breadcrumbs": ("middle", False),
    "breadcrumbs_ties": ("middle", True),
    "della": ("random", True),
    "della_linear": ("random", False),
}
"""Method -> (how a delta is thinned out, whether signs are put to the vote)."""


def largest(delta: Array, density: float) -> Array:
    """TIES: the share ``density`` of the entries with the largest magnitudes, at least one."""
    if density >= 1 or density <= 0:
        return np.full(delta.shape, density >= 1)
    keep = max(1, int(density * delta.size))
    return chosen(delta, np.argsort(-np.abs(delta).ravel(), kind="stable")[:keep])


def middle(delta: Array, density: float, gamma: float) -> Array:
    """Breadcrumbs: without the share ``gamma`` of the largest and as many of the smallest as ``density`` asks."""
    if density >= 1:
        return np.full(delta.shape, True)
    keep, top = int(density * delta.size), int(gamma * delta.size)
    bottom = max(0, delta.size - keep - top)
    return chosen(delta, np.argsort(np.abs(delta).ravel(), kind="stable")[bottom : bottom + keep])


def della_chances(delta: Array, density: float, epsilon: float) -> Array:
    """DELLA: each entry's chance to be kept, rising along each row with the rank of its magnitude."""
    if density >= 1 or density <= 0:
        return np.full(delta.shape, float(density >= 1))
    if density - epsilon <= 0 or density + epsilon >= 1:
        raise ValueError("density ± epsilon must stay between 0 and 1")
    rows = np.abs(delta).reshape(1, -1) if delta.ndim < 2 else np.abs(delta)
    axis = min(1, rows.ndim - 1)
    ranks = np.argsort(np.argsort(rows, axis=axis, kind="stable"), axis=axis, kind="stable")
    return (density - epsilon + 2 * epsilon * ranks / (rows.shape[axis] - 1)).reshape(delta.shape)


def chosen(delta: Array, positions: Array) -> Array:
    """A mask of ``delta``'s shape, True at the flat ``positions``."""
    kept = np.zeros(delta.size, bool)
    kept[positions] = True
    return kept.reshape(delta.shape)


def _kept(sparsifier: str, delta: Array, one: Values, mask: Array | None) -> Array:
    density = one["density"]
    if sparsifier == "largest":
        return largest(delta, density)
    if sparsifier == "middle":
        return middle(delta, density, one["gamma"])
    if sparsifier == "random" and density < 1:
        if mask is None:
            raise ValueError("a random method needs its masks")
        return mask
    return np.full(delta.shape, True)


def task_vectors(
    method: str, b: Array, xs: list[Array], p: Values, each: list[Values], masks: Sequence[Array] | None
) -> Array:
    sparsifier, vote = DELTA_METHODS[method]
    weighted = []
    for number, (x, one) in enumerate(zip(xs, each, strict=True)):
        delta = x - b
        sparse = delta * _kept(sparsifier, delta, one, None if masks is None else masks[number])
        before, after = np.abs(delta).sum(), np.abs(sparse).sum()
        if p["rescale"] and sparsifier != "none" and before >= 1e-7 and after >= 1e-7:
            sparse = sparse * (before / after)
        weighted.append(one["weight"] * sparse)
    weights = [one["weight"] for one in each]
    if vote:
        majority = np.where(np.sum(weighted, axis=0) >= 0, 1.0, -1.0)
        agrees = [np.sign(e) == majority for e in weighted]
        total = np.sum([e * a for e, a in zip(weighted, agrees, strict=True)], axis=0)
        share = np.sum([w * a for w, a in zip(weights, agrees, strict=True)], axis=0)
        share = np.where(share == 0, 1.0, share)
    else:
        total = np.sum(weighted, axis=0)
        share = sum(weights) if abs(sum(weights)) >= 1e-8 else 1.0
    return b + p["lambda"] * (total / share if p["normalize"] else total)
