"""Whole chunks as fp32 rows, for methods written with NumPy; and DELLA's draw by rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import INFINITY, clear, load, store, u32

u64 = np.uint64
_32, _LOWER = u64(32), u64(0xFFFFFFFF)


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
def _count_digits(row: Array, entries: Array, counts: Array) -> None:
    """``entries`` uint64 [width]: value and column; ``counts`` int64 [1024]: of each of the value's four bytes."""
    clear(counts)
    for j in range(row.shape[0]):
        value = row[j]
        entries[j] = (u64(value) << _32) | u64(j)
        counts[value & u32(0xFF)] += 1
        counts[u32(256) + ((value >> u32(8)) & u32(0xFF))] += 1
        counts[u32(512) + ((value >> u32(16)) & u32(0xFF))] += 1
        counts[u32(768) + (value >> u32(24))] += 1


@kernel
def _sort_by_byte(entries: Array, counts: Array, shift: Any, out: Array) -> bool:
    """One pass of a stable radix sort, into ``out``; False when there is nothing to sort."""
    if counts[(entries[0] >> shift) & u64(0xFF)] == entries.shape[0]:
        return False
    at = np.int64(0)
    for byte in range(256):
        here = counts[byte]
        counts[byte] = at
        at += here
    for j in range(entries.shape[0]):
        entry = entries[j]
        byte = (entry >> shift) & u64(0xFF)
        out[counts[byte]] = entry
        counts[byte] += 1
    return True


@kernel
def keep_by_rank(rows: Array, words: Array, thresholds: Array, kept: Array, room: Array, counts: Array) -> None:
    """``kept`` uint8 [rows, width]: 1 where the element of rank r in its row has a word below ``thresholds[r]``.

    ``rows`` uint32 [rows, width] are ranked upwards, equal ones in order; the words uint32 [rows, width] lie in rank
    order; ``thresholds`` uint32 [width]. Room to work in: ``room`` uint64 [2, width], ``counts`` int64 [1024].
    """
    width = rows.shape[1]
    entries, others = room[0], room[1]
    for row in range(rows.shape[0]):
        _count_digits(rows[row], entries, counts)
        for place in range(4):
            if _sort_by_byte(entries, counts[256 * place : 256 * (place + 1)], u64(32 + 8 * place), others):
                entries, others = others, entries
        drawn, here = words[row], kept[row]
        for r in range(width):
            here[entries[r] & _LOWER] = drawn[r] < thresholds[r]
