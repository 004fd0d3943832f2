"""Whole chunks as fp32 rows, for methods written with NumPy; and DELLA's draw by rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import INFINITY, clear, load, store, u32

u64 = np.uint64
_32, _LOWER = u64(32), u64(0xFFFFFFFF)
_LONGEST_DIGIT = 11


@kernel
def widen(raw: Array, codes: Array, count: int, rows: Array) -> int:
    """``rows`` fp32 [inputs, count]: the inputs."""
    largest = u32(0)
    for i in range(codes.shape[0]):
        for begin in range(0, count, TILE):
            largest = max(largest, load(raw, i, codes[i], begin, rows[i, begin : min(begin + TILE, count)]))
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def narrow(row: Array, out: Array, out_code: int) -> int:
    """Rounds ``row`` fp32 [count] into ``out`` (uint8)."""
    unsound = False
    for begin in range(0, row.shape[0], TILE):
        unsound |= store(row[begin : begin + TILE], out, out_code, begin)
    return RESULT_UNSOUND if unsound else 0


@kernel
def _significant(row: Array) -> Any:
    """(lowest bit that any value has, number of bits from there to the highest)."""
    together = u32(0)
    for j in range(row.shape[0]):
        together |= row[j]
    lowest, highest = 0, 0
    for bit in range(32):
        if (together >> u32(bit)) & u32(1):
            highest = bit + 1
        elif highest == 0:
            lowest = bit + 1
    return lowest, max(0, highest - lowest)


@kernel
def _sort_by_digit(entries: Array, shift: Any, before: Array, after: Array, out: Array) -> bool:
    """One pass of a stable radix sort, into ``out``; False when there is nothing to sort.

    Both halves are counted and moved side by side: many equal digits in a row would otherwise wait for each other.
    """
    clear(before)
    clear(after)
    mask = u64(before.shape[0] - 1)
    half = entries.shape[0] // 2
    first, second = entries[:half], entries[half : 2 * half]
    rest = entries[2 * half :]
    for j in range(half):
        before[(first[j] >> shift) & mask] += 1
        after[(second[j] >> shift) & mask] += 1
    for j in range(rest.shape[0]):
        after[(rest[j] >> shift) & mask] += 1
    digit = (entries[0] >> shift) & mask
    if before[digit] + after[digit] == entries.shape[0]:
        return False
    at = np.int32(0)
    for k in range(before.shape[0]):
        here = before[k]
        before[k] = at
        at += here
        here = after[k]
        after[k] = at
        at += here
    for j in range(half):
        one, other = first[j], second[j]
        k, m = (one >> shift) & mask, (other >> shift) & mask
        out[before[k]] = one
        out[after[m]] = other
        before[k] += 1
        after[m] += 1
    for j in range(rest.shape[0]):
        k = (rest[j] >> shift) & mask
        out[after[k]] = rest[j]
        after[k] += 1
    return True


@kernel
def keep_by_rank(rows: Array, words: Array, thresholds: Array, kept: Array, room: Array, counts: Array) -> None:
    """``kept`` uint8 [rows, width]: 1 where the element of rank r in its row has a word below ``thresholds[r]``.

    ``rows`` uint32 [rows, width] are ranked upwards, equal ones in order; the words uint32 [rows, width] lie in rank
    order; ``thresholds`` uint32 [width]. Room to work in: ``room`` uint64 [2, width], ``counts`` int32 [4096].

    A radix sort of the bits that matter in a row: differences of bfloat16 numbers have half of them.
    """
    width = rows.shape[1]
    entries, others = room[0], room[1]
    for row in range(rows.shape[0]):
        values = rows[row]
        lowest, size = _significant(values)
        for j in range(width):
            entries[j] = (u64(values[j] >> u32(lowest)) << _32) | u64(j)
        passes = (size + _LONGEST_DIGIT - 1) // _LONGEST_DIGIT
        bits = (size + passes - 1) // max(1, passes)
        before, after = counts[: 1 << bits], counts[1 << bits : 2 << bits]
        for place in range(passes):
            if _sort_by_digit(entries, u64(32 + bits * place), before, after, others):
                entries, others = others, entries
        drawn, here = words[row], kept[row]
        for r in range(width):
            here[entries[r] & _LOWER] = drawn[r] < thresholds[r]
