"""Sums in fp64 in a fixed order: 512 lanes, then halves on halves. Every machine gets the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import clear

LANES = 512


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
    for start in range(0, a.shape[0], LANES):
        x, y = a[start : start + LANES], b[start : start + LANES]
        here = lanes[: x.shape[0]]
        for k in range(here.shape[0]):
            here[k] += np.float64(x[k]) * np.float64(y[k])
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
