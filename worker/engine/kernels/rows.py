"""Whole chunks as fp32 rows, for methods written with NumPy; and DELLA's draw by rank."""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import INFINITY, load, store, u32


@kernel
def widen(raw: Array, codes: Array, count: int, rows: Array) -> int:
    """``rows`` fp32 [inputs, count]: the inputs."""
    largest = u32(0)
    for i in range(codes.shape[0]):
        for begin in range(0, count, TILE):
            largest = max(largest, load(raw, i, codes[i], begin, rows[i, begin : min(begin + TILE, count)]))
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def narrow(row: Array, out: Array, out_code: int) -> int:
    """Rounds ``row`` fp32 [count] into ``out`` (uint8)."""
    unsound = False
    for begin in range(0, row.shape[0], TILE):
        unsound |= store(row[begin : begin + TILE], out, out_code, begin)
    return RESULT_UNSOUND if unsound else 0


@kernel
def keep_by_rank(keys: Array, words: Array, thresholds: Array, kept: Array) -> None:
    """``kept`` uint8 [rows, width]: 1 where the element of rank r in its row drew a word below ``thresholds[r]``.

    ``keys`` uint64 [rows, width] are sorted, the element's column in the lower half; ``words`` uint32 [rows, width]
    lie in rank order; ``thresholds`` uint32 [width].
    """
    for row in range(keys.shape[0]):
        for r in range(keys.shape[1]):
            column = np.int64(keys[row, r] & np.uint64(0xFFFFFFFF))
            kept[row, column] = words[row, r] < thresholds[r]
