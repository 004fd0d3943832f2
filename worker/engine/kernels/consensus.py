"""The sum of changes where enough parents have a say in it (see ``worker.engine.methods.consensus``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.sparse import draw, drop
from worker.engine.kernels.tiles import INFINITY, clear, f32, load, load_change, store, u32


@kernel
def _vote(delta: Array, factor: Any, weight: Any, up: Array, down: Array, up_weight: Array, down_weight: Array) -> None:
    wide = np.float64(factor)
    for j in range(delta.shape[0]):
        value = wide * np.float64(delta[j])
        positive, negative = value > 0.0, value < 0.0
        up[j] += value if positive else 0.0
        down[j] += value if negative else 0.0
        up_weight[j] += weight if positive else f32(0)
        down_weight[j] += weight if negative else f32(0)


@kernel
def _merge(up: Array, down: Array, up_weight: Array, down_weight: Array, vote: int, divide: int, merged: Array) -> None:
    """Leaves the merged change in ``merged`` and what it is divided by in ``up_weight``."""
    for j in range(merged.shape[0]):
        plus, minus, plus_weight, minus_weight = up[j], down[j], up_weight[j], down_weight[j]
        total = plus + minus
        elected = plus if total >= 0.0 else minus
        weight = plus_weight if total >= 0.0 else minus_weight
        merged[j] = elected if vote != 0 else total
        up_weight[j] = weight if divide != 0 and weight != f32(0) else f32(1)


@kernel
def _count(delta: Array, factor: Any, threshold: Any, merged: Array, voices: Array) -> None:
    wide, least = np.float64(factor), np.float64(threshold)
    for j in range(delta.shape[0]):
        value = wide * np.float64(delta[j])
        voices[j] += f32(abs(value) >= least * abs(merged[j] - value))


@kernel
def _keep(merged: Array, weight: Array, voices: Array, least: int, scale: Any, base: Array) -> None:
    """Leaves the result in ``base``."""
    enough = f32(least) - f32(0.5)
    for j in range(base.shape[0]):
        change = scale * (f32(merged[j]) / weight[j])
        base[j] += change if voices[j] > enough else f32(0)


@kernel
def consent(
    raw: Array,
    codes: Array,
    kinds: Array,
    cuts: Array,
    streams: Array,
    bits: Array,
    weights: Array,
    thresholds: Array,
    least: int,
    vote: int,
    divide: int,
    scale: Any,
    start: int,
    count: int,
    out: Array,
    out_code: int,
    tiles: Array,
    wide: Array,
    words: Array,
) -> int:
    """y = b + s·m where at least ``least`` of |wᵢδᵢ| ≥ τᵢ|m − wᵢδᵢ|, else b.

    m = Σ wᵢδᵢ over the kept elements, with ``vote`` only those with the sign of that sum, and then, if ``divide``,
    added divided by their Σ wᵢ. ``weights`` and ``thresholds`` fp32 [n]. Sums and comparisons are in fp64.
    """
    masks = (kinds, cuts, streams, bits)
    base, tile, up_weight, down_weight, voices = tiles[0], tiles[1], tiles[2], tiles[3], tiles[4]
    up, down, merged = wide[0], wide[1], wide[2]
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        draw(masks, start + begin, words)
        here, delta = base[:size], tile[:size]
        largest = max(largest, load(raw, 0, codes[0], begin, here))
        clear(up)
        clear(down)
        clear(up_weight)
        clear(down_weight)
        clear(voices)
        for i in range(codes.shape[0] - 1):
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, here, delta))
            drop(delta, masks, i, start + begin, words)
            _vote(delta, weights[i], weights[i], up[:size], down[:size], up_weight[:size], down_weight[:size])
        _merge(up[:size], down[:size], up_weight[:size], down_weight[:size], vote, divide, merged[:size])
        for i in range(codes.shape[0] - 1):
            load_change(raw, i + 1, codes[i + 1], begin, here, delta)
            _count(delta, weights[i], thresholds[i], merged[:size], voices[:size])
        _keep(merged[:size], up_weight[:size], voices[:size], least, scale, here)
        unsound |= store(here, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)
