"""Inner loops of the methods for a base and one other parent (see ``worker.engine.methods.pairs``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import BLOCK, LANES, PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.exponentials import exp, log
from worker.engine.kernels.jit import bits_of, kernel
from worker.engine.kernels.sums import fold
from worker.engine.kernels.tiles import INFINITY, f32, load, store, u32

_APART = f32(1e-6)
_ALMOST_NOTHING = 1e-8


@kernel
def _add(values: Array, lanes: Array) -> None:
    """Adds ``values`` fp64 to ``lanes`` fp64 [LANES]."""
    for start in range(0, values.shape[0], LANES):
        here = values[start : start + LANES]
        for k in range(here.shape[0]):
            lanes[k] += here[k]


@kernel
def nearswap(
    raw: Array, codes: Array, t: Any, count: int, taken: Array, out: Array, out_code: int, tiles: Array, wide: Array,
    lanes: Array,
) -> int:  # fmt: skip
    """y = w·x₁ + (1 − w)·x₀, w = min(t / max(|x₀ − x₁|, 1e-6), 1); t ≥ 0.

    ``taken`` fp64 [⌈count / BLOCK⌉]: Σ w of each block of the inputs.
    """
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        base, other, share = tiles[0, :size], tiles[1, :size], wide[0, :size]
        largest = max(largest, load(raw, 0, codes[0], begin, base))
        largest = max(largest, load(raw, 1, codes[1], begin, other))
        for j in range(size):
            weight = min(t / max(abs(base[j] - other[j]), _APART), f32(1))
            share[j] = np.float64(weight)
            base[j] = weight * other[j] + (f32(1) - weight) * base[j]
        _add(share, lanes[0])
        if begin + size == count or (begin + size) % BLOCK == 0:
            taken[begin // BLOCK] = fold(lanes[0])
        unsound |= store(base, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)


@kernel
def _load_row(raw: Array, row: int, code: int, begin: int, values: Array) -> Any:
    largest = u32(0)
    for done in range(0, values.shape[0], TILE):
        largest = max(largest, load(raw, row, code, begin + done, values[done : done + TILE]))
    return largest


@kernel
def _powers(values: Array, powers: Array, lanes: Array) -> Any:
    """``powers`` fp64: e^(value − the largest) of a row fp32; returns their sum."""
    largest = values[0]
    for j in range(values.shape[0]):
        largest = max(largest, values[j])
    top = np.float64(largest)
    for j in range(powers.shape[0]):
        powers[j] = exp(np.float64(values[j]) - top)
    _add(powers, lanes)
    return fold(lanes)


@kernel
def _divergence(first: Array, first_sum: Any, second: Array, second_sum: Any, lanes: Array) -> Any:
    """Σ p log(p / q) of a row, p and q being the powers by their sums and 1e-8; spoils ``first``. Never negative."""
    first_share, second_share = 1.0 / first_sum, 1.0 / second_sum
    for j in range(first.shape[0]):
        p = first[j] * first_share + _ALMOST_NOTHING
        q = second[j] * second_share + _ALMOST_NOTHING
        first[j] = p * log(p / q)
    _add(first, lanes)
    return max(fold(lanes), 0.0)


@kernel
def _weigh(base: Array, other: Array, divergence: Any, bits: Array) -> None:
    for j in range(bits.shape[0]):
        gap = np.float64(abs(other[j] - base[j]))
        bits[j] = bits_of(f32(gap * divergence))


@kernel
def importances(
    raw: Array, codes: Array, width: int, count: int, divergences: Array, bits: Array, values: Array, powers: Array,
    lanes: Array,
) -> int:  # fmt: skip
    """``bits`` uint32 [count]: of |x₁ − x₀| · KL(softmax x₁ ‖ softmax x₀), in fp32; whole rows of ``width`` elements.

    ``divergences`` fp64 [rows]: gets the second factor, worked out in fp64. Room to work in: ``values`` fp32 and
    ``powers`` fp64 [2, width].
    """
    base, other = values[0], values[1]
    largest = u32(0)
    for begin in range(0, count, width):
        largest = max(largest, _load_row(raw, 0, codes[0], begin, base))
        largest = max(largest, _load_row(raw, 1, codes[1], begin, other))
        first, second = _powers(other, powers[0], lanes[0]), _powers(base, powers[1], lanes[0])
        divergence = _divergence(powers[0], first, powers[1], second, lanes[0])
        divergences[begin // width] = divergence
        _weigh(base, other, divergence, bits[begin : begin + width])
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def choose(
    raw: Array, codes: Array, width: int, count: int, divergences: Array, limit: Any, taken: Array, out: Array,
    out_code: int, tiles: Array,
) -> int:  # fmt: skip
    """y = x₁ where its importance is at least ``limit``, else x₀. ``divergences`` fp64 [rows]: as ``importances``
    leaves them.

    ``taken`` int64 [rows]: how many of each row are x₁.
    """
    largest, unsound = u32(0), False
    for begin in range(0, count, width):
        row = begin // width
        divergence, chosen = divergences[row], np.int64(0)
        for done in range(0, width, TILE):
            size = min(TILE, width - done)
            base, other = tiles[0, :size], tiles[1, :size]
            largest = max(largest, load(raw, 0, codes[0], begin + done, base))
            largest = max(largest, load(raw, 1, codes[1], begin + done, other))
            here = u32(0)
            for j in range(size):
                gap = np.float64(abs(other[j] - base[j]))
                takes = np.float64(f32(gap * divergence)) >= limit
                here = u32(here + u32(takes))
                base[j] = other[j] if takes else base[j]
            chosen += np.int64(here)
            unsound |= store(base, out, out_code, begin + done)
        taken[row] = chosen
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)
