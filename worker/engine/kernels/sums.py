"""Sums in fp64 in a fixed order: 512 lanes, four runs at a time, then halves on halves; the same bits everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import clear

LANES = 512
_RUN = 4 * LANES


@kernel
def _fold(lanes: Array) -> Any:
    width = LANES // 2
    while width:
        low, high = lanes[:width], lanes[width : 2 * width]
        for k in range(low.shape[0]):
            low[k] += high[k]
        width //= 2
    return lanes[0]


@kernel
def dot(a: Array, b: Array, lanes: Array) -> Any:
    """Σ aⱼ bⱼ of fp32 tiles; the products are exact in fp64. ``lanes`` fp64 [≥ 512] is room to work in."""
    clear(lanes[:LANES])
    start = 0
    while start + _RUN <= a.shape[0]:
        x0, x1 = a[start : start + LANES], a[start + LANES : start + 2 * LANES]
        x2, x3 = a[start + 2 * LANES : start + 3 * LANES], a[start + 3 * LANES : start + _RUN]
        y0, y1 = b[start : start + LANES], b[start + LANES : start + 2 * LANES]
        y2, y3 = b[start + 2 * LANES : start + 3 * LANES], b[start + 3 * LANES : start + _RUN]
        for k in range(LANES):
            first = np.float64(x0[k]) * np.float64(y0[k]) + np.float64(x1[k]) * np.float64(y1[k])
            second = np.float64(x2[k]) * np.float64(y2[k]) + np.float64(x3[k]) * np.float64(y3[k])
            lanes[k] += first + second
        start += _RUN
    while start < a.shape[0]:
        x, y = a[start : start + LANES], b[start : start + LANES]
        here = lanes[: x.shape[0]]
        for k in range(here.shape[0]):
            here[k] += np.float64(x[k]) * np.float64(y[k])
        start += LANES
    return _fold(lanes)


@kernel
def absolute_sum(a: Array, lanes: Array) -> Any:
    """Σ |aⱼ| of an fp32 tile."""
    clear(lanes[:LANES])
    for start in range(0, a.shape[0], LANES):
        x = a[start : start + LANES]
        here = lanes[: x.shape[0]]
        for k in range(here.shape[0]):
            here[k] += abs(np.float64(x[k]))
    return _fold(lanes)
