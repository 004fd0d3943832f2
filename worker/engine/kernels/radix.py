"""A stable radix sort, for rows whose values have few bits in common with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.tiles import clear, u32

u64 = np.uint64


@kernel
def _sort_by_digit(entries: Array, shift: Any, before: Array, after: Array, out: Array) -> bool:
    """One pass, into ``out``; False when there is nothing to sort.

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
    at = u32(0)
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
def sort_by_digits(entries: Array, others: Array, lowest: int, highest: int, counts: Array) -> Any:
    """``entries`` uint64 [count] sorted by their bits ``lowest`` to below ``highest``; in their place or in ``others``.

    Room to work in: ``counts`` uint32 [2, a power of two], as many values as a digit may have.
    """
    longest = 0
    while (2 << longest) <= counts.shape[1]:
        longest += 1
    passes = (highest - lowest + longest - 1) // longest
    bits = (highest - lowest + passes - 1) // max(1, passes)
    before, after = counts[0, : 1 << bits], counts[1, : 1 << bits]
    for place in range(passes):
        if _sort_by_digit(entries, u64(lowest + bits * place), before, after, others):
            entries, others = others, entries
    return entries
