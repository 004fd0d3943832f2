"""The masks an engine run must have drawn, worked out element by element for the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.engine import oracle
from tests.engine.oracle_deltas import DELTA_METHODS, della_chances
from worker.engine.masks import mask_reference, stream, words_reference


def masks_of(drawn: Any) -> list[np.ndarray]:
    """One boolean array for each parent but the base; parents are called p0 (the base), p1, ..."""
    base, *inputs = drawn.tensors
    return [
        _della(drawn, x - base, one, f"p{i}") if drawn.method.startswith("della") else _dare(drawn, base, one, f"p{i}")
        for i, (x, one) in enumerate(zip(inputs, drawn.each, strict=True), 1)
    ]


def _dare(drawn: Any, base: np.ndarray, one: Any, parent: str) -> np.ndarray:
    density = one.get("density", 1.0)
    return mask_reference(drawn.seed, "t", parent, 0, base.size, density).reshape(base.shape)


def _della(drawn: Any, delta: np.ndarray, one: Any, parent: str) -> np.ndarray:
    """The element of rank r in its row takes the word at place r of that row."""
    density = one.get("density", 1.0)
    if delta.size == 0 or density in (0.0, 1.0):
        return np.full(delta.shape, density == 1.0)
    drawn_words = words_reference(stream(drawn.seed, "t", parent), 0, delta.size) / 2.0**32
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
