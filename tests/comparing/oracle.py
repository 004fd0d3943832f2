"""The measures by their definitions, in NumPy float64, of whole vectors and matrices at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]


def cosine(one: Vector, other: Vector) -> float:
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def mean_over_pairs(of: Any, vectors: Sequence[Vector]) -> float:
    return float(np.mean([of(one, other) for one, other in combinations(vectors, 2)]))


def sign_conflict(deltas: Sequence[Vector]) -> float:
    """Of the total size of all deltas, that at places where one goes up and another down."""
    signs = np.sign(np.stack(deltas))
    opposed = (signs.max(axis=0) == 1) & (signs.min(axis=0) == -1)
    sizes = np.abs(np.stack(deltas))
    return float(sizes[:, opposed].sum() / sizes.sum())


def overlap(deltas: Sequence[Vector], top: float) -> float:
    """Of the places with the largest values of each, the share that all have."""
    chosen = []
    for delta in deltas:
        size = np.abs(delta)
        count = max(1, int(np.ceil(top * len(size))))
        chosen.append(set(np.flatnonzero((size >= np.sort(size)[::-1][count - 1]) & (size > 0)).tolist()))
    mean = np.mean([len(one) for one in chosen])
    return float(len(set.intersection(*chosen)) / mean)


def effective_rank(matrix: np.ndarray) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli, 2007)."""
    values = np.linalg.svd(matrix, compute_uv=False)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def relative_norm(delta: Vector, base: Vector) -> float:
    return float(np.linalg.norm(delta) / np.linalg.norm(base))
