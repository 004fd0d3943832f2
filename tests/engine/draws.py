"""The masks an engine run must have drawn, worked out element by element for the oracle.

Philox4x32-10 (Salmon et al., SC'11, figure 3) in plain NumPy: slow and easy to check.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.engine import oracle
from tests.engine.oracle_deltas import DELTA_METHODS, della_chances
from worker.engine.masks import BLOCK, COUNTERS, Stream, stream, threshold

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def words_of(one: Stream, start: int, count: int) -> np.ndarray:
    """Words of elements ``start``..., uint32 [count]."""
    if count <= 0:
        return np.empty(0, np.uint32)
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    counters = np.arange(first * COUNTERS, (last + 1) * COUNTERS, dtype=np.uint64)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1 = counters & mask, counters >> half
    x2, x3 = (np.full_like(counters, word) for word in one.salt)
    key0, key1 = one.key
    for _ in range(ROUNDS):
        product0, product1 = x0 * np.uint64(MULTIPLIERS[0]), x2 * np.uint64(MULTIPLIERS[1])
        x0 = (product1 >> half) ^ x1 ^ np.uint64(key0)
        x2 = (product0 >> half) ^ x3 ^ np.uint64(key1)
        x1, x3 = product1 & mask, product0 & mask
        key0, key1 = (key0 + WEYL[0]) & 0xFFFFFFFF, (key1 + WEYL[1]) & 0xFFFFFFFF
    blocks = np.stack([x.reshape(-1, COUNTERS) for x in (x0, x1, x2, x3)], axis=1)
    return blocks.reshape(-1).astype(np.uint32)[start - first * BLOCK :][:count]


def dare_mask(seed: int, tensor: str, parent: str, start: int, count: int, density: float) -> np.ndarray:
    """Which of the elements ``start``... DARE keeps of one parent's change to one tensor, bool [count]."""
    if density >= 1.0:
        return np.ones(count, np.bool_)
    return words_of(stream(seed, tensor, parent), start, count) < np.uint32(threshold(density))


def masks_of(drawn: Any) -> list[np.ndarray]:
    """One boolean array for each parent but the base; parents are called p0 (the base), p1, ..."""
    base, *inputs = drawn.tensors
    return [
        _della(drawn, x - base, one, f"p{i}") if drawn.method.startswith("della") else _dare(drawn, base, one, f"p{i}")
        for i, (x, one) in enumerate(zip(inputs, drawn.each, strict=True), 1)
    ]


def _dare(drawn: Any, base: np.ndarray, one: Any, parent: str) -> np.ndarray:
    density = one.get("density", 1.0)
    return dare_mask(drawn.seed, "t", parent, 0, base.size, density).reshape(base.shape)


def _della(drawn: Any, delta: np.ndarray, one: Any, parent: str) -> np.ndarray:
    """The element of rank r in its row takes the word at place r of that row."""
    density = one.get("density", 1.0)
    if delta.size == 0 or density in (0.0, 1.0):
        return np.full(delta.shape, density == 1.0)
    drawn_words = words_of(stream(drawn.seed, "t", parent), 0, delta.size) / 2.0**32
    rows = delta.reshape(1, -1) if delta.ndim < 2 else delta
    chances = (
        della_chances(rows, density, one.get("epsilon", 0.15)) if rows.shape[1] > 1 else np.full(rows.shape, density)
    )
    order = np.argsort(np.abs(rows), axis=1, kind="stable")
    kept = np.zeros(rows.shape, bool)
    keep_in_order = drawn_words.reshape(rows.shape) < np.take_along_axis(chances, order, axis=1)
    np.put_along_axis(kept, order, keep_in_order, axis=1)
    return kept.reshape(delta.shape)


def clear_votes(drawn: Any, masks: list[np.ndarray] | None) -> np.ndarray | bool:
    """Where the outcome of a vote is not a matter of rounding.

    Rescaled changes are no round numbers: where they cancel out, the sign of what is left of them means nothing.
    """
    rescaled = drawn.shared.get("rescale", drawn.method in ("dare_ties", "della"))
    if not (DELTA_METHODS.get(drawn.method, ("", False))[1] and rescaled):
        return True
    base, *inputs = drawn.tensors
    parts = []
    for i, (x, one) in enumerate(zip(inputs, drawn.each, strict=True)):
        alone = None if masks is None else [masks[i]]
        settings = {"rescale": True, "normalize": False}
        parts.append(oracle.merge(drawn.method, base, [x], settings, [one], alone) - base)
    return np.abs(np.sum(parts, axis=0)) >= 1e-6 * np.sum(np.abs(parts), axis=0)
