"""Linear combinations of the inputs, and the inner products their coefficients are made from."""

from __future__ import annotations

from worker.engine.dtypes import PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.sums import dot
from worker.engine.kernels.tiles import INFINITY, f32, load, store, subtract, u32


@kernel
def _scale(total: Array, factor: f32, tile: Array) -> None:
    for j in range(total.shape[0]):
        total[j] = factor * tile[j]


@kernel
def _add(total: Array, factor: f32, tile: Array) -> None:
    for j in range(total.shape[0]):
        total[j] += factor * tile[j]


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
    every kernel: ``tiles`` fp32 [n + 4, TILE], ``wide`` fp64 [4, TILE]. Returns ``PARENT_UNSOUND`` and
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
        for i in range(first, codes.shape[0]):
            largest = max(largest, load(raw, i, codes[i], begin, tile))
            if deltas:
                subtract(tile, base)
            if i == first:
                _scale(total, coefficients[i], tile)
            else:
                _add(total, coefficients[i], tile)
        if deltas:
            _add(total, f32(1), base)
        unsound |= store(total, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)


@kernel
def gram(raw: Array, codes: Array, deltas: int, count: int, sums: Array, tiles: Array, wide: Array) -> int:
    """Adds the inner products of the inputs (with ``deltas``: of xᵢ − x₀, i ≥ 1) to ``sums`` fp64 [n, n].

    Only the upper triangle is filled. Sums are taken in fp64 over blocks of 4096, one after the other.
    """
    first = 1 if deltas else 0
    size = codes.shape[0] - first
    base, lanes = tiles[size], wide[0]
    largest = u32(0)
    for begin in range(0, count, TILE):
        here = min(TILE, count - begin)
        if deltas:
            largest = max(largest, load(raw, 0, codes[0], begin, base[:here]))
        for i in range(size):
            largest = max(largest, load(raw, i + first, codes[i + first], begin, tiles[i, :here]))
            if deltas:
                subtract(tiles[i, :here], base[:here])
        for i in range(size):
            for k in range(i, size):
                sums[i, k] += dot(tiles[i, :here], tiles[k, :here], lanes)
    return PARENT_UNSOUND if largest >= INFINITY else 0
