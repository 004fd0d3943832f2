"""Inner loops of SCE and RAM (see ``worker.engine.methods.shares``). Changes are δᵢ = xᵢ − x₀ in fp32."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine.dtypes import BLOCK, PARENT_UNSOUND, RESULT_UNSOUND, TILE, Array
from worker.engine.kernels.jit import kernel
from worker.engine.kernels.sums import add_products, fold
from worker.engine.kernels.tiles import INFINITY, clear, f32, store, u32
from worker.engine.kernels.variances import keep_selected, load_changes, mark_selected


@kernel
def _select(changes: Array, cut: Array, start: int, size: int, flags: Array, wide: Array, marks: Array) -> None:
    """Clears the changes of elements outside ``cut``, by marks made here."""
    clear(marks)
    mark_selected(changes, cut, start, flags[:size], wide, marks)
    keep_selected(changes, size, marks)


@kernel
def energies(
    raw: Array, codes: Array, cut: Array, marks: Array, start: int, count: int, sums: Array, tiles: Array, wide: Array,
    lanes: Array,
) -> None:  # fmt: skip
    """Adds Σ δᵢ² over the elements whose variance belongs to ``cut``, a ``Cut.least``, to ``sums`` fp64 [n].

    With an empty ``cut`` over all. Where ``marks`` uint8 [⌈elements/8⌉] has room, of zeros, these elements are marked.
    """
    base, changes = tiles[0], tiles[1 : codes.shape[0]]
    flags, room = tiles[codes.shape[0]].view(np.uint32), tiles[codes.shape[0] + 1, : TILE // 32].view(np.uint8)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        load_changes(raw, codes, begin, base[:size], changes)
        if cut.shape[0] and marks.shape[0]:
            here = marks[(start + begin) >> 3 :]
            mark_selected(changes, cut, start + begin, flags[:size], wide, here)
            keep_selected(changes, size, here)
        elif cut.shape[0]:
            _select(changes, cut, start + begin, size, flags, wide, room)
        for i in range(changes.shape[0]):
            add_products(changes[i, :size], changes[i, :size], lanes[i])
            if begin + size == count or (begin + size) % BLOCK == 0:
                sums[i] += fold(lanes[i])


@kernel
def _agree(changes: Array, shares: Array, base: Array, total: Array, top: Array, bottom: Array) -> None:
    """Leaves base + Σ aᵢ δᵢ / Σ aᵢ, over the parents with the sign of the sum, in ``base``."""
    size = base.shape[0]
    clear(total)
    for i in range(changes.shape[0]):
        change = changes[i, :size]
        for j in range(total.shape[0]):
            total[j] += np.float64(change[j])
    clear(top)
    clear(bottom)
    for i in range(changes.shape[0]):
        change, share = changes[i, :size], shares[i]
        for j in range(top.shape[0]):
            value = change[j]
            agrees = (value != f32(0)) & ((value > f32(0)) == (total[j] >= 0.0))
            part = share * value
            top[j] += part if agrees else f32(0)
            bottom[j] += share if agrees else f32(0)
    for j in range(base.shape[0]):
        base[j] += top[j] / max(bottom[j], f32(1e-6))


@kernel
def agree(
    raw: Array, codes: Array, cut: Array, marks: Array, shares: Array, start: int, count: int, out: Array,
    out_code: int, tiles: Array, wide: Array,
) -> int:  # fmt: skip
    """SCE's result; ``shares`` fp32 [n], ``cut`` and ``marks`` as ``energies`` left them. The sign of the sum is found
    in fp64."""
    base, changes = tiles[0], tiles[1 : codes.shape[0]]
    top, bottom = tiles[codes.shape[0]], tiles[codes.shape[0] + 1]
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        largest = max(largest, load_changes(raw, codes, begin, base[:size], changes))
        if marks.shape[0]:
            keep_selected(changes, size, marks[(start + begin) >> 3 :])
        elif cut.shape[0]:
            _select(changes, cut, start + begin, size, top.view(np.uint32), wide, bottom[: TILE // 32].view(np.uint8))
        _agree(changes, shares, base[:size], wide[0, :size], top[:size], bottom[:size])
        unsound |= store(base[:size], out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)


@kernel
def _count_changers(changes: Array, epsilon: Any, changers: Array) -> None:
    size = changers.shape[0]
    clear(changers)
    for i in range(changes.shape[0]):
        change = changes[i, :size]
        for j in range(changers.shape[0]):
            changers[j] += f32(abs(change[j]) > epsilon)


@kernel
def count_changes(raw: Array, codes: Array, epsilon: Any, count: int, counts: Array, tiles: Array) -> int:
    """Adds to ``counts`` int64 [2, n] how many elements each parent changed alone, and together with others."""
    base, changes = tiles[0], tiles[1 : codes.shape[0]]
    changers = tiles[codes.shape[0]]
    largest = u32(0)
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        largest = max(largest, load_changes(raw, codes, begin, base[:size], changes))
        here = changers[:size]
        _count_changers(changes, epsilon, here)
        for i in range(changes.shape[0]):
            change = changes[i, :size]
            alone = together = u32(0)
            for j in range(here.shape[0]):
                changed = abs(change[j]) > epsilon
                alone = u32(alone + u32(changed & (here[j] < f32(1.5))))
                together = u32(together + u32(changed & (here[j] > f32(1.5))))
            counts[0, i] += alone
            counts[1, i] += together
    return PARENT_UNSOUND if largest >= INFINITY else 0


@kernel
def _add_changed(change: Array, epsilon: Any, alone: Any, changers: Array, total: Array, lone: Array) -> None:
    """Counts and adds up the changes larger than ``epsilon``; ``lone`` is what they come to if nobody else's do."""
    for j in range(total.shape[0]):
        changed = abs(change[j]) > epsilon
        value = change[j] if changed else f32(0)
        changers[j] += f32(1) if changed else f32(0)
        total[j] += value
        lone[j] += alone * value


@kernel
def share_out(
    raw: Array,
    codes: Array,
    epsilon: Any,
    alone: Array,
    count: int,
    out: Array,
    out_code: int,
    tiles: Array,
) -> int:
    """y = x₀ + the changes larger than ``epsilon``: times ``alone`` fp32 [n] if a single parent's, else their mean."""
    base, changes = tiles[0], tiles[1 : codes.shape[0]]
    changers, totals, lones = tiles[codes.shape[0]], tiles[codes.shape[0] + 1], tiles[codes.shape[0] + 2]
    largest, unsound = u32(0), False
    for begin in range(0, count, TILE):
        size = min(TILE, count - begin)
        largest = max(largest, load_changes(raw, codes, begin, base[:size], changes))
        here, total = changers[:size], totals[:size]
        lone = lones[:size]
        clear(here)
        clear(total)
        clear(lone)
        for i in range(changes.shape[0]):
            _add_changed(changes[i, :size], epsilon, alone[i], here, total, lone)
        for j in range(total.shape[0]):
            single, mean = lone[j], total[j] / here[j]
            total[j] = base[j] + (single if here[j] < f32(1.5) else mean)
        unsound |= store(total, out, out_code, begin)
    return (PARENT_UNSOUND if largest >= INFINITY else 0) | (RESULT_UNSOUND if unsound else 0)
