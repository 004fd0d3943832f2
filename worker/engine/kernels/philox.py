"""Philox4x32-10 for masks, in the layout that ``worker.engine.masks`` describes."""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import BLOCK, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import u32
from worker.engine.masks import COUNTERS, MULTIPLIERS, ROUNDS, WEYL

u64 = np.uint64
_MULTIPLIER_0, _MULTIPLIER_1 = u64(MULTIPLIERS[0]), u64(MULTIPLIERS[1])
_WEYL_0, _WEYL_1 = u32(WEYL[0]), u32(WEYL[1])
_32, _LOWER = u64(32), u64(0xFFFFFFFF)


@kernel
def fill_block(stream: Array, block: int, words: Array) -> None:
    """``words`` uint32 [4096]: those of the elements of ``block``. ``stream`` uint32 [4]: key, salt."""
    first = u64(block) * u64(COUNTERS)
    run0, run1 = words[:COUNTERS], words[COUNTERS : 2 * COUNTERS]
    run2, run3 = words[2 * COUNTERS : 3 * COUNTERS], words[3 * COUNTERS :]
    salt2, salt3 = u64(stream[2]), u64(stream[3])
    start0, start1 = stream[0], stream[1]
    for r in range(COUNTERS):
        counter = first + u64(r)
        x0, x1, x2, x3 = counter, counter >> _32, salt2, salt3
        key0, key1 = start0, start1
        for _ in range(ROUNDS):
            product0 = (x0 & _LOWER) * _MULTIPLIER_0
            product1 = (x2 & _LOWER) * _MULTIPLIER_1
            x0, x1 = (product1 >> _32) ^ x1 ^ u64(key0), product1
            x2, x3 = (product0 >> _32) ^ x3 ^ u64(key1), product0
            key0 = u32(key0 + _WEYL_0)
            key1 = u32(key1 + _WEYL_1)
        run0[r] = u32(x0)
        run1[r] = u32(x1)
        run2[r] = u32(x2)
        run3[r] = u32(x3)


@kernel
def fill(stream: Array, start: int, words: Array, block: Array) -> None:
    """``words`` uint32 [count]: those of the elements from ``start`` on. Room: ``block`` uint32 [BLOCK]."""
    done = 0
    while done < words.shape[0]:
        skip = (start + done) % BLOCK
        size = min(BLOCK - skip, words.shape[0] - done)
        fill_block(stream, (start + done) // BLOCK, block)
        piece, source = words[done : done + size], block[skip : skip + size]
        for j in range(piece.shape[0]):
            piece[j] = source[j]
        done += size
