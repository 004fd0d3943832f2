"""New rows as weighted means of the nearest ones that are known.

Of the k anchors a_1 … a_k nearest to a target t the weights w are those with Σ w_j = 1 that bring Σ w_j a_j nearest to
t, kept small where several would do: (C + ε tr(C) I) w = 1 with C_ij = ⟨t − a_i, t − a_j⟩ and ε = 0.001, scaled to a
sum of 1 (the weights of locally linear embedding, Roweis and Saul, 2000).
"""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import Array
from worker.transplant.anchors import Anchors, Run, by_distance, in_turn, look

_RIDGE = 1e-3
_ROOM = 16 << 20
"""Bytes of anchors' rows in memory at a time."""


def surround(targets: Array, anchors: Anchors, most: int, run: Run = in_turn) -> tuple[Array, Array]:
    """``targets`` fp32 [targets, width]: the nearest anchors (int32) and their weights (fp64), both [targets, most],
    or as many as there are anchors."""
    nearest = look(targets, anchors, most, by_distance, run)
    count = nearest.shape[1]
    each = max(1, _ROOM // (4 * targets.shape[1] * count))

    def weigh(start: int) -> Array:
        part = slice(start, start + each)
        apart = targets[part, None, :].astype(np.float64) - anchors.rows(nearest[part])
        spread = apart @ apart.swapaxes(1, 2)
        trace = np.einsum("bii->b", spread)
        ridge = np.where(trace > 0, _RIDGE * trace, 1.0)
        weights = np.linalg.solve(spread + ridge[:, None, None] * np.eye(count), np.ones((len(spread), count, 1)))
        shares: Array = weights[:, :, 0] / weights.sum(axis=1)
        return shares

    return nearest, np.concatenate(run(weigh, range(0, len(targets), each)))
