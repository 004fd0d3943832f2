"""The task arithmetic family: changes from the base, thinned out, voted on, added up.

Terms as in the papers: δᵢ = xᵢ − b in fp32; a mask drops some of its elements; ``rescale`` enlarges the rest so that
Σ|δᵢ| stays what it was; with a vote only those elements count whose sign is that of the weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.planning.plan import Input
from worker.engine import topk
from worker.engine.dtypes import Array
from worker.engine.masks import EVERYTHING, NOTHING, Mask, Random, Ranked, stream, threshold
from worker.engine.methods.blends import blend, divisor
from worker.engine.methods.parameters import draw_names, flag, number, weights
from worker.engine.work import Work

_LEAST_SUM = 1e-7
"""Below this a sum of magnitudes is not divided by, as in the reference implementation."""


def ties(work: Work) -> None:
    """Keeps the largest ``density`` of each change, at least one element; votes. arXiv:2306.01708."""
    add_changes(work, trimmed_masks(work), vote=True)


def trimmed_masks(work: Work) -> list[Mask]:
    """TIES' masks: of each change the largest ``density``, at least one element."""
    return largest_masks(work, [_ties_range(one, work.elements) for one in work.step.inputs])


def breadcrumbs(work: Work) -> None:
    """Drops the smallest and the ``gamma`` largest of each change. arXiv:2312.06795."""
    add_changes(work, _breadcrumbs_masks(work), vote=False)


def breadcrumbs_ties(work: Work) -> None:
    """Breadcrumbs' masks, then a vote."""
    add_changes(work, _breadcrumbs_masks(work), vote=True)


def dare_linear(work: Work) -> None:
    """Keeps each element with probability ``density``. arXiv:2311.03099."""
    add_changes(work, _dare_masks(work), vote=False)


def dare_ties(work: Work) -> None:
    """DARE's masks, then a vote."""
    add_changes(work, _dare_masks(work), vote=True)


def _ties_range(one: Input, total: int) -> tuple[int, int]:
    density = number(one, "density", 1.0)
    if density >= 1.0:
        return total, 0
    return (max(1, int(density * total)), 0) if density > 0.0 else (0, 0)


def _breadcrumbs_masks(work: Work) -> list[Mask]:
    return largest_masks(work, [_breadcrumbs_range(one, work.elements) for one in work.step.inputs], first=False)


def _breadcrumbs_range(one: Input, total: int) -> tuple[int, int]:
    """Of N elements K = ⌊ρN⌋ are kept, above the B = max(0, N − K − ⌊γN⌋) smallest."""
    density = number(one, "density", 1.0)
    if density >= 1.0:
        return total, 0
    kept = max(0, int(density * total))
    smallest = max(0, total - kept - int(number(one, "gamma", 0.01) * total))
    return total - smallest, total - smallest - kept


def largest_masks(work: Work, ranges: Sequence[tuple[int, int]], first: bool = True) -> list[Mask]:
    """For each parent ``(m, d)``: keep its m largest changes without the d largest.

    Of changes of the same size the ``first`` ones count as larger, or else the last ones: sorted downwards by a
    stable sort, or upwards.
    """
    if work.elements == 0 or all(m >= work.elements and d == 0 for m, d in ranges):
        return [Ranked(EVERYTHING) for _ in ranges]
    return [Ranked(*pair) for pair in topk.largest(work, work.backend.magnitudes, ranges, first=first)]


def _dare_masks(work: Work) -> list[Mask]:
    names = draw_names([source.label for source in work.sources[1:]])
    return [
        random_mask(work, number(one, "density", 1.0), name) for one, name in zip(work.step.inputs, names, strict=True)
    ]


def random_mask(work: Work, density: float, parent: str) -> Mask:
    """Each element of the parent's change with probability ``density``."""
    if density >= 1.0:
        return Ranked(EVERYTHING)
    if density <= 0.0:
        return Ranked(NOTHING)
    return Random(stream(work.seed, work.step.name, parent), threshold(density))


def add_changes(work: Work, masks: Sequence[Mask], vote: bool, sums: Array | None = None) -> None:
    """Writes b + λ · Σ wᵢ rescaleᵢ maskᵢ(δᵢ), voted on or not, divided by the weights if ``normalize``.

    ``sums`` fp64 [n, 2]: Σ|δᵢ| and Σ|kept δᵢ| where they are known; both 0 for masks that keep all or nothing.
    """
    step, backend = work.step, work.backend
    weight, scale, divide = weights(step), number(step, "lambda", 1.0), flag(step, "normalize")
    whole = all(mask == Ranked(EVERYTHING) for mask in masks)
    if whole and not vote:
        blend(work, scale * weight / divisor(weight, divide), deltas=True)
        return
    rescale = flag(step, "rescale") and not whole
    packed = backend.masks(masks, work.elements if rescale and sums is None else 0)
    if rescale:
        sums = _sizes(work, packed) if sums is None else sums
        factors = weight * _rescaling(sums)
    else:
        factors = weight
    if vote:
        work.write(lambda chunk: backend.elect(chunk, packed, factors, weight, divide, scale))
    else:
        factors = scale * factors / divisor(weight, divide)
        work.write(lambda chunk: backend.add_up(chunk, packed, factors))


def _sizes(work: Work, packed: object) -> Array:
    """Σ|δᵢ| and Σ|kept δᵢ| for each parent, fp64 [n, 2]."""
    size = (len(work.step.inputs), 2)
    parts = work.sweep(lambda: np.zeros(size), lambda chunk, sums: work.backend.sizes(chunk, packed, sums))
    work.backend.remember(packed)
    return np.asarray(np.sum(parts, axis=0)) if parts else np.zeros(size)


def _rescaling(sums: Array) -> Array:
    """Σ|δᵢ| / Σ|kept δᵢ| for each parent, fp64; 1 where either sum is next to nothing."""
    usable = (sums >= _LEAST_SUM).all(axis=1)
    return np.divide(sums[:, 0], sums[:, 1], out=np.ones(len(sums)), where=usable)
