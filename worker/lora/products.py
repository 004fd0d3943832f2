"""Sums of products of two thin matrices, without ever making the large matrix. All in float64.

Σ cᵢ BᵢAᵢ = B D A with the stacked factors B = [B₁ … Bₙ], A = [A₁; …; Aₙ] and D = diag(cᵢ). With B = U P and Aᵀ = V Q,
U and V orthonormal, everything that differs between the terms lies in the small matrices P and Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import Array

_NOTHING = 1e-13
"""Singular values below this share of the largest are rounding errors."""


@dataclass(frozen=True)
class Product:
    """``up`` [outputs, rank] @ ``down`` [rank, inputs]. ``kept``: share of the exact sum's squares that is in it."""

    up: Array
    down: Array
    kept: float = 1.0


@dataclass(frozen=True)
class CoreSpace:
    """Orthonormal bases of all outputs and all inputs that occur, ``left`` [outputs, p] and ``right`` [inputs, q], and
    each term as ``left @ cores[i] @ right.T``, without loss (arXiv 2509.17786). The bases are the singular vectors of
    the stacked factors, so that elements of different cores mean the same direction."""

    left: Array
    right: Array
    cores: tuple[Array, ...]

    def product(self, core: Array, rank: int | None) -> Product:
        """``left @ core @ right.T`` by its ``rank`` largest singular values; None: all of them, exactly."""
        u, values, v = np.linalg.svd(core, full_matrices=False)
        total = float(values @ values)
        count = len(values) if rank is None else min(rank, len(values))
        roots = np.sqrt(values[:count])
        kept = float(values[:count] @ values[:count]) / total if total else 1.0
        return Product(self.left @ (u[:, :count] * roots), (roots[:, None] * v[:count]) @ self.right.T, kept)


def stack(ups: Sequence[Array], downs: Sequence[Array]) -> Product:
    """Σ upᵢ @ downᵢ exactly, the ranks added."""
    return Product(np.hstack(list(ups)), np.vstack(list(downs)))


def core_space(ups: Sequence[Array], downs: Sequence[Array]) -> CoreSpace:
    """The common space of the terms ``ups[i] @ downs[i]``."""
    left, outer = _basis(np.hstack(list(ups)))
    right, inner = _basis(np.vstack(list(downs)).T)
    ends = np.cumsum([down.shape[0] for down in downs])
    cores = [outer[:, end - down.shape[0] : end] @ inner[:, end - down.shape[0] : end].T
             for end, down in zip(ends, downs, strict=True)]  # fmt: skip
    return CoreSpace(left, right, tuple(cores))


def _basis(columns: Array) -> tuple[Array, Array]:
    """``(u, p)`` with ``columns = u @ p``: u orthonormal, the left singular vectors, found through a QR."""
    q, r = np.linalg.qr(columns)
    u, values, v = np.linalg.svd(r, full_matrices=False)
    count = max(1, int(np.count_nonzero(values > _NOTHING * values[0]))) if values.size else 0
    return q @ u[:, :count], values[:count, None] * v[:count]
