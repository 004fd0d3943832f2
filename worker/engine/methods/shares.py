"""Methods in which each weight is shared out among the parents that changed it: SCE and RAM."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.engine import topk
from worker.engine.dtypes import BLOCK, Array
from worker.engine.masks import Cut
from worker.engine.methods.parameters import number
from worker.engine.work import Work


def sce(work: Work) -> None:
    """y = b + Σ aᵢ[agrees] vᵢ / Σ aᵢ[agrees], aᵢ ∝ mean vᵢ², on the ``select_topk`` of largest variance.

    An element agrees when its sign is that of Σ vᵢ, 0 counting as plus. arXiv:2408.07990. Variances are ranked in
    fp32, equal ones by position.
    """
    cut = _most_varied(work)
    count = len(work.step.inputs)

    def look(chunk: Any, energy: Array) -> None:
        _, changes = _selected(work, chunk, cut)
        for start in range(0, changes.shape[1], BLOCK):
            energy += np.square(changes[:, start : start + BLOCK].astype(np.float64)).sum(axis=1)

    energy = np.sum(work.sweep(lambda: np.zeros(count), look) or [np.zeros(count)], axis=0) / max(1, work.elements)
    total = energy.sum()
    share = (energy / total if total >= 1e-6 else np.full(count, 1.0 / count)).astype(np.float32)[:, None]

    def make(chunk: Any) -> None:
        base, changes = _selected(work, chunk, cut)
        plus = changes.sum(axis=0, dtype=np.float64) >= 0
        agreed = np.where(np.where(plus, changes > 0, changes < 0), share, np.float32(0))
        work.backend.put(
            chunk, base + (agreed * changes).sum(axis=0) / np.maximum(agreed.sum(axis=0), np.float32(1e-6))
        )

    work.write(make)


def _most_varied(work: Work) -> Cut | None:
    """The elements that may change; None for all."""
    share = number(work.step, "select_topk", 1.0)
    if share >= 1.0:
        return None

    def look(chunk: Any, found: list[int]) -> None:
        found.append(int(np.count_nonzero(_variance(_changes(work, chunk)[1]))))

    differing = sum(sum(found) for found in work.sweep(list[int], look))

    def quantity(chunk: Any) -> Any:
        return work.backend.bits(_variance(_changes(work, chunk)[1])[None])

    return topk.largest(work, quantity, [[int(differing * share)]])[0][0]


def _changes(work: Work, chunk: Any) -> tuple[Array, Array]:
    """The base fp32 [count] and the changes from it fp32 [n, count]."""
    values = work.backend.floats(chunk)
    return values[0], values[1:] - values[0]


def _variance(changes: Array) -> Array:
    """Population variance over the parents, fp32 [count]."""
    return np.asarray(changes.astype(np.float64).var(axis=0).astype(np.float32))


def _selected(work: Work, chunk: Any, cut: Cut | None) -> tuple[Array, Array]:
    base, changes = _changes(work, chunk)
    if cut is not None:
        kept = cut.holds(_variance(changes).view(np.uint32), chunk.start)
        changes = np.where(kept, changes, np.float32(0))
    return base, changes


def ram(work: Work) -> None:
    """Changes that one parent alone made are kept, others averaged over those who made them. arXiv:2601.13572."""
    _share_out(work, np.ones(len(work.step.inputs), np.float32))


def ramplus_tl(work: Work) -> None:
    """RAM, lone changes of parent i times 1 + r·clamp(ρᵢ, 0, α), ρᵢ = shared changes / max(lone changes, epsilon)."""
    step = work.step
    count = len(step.inputs)

    def look(chunk: Any, counts: Array) -> None:
        _, _, changed, changers = _changed(work, chunk)
        counts[0] += (changed & (changers == 1)).sum(axis=1)
        counts[1] += (changed & (changers > 1)).sum(axis=1)

    parts = work.sweep(lambda: np.zeros((2, count), np.int64), look)
    lone, shared = np.sum(parts, axis=0) if parts else np.zeros((2, count))
    ratio = shared / np.maximum(lone, _epsilon(work))
    _share_out(
        work, (1.0 + number(step, "r", 0.1) * np.clip(ratio, 0.0, number(step, "alpha", 0.2))).astype(np.float32)
    )


def _epsilon(work: Work) -> float:
    return number(work.step, "epsilon", 1e-5)


def _changed(work: Work, chunk: Any) -> tuple[Array, Array, Array, Array]:
    """Base, changes, which of them are larger than epsilon, and how many parents made one at each element."""
    base, changes = _changes(work, chunk)
    changed = np.abs(changes) > np.float32(_epsilon(work))
    return base, changes, changed, changed.sum(axis=0)


def _share_out(work: Work, lone: Array) -> None:
    """``lone`` fp32 [n]: what a parent's change counts where no other parent made one."""

    def make(chunk: Any) -> None:
        base, changes, changed, changers = _changed(work, chunk)
        shared = np.float32(1) / np.maximum(changers, 1).astype(np.float32)
        factors = np.where(changed, np.where(changers == 1, lone[:, None], shared), np.float32(0))
        work.backend.put(chunk, base + (factors * changes).sum(axis=0))

    work.write(make)
