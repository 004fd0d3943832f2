"""Whole chunks as fp32 rows, for methods written with NumPy."""

from __future__ import annotations

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
