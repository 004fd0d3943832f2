"""Methods for a base and one other parent: NearSwap and Arcee Fusion."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from worker.engine import topk
from worker.engine.dtypes import BLOCK, Array
from worker.engine.methods.parameters import number
from worker.engine.mixing import mixed
from worker.engine.work import Work

_ALMOST = 1.0 - 2.0**-22
"""Importances are rounded to fp32; one that equals the limit but for rounding counts as equal."""


def nearswap(work: Work) -> None:
    """w = clamp(t / max(|b − x|, 1e-6), 0, 1); y = w·x + (1 − w)·b."""
    t = np.float32(number(work.step, "t", 0.0))
    taken = np.zeros(-(-work.elements // BLOCK))
    work.mixture = lambda: mixed(work.step, np.array([taken.sum() / max(1, work.elements)]), by="weight")

    def make(chunk: Any) -> None:
        base, other = work.backend.floats(chunk)
        share = np.clip(t / np.maximum(np.abs(base - other), np.float32(1e-6)), 0, 1)
        blocks = np.add.reduceat(share.astype(np.float64), np.arange(0, chunk.count, BLOCK))
        taken[chunk.start // BLOCK :][: len(blocks)] = blocks
        work.backend.put(chunk, share * other + (1 - share) * base)

    work.write(make)


def arcee_fusion(work: Work) -> None:
    """y = x where the importance |x − b| · KL(softmax x ‖ softmax b) is at least median + 1.5·(Q₃ − Q₁), else b.

    Softmax and KL go along the last axis. Quartiles are exact: sorted values at ⌊q·(N − 1)⌋.
    """
    width = work.step.shape[-1] if work.step.shape else 1
    if not work.elements:
        return

    def quantity(chunk: Any) -> Any:
        base, other = work.backend.floats(chunk)
        return work.backend.bits(importance(base, other, width)[None])

    last = work.elements - 1
    lower, median, upper = topk.order_statistics(
        work, quantity, [floor(share * last) for share in (0.25, 0.5, 0.75)], width
    ).astype(np.float64)
    limit = (median + 1.5 * (upper - lower)) * _ALMOST
    taken = np.zeros(work.elements // width, np.int64)
    work.mixture = lambda: mixed(work.step, np.array([taken.sum() / work.elements]), by="weight")

    def make(chunk: Any) -> None:
        base, other = work.backend.floats(chunk)
        chosen = importance(base, other, width) >= limit
        rows = np.count_nonzero(chosen.reshape(-1, width), axis=1)
        taken[chunk.start // width :][: len(rows)] = rows
        work.backend.put(chunk, np.where(chosen, other, base))

    work.write(make, width)


def importance(base: Array, other: Array, width: int) -> Array:
    """fp32 [count], from fp32 rows of ``width`` elements, worked out in fp64. Never negative."""
    p, q = (_softmax(rows.reshape(-1, width).astype(np.float64)) + 1e-8 for rows in (other, base))
    divergence = np.maximum((p * np.log(p / q)).sum(axis=-1, keepdims=True), 0.0)
    gap = np.abs(other - base).reshape(-1, width)
    return np.asarray((gap * divergence).astype(np.float32).reshape(-1))


def _softmax(rows: Array) -> Array:
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
