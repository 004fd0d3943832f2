"""Methods that turn directions rather than average numbers; their formulas are in ``worker.engine.coefficients``."""

from __future__ import annotations

import numpy as np

from worker.engine import coefficients
from worker.engine.dtypes import Array
from worker.engine.methods.parameters import number
from worker.engine.work import Work


def slerp(work: Work) -> None:
    """From the base to the other parent, by ``t`` along the arc."""
    gram = inner_products(work, deltas=False)
    factors = coefficients.slerp(gram, number(work.step, "t", 0.5))
    work.write(lambda chunk: work.backend.combine(chunk, factors, False))


def inner_products(work: Work, deltas: bool) -> Array:
    """fp64 [n, n] of all inputs, or with ``deltas`` of the changes from the base."""
    count = len(work.sources) - deltas
    parts = work.sweep(lambda: np.zeros((count, count)), lambda chunk, sums: work.backend.gram(chunk, sums, deltas))
    upper = np.sum(parts, axis=0) if parts else np.zeros((count, count))
    return upper + np.triu(upper, 1).T
