"""Linear combinations of the inputs, and the inner products their coefficients are made from."""

from __future__ import annotations

from typing import Any

from worker.engine.dtypes import BLOCK, PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import float_of, kernel
from worker.engine.kernels.sums import add_products, fold
from worker.engine.kernels.tiles import INFINITY, f32, load, load_change, store, u16, u32


@kernel
def _scale(total: Array, factor: f32) -> None:
    for j in range(total.shape[0]):
        total[j] *= factor


@kernel
def _add(total: Array, factor: f32, tile: Array) -> None:
    for j in range(total.shape[0]):
        total[j] += factor * tile[j]


@kernel
def _add_input(raw: Array, row: int, code: int, begin: int, factor: f32, total: Array, tile: Array) -> Any:
    """Adds c·x to ``total``; returns what ``load`` does."""
    if code == 0:
        short = raw[row].view(u16)[begin : begin + total.shape[0]]
        top = u16(0)
        for j in range(total.shape[0]):
            value = short[j]
            top = max(top, u16(value & u16(0x7FFF)))
            total[j] += factor * float_of(u32(u32(value) << u32(16)))
        return u32(u32(top) << u32(16))
    largest = load(raw, row, code, begin, tile)
    _add(total, factor, tile)
    return largest


@kernel
def combine(
    raw: Array,
    codes: Array,
    coefficients: Array,
    deltas: int,
    count: int,
    out: Array,
    out_code: int,
    tiles: Array,
) -> int:
    """y = Σ cᵢ xᵢ, or with ``deltas`` y = x₀ + Σ_{i≥1} cᵢ (xᵢ − x₀), in fp32, in order.

    ``raw`` uint8 [rows, bytes], ``codes`` int64 [n], ``coefficients`` fp32 [n], ``out`` uint8. Room to work in, of
    every kernel: ``tiles`` fp32 [n + 4, TILE], ``wide`` fp64 [4, TILE], ``lanes`` fp64 [n (n + 1) / 2, LANES] of zeros,
    which are left in it. Returns ``PARENT_UNSOUND`` and
    ``RESULT_UNSOUND`` bits.
    """
    first = 1 if deltas else 0
    largest = u32(0)
    unsound = False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        total, tile, base = tiles[0, :size], tiles[1, :size], tiles[2, :size]
        if deltas:
            largest = max(largest, load(raw, 0, codes[0], begin, base))
            largest = max(largest, load_change(raw, 1, codes[1], begin, base, total))
        else:
            largest = max(largest, load(raw, 0, codes[0], begin, total))
        _scale(total, coefficients[first])
        for i in range(first + 1, codes.shape[0]):
            if deltas:
                largest = max(largest, load_change(raw, i, codes[i], begin, base, tile))
                _add(total, coefficients[i], tile)
            else:
                largest = max(largest, _add_input(raw, i, codes[i], begin, coefficients[i], total, tile))
        if deltas:
            _add(total, f32(1), base)
        unsound |= store(total, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)


@kernel
def gram(raw: Array, codes: Array, deltas: int, count: int, sums: Array, tiles: Array, lanes: Array) -> int:
    """Adds the inner products of the inputs (with ``deltas``: of xᵢ − x₀, i ≥ 1) to ``sums`` fp64 [n, n].

    Only the upper triangle is filled. Sums are taken in fp64 over blocks of 4096, one after the other.
    """
    first = 1 if deltas else 0
    size = codes.shape[0] - first
    largest = u32(0)
    for begin in range(0, count, TILE):
        here = min(TILE, count - begin)
        base = tiles[size, :here]
        if deltas:
            largest = max(largest, load(raw, 0, codes[0], begin, base))
        for i in range(size):
            if deltas:
                largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, base, tiles[i, :here]))
            else:
                largest = max(largest, load(raw, i, codes[i], begin, tiles[i, :here]))
        ends = begin + here == count or (begin + here) % BLOCK == 0
        pair = 0
        for i in range(size):
            for k in range(i, size):
                add_products(tiles[i, :here], tiles[k, :here], lanes[pair])
                if ends:
                    sums[i, k] += fold(lanes[pair])
                pair += 1
    return PARENT_UNSOUND if largest >= INFINITY else 0
