"""Counting magnitudes around a threshold, for exact selection of the largest (see ``worker.engine.topk``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import INFINITY, MAGNITUDE, load, load_change, u32


@kernel
def magnitudes(raw: Array, codes: Array, count: int, rows: Array, tiles: Array) -> int:
    """``rows`` uint32 [n, count]: bits of |xᵢ − x₀|, i ≥ 1, in fp32. Ordered as the magnitudes are."""
    base, tile = tiles[0], tiles[1]
    largest = u32(0)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        delta, here = tile[:size], base[:size]
        largest = max(largest, load(raw, 0, codes[0], begin, here))
        for i in range(codes.shape[0] - 1):
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, here, delta))
            bits = delta.view(np.uint32)
            row = rows[i, begin : begin + size]
            for j in range(row.shape[0]):
                row[j] = u32(bits[j] & MAGNITUDE)
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def tally(bits: Array, low: Any, high: Any, inside: Array, counts: Array) -> None:
    """``counts`` int64 [4]: how many > high, = high, = low, between; the last are collected, in order, in ``inside``.

    ``bits`` and ``inside`` uint32 [count] and [≥ count + 1]. ``low`` < ``high``, or both the same.
    """
    above = at_high = at_low = found = np.int64(0)
    first, width = u32(low + u32(1)), u32(high - low - u32(1))
    if low == high:
        width = u32(0)
    for begin in range(0, bits.shape[0], TILE):
        tile = bits[begin : begin + TILE]
        over = highs = lows = within = u32(0)
        for j in range(tile.shape[0]):
            over += u32(tile[j] > high)
            highs += u32(tile[j] == high)
            lows += u32(tile[j] == low)
            within += u32(u32(tile[j] - first) < width)
        above, at_high, at_low = above + over, at_high + highs, at_low + lows
        if within:
            for j in range(tile.shape[0]):
                inside[found] = tile[j]
                found += np.int64(u32(tile[j] - first) < width)
    counts[0], counts[1], counts[2], counts[3] = above, at_high, at_low, found
