"""SCE's measure: how far the parents' changes of an element lie apart; and the elements where that is most.

The population variance over the parents is worked out in fp64 and told as the bits of its fp32 value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import bits_of, kernel
from worker.engine.kernels.sparse import keep_marked, mark_below
from worker.engine.kernels.tiles import INFINITY, clear, f32, load, load_change, u32


@kernel
def load_changes(raw: Array, codes: Array, begin: int, base: Array, changes: Array) -> Any:
    """Fills ``base`` fp32 [size] and ``changes`` fp32 [n, ≥ size]; returns the bits of the largest input."""
    size = base.shape[0]
    largest = load(raw, 0, codes[0], begin, base)
    for i in range(codes.shape[0] - 1):
        change = changes[i, :size]
        largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, base, change))
    return largest


@kernel
def _of_two(first: Array, second: Array, bits: Array) -> None:
    for j in range(bits.shape[0]):
        a, b = np.float64(first[j]), np.float64(second[j])
        mean = (a + b) * 0.5
        p, q = a - mean, b - mean
        bits[j] = bits_of(f32((p * p + q * q) * 0.5))


@kernel
def _of_three(first: Array, second: Array, third: Array, bits: Array) -> None:
    share = 1.0 / 3
    for j in range(bits.shape[0]):
        a, b, c = np.float64(first[j]), np.float64(second[j]), np.float64(third[j])
        mean = (a + b + c) * share
        p, q, r = a - mean, b - mean, c - mean
        bits[j] = bits_of(f32((p * p + q * q + r * r) * share))


@kernel
def _of_several(changes: Array, bits: Array, mean: Array, spread: Array) -> None:
    share = 1.0 / changes.shape[0]
    size = bits.shape[0]
    clear(mean)
    clear(spread)
    for i in range(changes.shape[0]):
        change = changes[i, :size]
        for j in range(mean.shape[0]):
            mean[j] += np.float64(change[j])
    for j in range(mean.shape[0]):
        mean[j] *= share
    for i in range(changes.shape[0]):
        change = changes[i, :size]
        for j in range(mean.shape[0]):
            gap = np.float64(change[j]) - mean[j]
            spread[j] += gap * gap
    for j in range(bits.shape[0]):
        bits[j] = bits_of(f32(spread[j] * share))


@kernel
def _measure(changes: Array, bits: Array, wide: Array) -> None:
    """``bits`` uint32 [size]: of the variances of ``changes`` fp32 [n, ≥ size]. Two and three stay in registers."""
    size = bits.shape[0]
    if changes.shape[0] == 2:
        _of_two(changes[0, :size], changes[1, :size], bits)
    elif changes.shape[0] == 3:
        _of_three(changes[0, :size], changes[1, :size], changes[2, :size], bits)
    else:
        _of_several(changes, bits, wide[0, :size], wide[1, :size])


@kernel
def variances(raw: Array, codes: Array, count: int, row: Array, tiles: Array, wide: Array) -> int:
    """``row`` uint32 [count]: bits of the variance of the changes."""
    base, changes = tiles[0], tiles[1 : codes.shape[0]]
    largest = u32(0)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        largest = max(largest, load_changes(raw, codes, begin, base[:size], changes))
        _measure(changes, row[begin : begin + size], wide)
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def mark_selected(changes: Array, cut: Array, start: int, flags: Array, wide: Array, marks: Array) -> None:
    """Sets in ``marks`` uint8 [⌈size/8⌉], of zeros, the bits of the elements whose variance belongs to ``cut``.

    ``cut`` int64 [3] is a ``Cut.least``; element 0 of the changes is ``start``. Room: ``flags`` uint32 [size].
    """
    _measure(changes, flags, wide)
    before = min(max(cut[0] - start, 0), flags.shape[0])
    for part, limit in ((flags[:before], cut[1]), (flags[before:], cut[2])):
        least = u32(max(limit, 0))
        for j in range(part.shape[0]):
            part[j] = u32(part[j] < least)
    mark_below(flags, u32(1), marks)


@kernel
def keep_selected(changes: Array, size: int, marks: Array) -> None:
    """Clears the changes of the elements that are not marked."""
    for i in range(changes.shape[0]):
        keep_marked(changes[i, :size], marks)
