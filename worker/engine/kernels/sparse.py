"""Deltas with some elements dropped: their size, and their sum with or without a vote on signs.

Masks are ``worker.engine.masks.PackedMasks``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import BLOCK, PARENT_UNSOUND, RESULT_UNSOUND, STEP, TILE, Array
from worker.engine.kernels.jit import bits_of, float_of, kernel
from worker.engine.kernels.philox import fill_block
from worker.engine.kernels.pick import keep_step, mark_step
from worker.engine.kernels.sums import add_magnitudes, fold
from worker.engine.kernels.tiles import INFINITY, MAGNITUDE, clear, f32, load, load_change, store, u32
from worker.engine.masks import RANDOM, RANKED


@kernel
def _keep_between(delta: Array, low: int, high: int) -> None:
    least, limit = u32(low), u32(high)
    for j in range(delta.shape[0]):
        value = delta[j]
        bits = u32(bits_of(value) & MAGNITUDE)
        delta[j] = value if (bits >= least) & (bits < limit) else f32(0)


@kernel
def _keep_ranked(delta: Array, cuts: Array, start: int) -> None:
    done = 0
    size = delta.shape[0]
    while done < size:
        end = size
        at = start + done
        if at < cuts[0] < start + end:
            end = cuts[0] - start
        if at < cuts[3] < start + end:
            end = cuts[3] - start
        low = cuts[1] if at < cuts[0] else cuts[2]
        high = cuts[4] if at < cuts[3] else cuts[5]
        _keep_between(delta[done:end], low, high)
        done = end


@kernel
def _keep_below(delta: Array, words: Array, threshold: Any) -> None:
    for j in range(delta.shape[0]):
        value = delta[j]
        delta[j] = value if words[j] < threshold else f32(0)


@kernel
def keep_marked(delta: Array, bits: Array) -> None:
    """Clears the elements of ``delta`` fp32 [count] whose bits are not set, the least significant being the first."""
    whole = delta.shape[0] // STEP * STEP
    for j in range(0, whole, STEP):
        keep_step(delta, j, bits, j >> 3, 0, 0)
    for j in range(whole, delta.shape[0]):
        value = delta[j]
        delta[j] = value if (bits[j >> 3] >> (j & 7)) & 1 else f32(0)


@kernel
def mark_below(words: Array, threshold: Any, bits: Array) -> None:
    """Sets the bit of each word uint32 [count] that is below ``threshold``; ``bits`` uint8 [⌈count/8⌉]."""
    whole = words.shape[0] // STEP * STEP
    for j in range(0, whole, STEP):
        mark_step(words, j, threshold, bits, j >> 3, 0)
    for j in range(whole, words.shape[0]):
        bits[j >> 3] |= np.uint8(words[j] < threshold) << np.uint8(j & 7)


@kernel
def draw(masks: Any, start: int, words: Array) -> None:
    """At the start of a block: the block's words of every random mask, into ``words`` uint32 [n, BLOCK]."""
    kinds, _, streams, _ = masks
    if start % BLOCK == 0:
        for i in range(kinds.shape[0]):
            if kinds[i] == RANDOM:
                fill_block(streams[i], start // BLOCK, words[i])


@kernel
def drop(delta: Array, masks: Any, i: int, start: int, words: Array) -> None:
    """Clears what mask i drops of ``delta``, whose element 0 is ``start``; ``draw`` has filled ``words``."""
    kinds, cuts, streams, bits = masks
    if kinds[i] == RANKED:
        _keep_ranked(delta, cuts[i], start)
    elif kinds[i] == RANDOM:
        _keep_below(delta, words[i, start % BLOCK :], streams[i, 4])
    else:
        keep_marked(delta, bits[i, start >> 3 :])


@kernel
def sizes(
    raw: Array,
    codes: Array,
    kinds: Array,
    cuts: Array,
    streams: Array,
    bits: Array,
    start: int,
    count: int,
    sums: Array,
    tiles: Array,
    words: Array,
    lanes: Array,
) -> int:
    """Adds Σ|δᵢ| and Σ|kept δᵢ| to ``sums`` fp64 [n, 2]; element 0 of the inputs is ``start`` (a whole block).

    Where ``bits`` has room for random masks, what is drawn is marked there.
    """
    masks = (kinds, cuts, streams, bits)
    base, tile = tiles[0], tiles[1]
    largest = u32(0)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        draw(masks, start + begin, words)
        largest = max(largest, load(raw, 0, codes[0], begin, base[:size]))
        for i in range(codes.shape[0] - 1):
            delta = tile[:size]
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, base[:size], delta))
            add_magnitudes(delta, lanes[2 * i])
            drop(delta, masks, i, start + begin, words)
            if kinds[i] == RANDOM and bits.shape[1] > 0:
                here = words[i, begin % BLOCK : begin % BLOCK + size]
                mark_below(here, streams[i, 4], bits[i, (start + begin) >> 3 :])
            add_magnitudes(delta, lanes[2 * i + 1])
            if begin + size == count or (begin + size) % BLOCK == 0:
                sums[i, 0] += fold(lanes[2 * i])
                sums[i, 1] += fold(lanes[2 * i + 1])
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def _add_wide(total: Array, factor: Any, delta: Array) -> None:
    wide = np.float64(factor)
    for j in range(total.shape[0]):
        total[j] += wide * np.float64(delta[j])


@kernel
def _flips(total: Array, flips: Array) -> None:
    """``flips`` uint32: what turns the sign that is elected into plus; 0 is elected as plus."""
    for j in range(flips.shape[0]):
        flips[j] = u32(0) if total[j] >= 0.0 else u32(0x80000000)


@kernel
def _add_elected(delta: Array, factor: Any, weight: Any, flips: Array, total: Array, weights: Array) -> None:
    for j in range(total.shape[0]):
        value = f32(factor * delta[j])
        agrees = float_of(u32(bits_of(value) ^ flips[j])) > f32(0)
        total[j] += value if agrees else f32(0)
        weights[j] += weight if agrees else f32(0)


@kernel
def _finish(total: Array, weights: Array, divide: int, scale: Any, base: Array) -> None:
    """Leaves the result in ``base``."""
    if divide == 0:
        for j in range(base.shape[0]):
            base[j] += scale * total[j]
        return
    for j in range(base.shape[0]):
        weight = weights[j]
        base[j] += scale * (total[j] / (weight if weight != f32(0) else f32(1)))


@kernel
def elect(
    raw: Array,
    codes: Array,
    kinds: Array,
    cuts: Array,
    streams: Array,
    bits: Array,
    factors: Array,
    weights: Array,
    divide: int,
    scale: Any,
    start: int,
    count: int,
    out: Array,
    out_code: int,
    tiles: Array,
    wide: Array,
    words: Array,
) -> int:
    """y = b + s · Σ fᵢδᵢ over the kept elements whose sign is that of Σ fᵢδᵢ, divided by their Σ wᵢ if ``divide``.

    ``factors`` and ``weights`` fp32 [n]. The vote is counted in fp64, where products of two fp32 are exact; what is
    elected is added up in fp32.
    """  # fmt: skip
    masks = (kinds, cuts, streams, bits)
    base, total, weight, flips = tiles[0], tiles[1], tiles[2], tiles[3].view(np.uint32)
    deltas, votes = tiles[4:], wide[0]
    parents = codes.shape[0] - 1
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        draw(masks, start + begin, words)
        here = base[:size]
        largest = max(largest, load(raw, 0, codes[0], begin, here))
        clear(votes)
        clear(total)
        clear(weight)
        for i in range(parents):
            delta = deltas[i, :size]
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, here, delta))
            drop(delta, masks, i, start + begin, words)
            _add_wide(votes[:size], factors[i], delta)
        _flips(votes[:size], flips[:size])
        for i in range(parents):
            _add_elected(deltas[i, :size], factors[i], weights[i], flips[:size], total[:size], weight[:size])
        _finish(total[:size], weight[:size], divide, scale, here)
        unsound |= store(here, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)


@kernel
def _add(total: Array, factor: Any, tile: Array) -> None:
    for j in range(total.shape[0]):
        total[j] += factor * tile[j]


@kernel
def add_up(
    raw: Array,
    codes: Array,
    kinds: Array,
    cuts: Array,
    streams: Array,
    bits: Array,
    factors: Array,
    start: int,
    count: int,
    out: Array,
    out_code: int,
    tiles: Array,
    words: Array,
) -> int:
    """y = b + Σ fᵢδᵢ over the kept elements, in fp32; ``factors`` fp32 [n]."""
    masks = (kinds, cuts, streams, bits)
    base, tile, totals = tiles[0], tiles[1], tiles[2]
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        draw(masks, start + begin, words)
        total, here = totals[:size], base[:size]
        largest = max(largest, load(raw, 0, codes[0], begin, here))
        clear(total)
        for i in range(codes.shape[0] - 1):
            delta = tile[:size]
            largest = max(largest, load_change(raw, i + 1, codes[i + 1], begin, here, delta))
            drop(delta, masks, i, start + begin, words)
            _add(total, factors[i], delta)
        _add(total, f32(1), here)
        unsound |= store(total, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)
