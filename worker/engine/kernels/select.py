"""Counting magnitudes around a threshold, for exact selection of the largest (see ``worker.engine.topk``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, STEP, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.pick import pick_step
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
def _tally(tile: Array, low: Any, high: Any, inside: Array, counts: Array) -> None:
    first, width = u32(low + u32(1)), u32(high - low - u32(1))
    if low == high:
        width = u32(0)
    over = highs = lows = within = u32(0)
    for j in range(tile.shape[0]):
        over = u32(over + u32(tile[j] > high))
        highs = u32(highs + u32(tile[j] == high))
        lows = u32(lows + u32(tile[j] == low))
        within = u32(within + u32(u32(tile[j] - first) < width))
    counts[0] += over
    counts[1] += highs
    counts[2] += lows
    found = counts[3]
    if within:
        whole = tile.shape[0] // STEP * STEP
        for j in range(0, whole, STEP):
            found = pick_step(tile, j, first, width, inside, found)
        for j in range(whole, tile.shape[0]):
            inside[found] = tile[j]
            found += np.int64(u32(tile[j] - first) < width)
    counts[3] = found


@kernel
def tally(rows: Array, questions: Array, inside: Array, counts: Array) -> None:
    """Answers several ``questions`` int64 [q, 3] about ``rows`` uint32 [n, count]: row, low, high; low ≤ high.

    Adds to ``counts`` int64 [q, 4] how many are > high, = high, = low, and strictly between; those go to ``inside``
    uint32 [q, ≥ count + 16].
    """
    for begin in range(0, rows.shape[1], TILE):
        for q in range(questions.shape[0]):
            tile = rows[questions[q, 0], begin : begin + TILE]
            _tally(tile, u32(questions[q, 1]), u32(questions[q, 2]), inside[q], counts[q])


@kernel
def tally_changes(
    raw: Array, codes: Array, questions: Array, count: int, inside: Array, counts: Array, tiles: Array
) -> int:
    """The same of |xᵢ − x₀|; row 0 is that of the first parent after the base."""
    base, tile = tiles[0], tiles[1]
    largest = u32(0)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        delta, here = tile[:size], base[:size]
        bits = delta.view(np.uint32)
        largest = max(largest, load(raw, 0, codes[0], begin, here))
        for i in range(codes.shape[0] - 1):
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, here, delta))
            for j in range(bits.shape[0]):
                bits[j] = u32(bits[j] & MAGNITUDE)
            for q in range(questions.shape[0]):
                if questions[q, 0] == i:
                    _tally(bits, u32(questions[q, 1]), u32(questions[q, 2]), inside[q], counts[q])
    return PARENT_UNSOUND if largest >= INFINITY else 0
