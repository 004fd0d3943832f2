"""The best low-rank approximation of a matrix, by random projection."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import Array

_MORE = 10
"""Directions looked at beyond the rank that is asked for."""
_POWERS = 2
"""Times the matrix is gone over again to sharpen the directions."""
_NOTHING = 1e-9


@dataclass(frozen=True)
class Factored:
    """``up`` [outputs, rank] @ ``down`` [rank, inputs], fp32. ``kept``: share of the matrix's squares that is in it."""

    up: Array
    down: Array
    kept: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def error(self) -> float:
        """Length of what is missing, as a share of the matrix's (Frobenius norms)."""
        return float(np.sqrt(max(0.0, 1.0 - self.kept)))


def factor(matrix: Array, rank: int, *, max_error: float | None = None, key: str = "") -> Factored | None:
    """The largest singular values of ``matrix`` fp32 [outputs, inputs], half of each in either factor.

    Not more than ``rank``, and no more than ``max_error`` asks for. None for zeros. Algorithm 4.4 of Halko, Martinsson
    and Tropp (arXiv 0909.4061); small matrices are done exactly. The same ``key`` draws the same directions.
    """
    total = _squares(matrix)
    if total == 0:
        return None
    u, values, v = _decompose(matrix, min(rank + _MORE, *matrix.shape), key)
    count = min(rank, int(np.count_nonzero(values > _NOTHING * values[0])))
    kept = np.minimum(np.cumsum(values.astype(np.float64) ** 2) / total, 1.0)
    if max_error is not None:
        enough = np.flatnonzero(np.sqrt(1.0 - kept[:count]) <= max_error)
        count = int(enough[0]) + 1 if enough.size else count
    roots = np.sqrt(values[:count])
    signs = np.sign(u[np.abs(u[:, :count]).argmax(axis=0), np.arange(count)])
    up, down = u[:, :count] * (roots * signs), (roots * signs)[:, None] * v[:count]
    return Factored(up.astype(np.float32), down.astype(np.float32), float(kept[count - 1]))


def _decompose(matrix: Array, width: int, key: str) -> tuple[Array, Array, Array]:
    """``(u, values, v)`` with about the ``width`` largest singular values, largest first."""
    if min(matrix.shape) <= 2 * width:
        u, values, v = np.linalg.svd(matrix, full_matrices=False)
        return u, values, v
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    random = np.random.Generator(np.random.Philox(seed))
    found = matrix @ random.standard_normal((matrix.shape[1], width), np.float32)
    for _ in range(_POWERS):
        back = np.linalg.qr(matrix.T @ np.linalg.qr(found)[0])[0]
        found = matrix @ back
    q = np.linalg.qr(found)[0]
    right, inner = np.linalg.qr((q.T @ matrix).T)
    u, values, v = np.linalg.svd(inner.T)
    return q @ u, values, v @ right.T


def _squares(matrix: Array) -> float:
    """Σ x², in fp64, a block of rows at a time."""
    step = max(1, (1 << 20) // max(1, matrix.shape[1]))
    blocks = (matrix[start : start + step].astype(np.float64) for start in range(0, matrix.shape[0], step))
    return float(sum(np.vdot(block, block) for block in blocks))
