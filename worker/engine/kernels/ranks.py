"""DELLA's draw by rank: which elements of a row are kept, the words of a stream lying in the order of the ranks.

Differences of bfloat16 numbers are made for being counted: many are 0, and the others have few values. So the zeros of
a row are told from the rest, and the rest goes by its upper bits into buckets in order. What lies wrongly inside a
bucket, a handful of elements, is put right by insertion. Rows of many different values, as those of fp32 checkpoints,
are sorted by all their bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, STEP, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.philox import fill
from worker.engine.kernels.pick import part_step
from worker.engine.kernels.radix import sort_by_digits
from worker.engine.kernels.sums import add_magnitudes, fold
from worker.engine.kernels.tiles import INFINITY, MAGNITUDE, clear, f32, load, load_change, u32

u64 = np.uint64
_32, _LOWER = u64(32), u64(0xFFFFFFFF)
_GATHER = u64(0x0102040810204080)
"""Times eight bytes of 0 or 1: their bits in the uppermost byte, the first byte's the least significant."""
_RUN = 64
_FINE = 24
"""Rows whose values differ in more bits than these have hardly two of the same."""


@kernel
def _part(values: Array, zeros: Array, others: Array) -> int:
    """The places of 0, and those of anything else, each in order; returns how many others there are."""
    found = 0
    whole = values.shape[0] // STEP * STEP
    for j in range(0, whole, STEP):
        found = part_step(values, j, zeros, others, found, 0)
    for j in range(whole, values.shape[0]):
        if values[j] == u32(0):
            zeros[j - found] = u32(j)
        else:
            others[found] = u32(j)
            found += 1
    return found


@kernel
def _extent(values: Array) -> Any:
    """(the least value but 0, how much more the largest is, lowest bit that any value has); some value is not 0."""
    together, least, largest = u32(0), u32(0xFFFFFFFF), u32(0)
    for j in range(values.shape[0]):
        value = values[j]
        together |= value
        largest = max(largest, value)
        least = min(least, u32(value - u32(1)))
    lowest = 0
    while (together >> u32(lowest)) & u32(1) == u32(0):
        lowest += 1
    least = u32(least + u32(1))
    return least, u32(largest - least), lowest


@kernel
def _length(value: Any) -> int:
    """The number of bits of an unsigned number."""
    bits = 0
    while bits < 32 and value >> u32(bits):
        bits += 1
    return bits


@kernel
def _fill_buckets(values: Array, places: Array, least: Any, shift: Any, counts: Array, entries: Array) -> None:
    """``entries`` uint64 [places]: value − least and place, by the bits of that difference from ``shift`` on.

    ``counts`` uint32 has a place for each value of those bits. Inside a bucket the order of ``places`` stays.
    """
    clear(counts)
    for j in range(places.shape[0]):
        counts[u32(values[places[j]] - least) >> shift] += 1
    at = u32(0)
    for k in range(counts.shape[0]):
        here = counts[k]
        counts[k] = at
        at += here
    for j in range(places.shape[0]):
        place = places[j]
        value = u32(values[place] - least)
        k = value >> shift
        entries[counts[k]] = (u64(value) << _32) | u64(place)
        counts[k] += 1


@kernel
def _mend(entries: Array, most: int) -> bool:
    """Sorts what is nearly sorted by insertion; False, and not sorted, when more than ``most`` steps would be needed.

    Whole runs in order are passed over: all but a few are.
    """
    steps = 0
    for first in range(1, entries.shape[0], _RUN):
        last = min(first + _RUN, entries.shape[0])
        left, right = entries[first - 1 : last - 1], entries[first:last]
        wrong = u32(0)
        for j in range(right.shape[0]):
            wrong |= u32(right[j] < left[j])
        if wrong == u32(0):
            continue
        for j in range(first, last):
            one, k = entries[j], j
            while k > 0 and entries[k - 1] > one:
                entries[k] = entries[k - 1]
                k -= 1
            entries[k] = one
            steps += j - k
            if steps > most:
                return False
    return True


@kernel
def _sort(values: Array, places: Array, room: Array, counts: Array) -> Any:
    """The ``places`` of values but 0 as uint64 with the place in the lower half, sorted by value, then place."""
    count = places.shape[0]
    entries = room[0, :count]
    least, extent, lowest = _extent(values)
    length = _length(extent)
    if length - lowest <= _FINE:
        shift = max(0, length - _length(u32(counts.shape[1] // 2 - 1)))
        _fill_buckets(values, places, least, u32(shift), counts[0, : (extent >> u32(shift)) + 1], entries)
        if _mend(entries, count):
            return entries
    for j in range(count):
        place = places[j]
        entries[j] = (u64(u32(values[place] - least)) << _32) | u64(place)
    return sort_by_digits(entries, room[1, :count], 32 + lowest, 32 + length, counts)


@kernel
def _keep(
    values: Array, flags: Array, kept: Array, first: int, step: int, places: Array, room: Array, counts: Array
) -> None:
    """Of one row ``values`` uint32 [width]: the element of rank r is kept where ``flags`` uint8 [width] has 1 at r.

    What is kept of it lies at ``first``, ``first + step``...
    """
    zeros, others = places[0], places[1]
    found = _part(values, zeros, others)
    rank = values.shape[0] - found
    for r in range(rank):
        kept[first + np.int64(zeros[r]) * step] = flags[r]
    if found:
        entries, upper = _sort(values, others[:found], room, counts), flags[rank:]
        for r in range(found):
            kept[first + np.int64(entries[r] & _LOWER) * step] = upper[r]


@kernel
def _draw(words: Array, step: int, thresholds: Array, flags: Array) -> None:
    """``flags`` uint8 [depth]: 1 where every ``step``-th word is below the threshold."""
    if step == 1:
        for r in range(flags.shape[0]):
            flags[r] = words[r] < thresholds[r]
    else:
        for r in range(flags.shape[0]):
            flags[r] = words[r * step] < thresholds[r]


@kernel
def _column(block: Array, m: int, step: int, row: Array) -> Array:
    """``row``, filled with every ``step``-th value from ``m`` on."""
    for r in range(row.shape[0]):
        row[r] = block[r * step + m]
    return row


@kernel
def _load_sizes(raw: Array, codes: Array, i: int, begin: int, values: Array, tiles: Array) -> Any:
    """``values`` uint32: the bits of |xᵢ − x₀| from element ``begin`` on. Returns what ``load`` does, of both."""
    largest = u32(0)
    for done in range(0, values.shape[0], TILE):
        bits = values[done : done + TILE]
        base, delta = tiles[0, : bits.shape[0]], tiles[1, : bits.shape[0]]
        largest = max(largest, load(raw, 0, codes[0], begin + done, base))
        largest = max(largest, load_change(raw, i, codes[i], begin + done, base, delta))
        change = delta.view(np.uint32)
        for j in range(bits.shape[0]):
            bits[j] = change[j] & MAGNITUDE
    return largest


@kernel
def _add_sizes(values: Array, kept: Array, sums: Array, tiles: Array, lanes: Array) -> None:
    """Adds Σ|δ| and Σ|kept δ| to ``sums`` fp64 [2]; ``values`` uint32 and ``kept`` uint8 are of whole rows."""
    sizes = values.view(np.float32)
    for done in range(0, sizes.shape[0], TILE):
        size, keep = sizes[done : done + TILE], kept[done : done + TILE]
        add_magnitudes(size, lanes[0])
        left = tiles[0, : size.shape[0]]
        for j in range(left.shape[0]):
            left[j] = size[j] if keep[j] else f32(0)
        add_magnitudes(left, lanes[1])
    sums[0] += fold(lanes[0])
    sums[1] += fold(lanes[1])


@kernel
def _pack(kept: Array, bits: Array) -> None:
    """``kept`` uint8 [count] of 0 and 1, as ``bits`` uint8 [⌈count/8⌉], the first one the least significant."""
    whole = kept.shape[0] >> 3
    eight = kept[: whole << 3].view(np.uint64)
    for j in range(whole):
        bits[j] = np.uint8(u64(eight[j] * _GATHER) >> u64(56))
    for j in range(whole << 3, kept.shape[0]):
        bits[j >> 3] |= np.uint8(kept[j]) << np.uint8(j & 7)


@kernel
def draw_by_rank(
    raw: Array, codes: Array, drawn: Array, streams: Array, thresholds: Array, inner: int, start: int, count: int,
    bits: Array, sums: Array, words: Array, kept: Array, flags: Array, sizes: Array, places: Array, room: Array,
    counts: Array, tiles: Array, lanes: Array,
) -> int:  # fmt: skip
    """DELLA's masks of whole rows, and how much they leave; element 0 of the inputs is ``start``, a multiple of 8.

    ``drawn`` int64 [k]: the parents this is done for, 0 being the first after the base; ``streams`` uint32 [k, 4];
    ``thresholds`` uint32 [k, depth]: the element of rank r in its row, smallest first, equal ones in order, is kept
    when the word at place r of the row is below ``thresholds[·, r]``. A row is [depth] elements, ``inner`` apart.
    ``bits`` uint8 [n, ⌈elements/8⌉], of zeros: gets the masks. ``sums`` fp64 [n, 2]: Σ|δᵢ| and Σ|kept δᵢ| are added.

    Room to work in: ``words`` uint32 [count + BLOCK], ``kept`` uint8 [≥ count], ``flags`` uint8 [depth], ``sizes``
    uint32 [depth · (inner + 1)], ``places`` uint32 [2, ≥ depth + 16], ``room`` uint64 [2, depth], ``counts`` uint32
    [2, a power of two], about half as many as a row is wide.
    """
    depth = thresholds.shape[1]
    whole = depth * inner
    block, row = sizes[:whole], sizes[whole:]
    here = kept[:count]
    largest = u32(0)
    for d in range(drawn.shape[0]):
        i = drawn[d]
        fill(streams[d], start, words[:count], words[count:])
        for begin in range(0, count, whole):
            largest = max(largest, _load_sizes(raw, codes, i + 1, begin, block, tiles))
            for m in range(inner):
                values = block if inner == 1 else _column(block, m, inner, row)
                _draw(words[begin + m : begin + whole], inner, thresholds[d], flags)
                _keep(values, flags, here, begin + m, inner, places, room, counts)
            _add_sizes(block, here[begin : begin + whole], sums[i], tiles, lanes)
        _pack(here, bits[i, start >> 3 :])
    return PARENT_UNSOUND if largest >= INFINITY else 0
