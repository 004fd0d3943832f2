"""Sums in fp64 in a fixed order: lanes side by side for a block, then halves on halves; the same bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import LANES, TILE, Array
from worker.engine.kernels.jit import kernel


@kernel
def add_products(a: Array, b: Array, lanes: Array) -> None:
    """Adds the aⱼ bⱼ of two fp32 tiles to ``lanes`` fp64 [LANES]; four products at a time are added in fp32."""
    if a.shape[0] == TILE:
        x0, x1, x2, x3 = a[:LANES], a[LANES : 2 * LANES], a[2 * LANES : 3 * LANES], a[3 * LANES :]
        y0, y1, y2, y3 = b[:LANES], b[LANES : 2 * LANES], b[2 * LANES : 3 * LANES], b[3 * LANES :]
        for k in range(LANES):
            lanes[k] += np.float64((x0[k] * y0[k] + x1[k] * y1[k]) + (x2[k] * y2[k] + x3[k] * y3[k]))
        return
    for start in range(0, a.shape[0], LANES):
        x, y = a[start : start + LANES], b[start : start + LANES]
        for k in range(x.shape[0]):
            lanes[k] += np.float64(x[k]) * np.float64(y[k])


@kernel
def add_magnitudes(a: Array, lanes: Array) -> None:
    """Adds the |aⱼ| of an fp32 tile to ``lanes`` fp64 [LANES]; four at a time are added in fp32."""
    if a.shape[0] == TILE:
        x0, x1, x2, x3 = a[:LANES], a[LANES : 2 * LANES], a[2 * LANES : 3 * LANES], a[3 * LANES :]
        for k in range(LANES):
            lanes[k] += np.float64((abs(x0[k]) + abs(x1[k])) + (abs(x2[k]) + abs(x3[k])))
        return
    for start in range(0, a.shape[0], LANES):
        x = a[start : start + LANES]
        for k in range(x.shape[0]):
            lanes[k] += np.float64(abs(x[k]))


@kernel
def fold(lanes: Array) -> Any:
    """The sum of all ``lanes`` fp64 [LANES], which are cleared."""
    width = LANES // 2
    while width:
        low, high = lanes[:width], lanes[width : 2 * width]
        for k in range(width):
            low[k] += high[k]
        width //= 2
    total = lanes[0]
    lanes[:] = 0.0
    return total
