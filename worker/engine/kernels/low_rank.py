"""Adding a product of two thin matrices to a run of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import TILE, Array
from worker.engine.kernels.jit import kernel


@kernel
def add_low_rank(out: Array, first: int, left: Array, right: Array, scale: Any, total: Array) -> None:
    """``out`` fp32 [count] += scale · (left @ right), from the product's element ``first`` on, row by row.

    ``left`` fp32 [rows, rank], ``right`` fp32 [rank, columns], ``scale`` fp32. Each element's products are added up in
    the order of the rank, whatever ``first`` and the count. ``total`` fp32 [TILE] is room to work in.
    """
    columns = right.shape[1]
    done = 0
    while done < out.shape[0]:
        row = (first + done) // columns
        column = first + done - row * columns
        size = min(columns - column, out.shape[0] - done, TILE)
        total[:size] = np.float32(0)
        for rank in range(left.shape[1]):
            factor = left[row, rank]
            line = right[rank, column : column + size]
            for j in range(size):
                total[j] += factor * line[j]
        for j in range(size):
            out[done + j] += scale * total[j]
        done += size
