"""From the factors that a method has found in the weights to what is kept of them."""

from __future__ import annotations

import numpy as np

from app.planning.mixture import By, Mixture
from app.planning.plan import Step
from worker.engine.dtypes import Array


def mixed(step: Step, factors: Array, gram: Array | None = None, by: By = "tensor") -> Mixture:
    """``factors`` [..., inputs], or [..., changes]: then what they leave of 1 is the base's. Leading axes are rows or
    columns, of which the mean is kept; those with NaN were not looked at. ``gram`` fp64 [n, n]: inner products of the
    inputs, or of their changes."""
    count = len(step.every_input)
    rows = factors.reshape(-1, factors.shape[-1]).astype(np.float64)
    seen = rows[~np.isnan(rows[:, 0])]
    means = seen.mean(axis=0) if len(seen) else np.zeros(rows.shape[-1])
    if len(means) < count:
        means = np.concatenate([[1.0 - means.sum()], means])
    return Mixture(step.name, tuple(map(_nine, means)), () if gram is None else angles(gram), by)


def angles(gram: Array) -> tuple[float | None, ...]:
    """Degrees between every two, as ``Mixture.angles`` has them. ``gram`` fp64 [n, n]."""
    norms = np.sqrt(np.maximum(np.diagonal(gram), 0.0))
    return tuple(_angle(gram[i, k], norms[i] * norms[k]) for i, k in zip(*np.triu_indices(len(norms), 1), strict=True))


def _angle(product: float, lengths: float) -> float | None:
    return _nine(np.degrees(np.arccos(np.clip(product / lengths, -1.0, 1.0)))) if lengths > 0 else None


def _nine(number: float) -> float:
    return float(f"{number:.9g}")
