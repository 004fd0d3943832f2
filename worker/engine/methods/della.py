"""DELLA: changes dropped at random, the smaller ones of each row more often. arXiv:2406.11617."""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from app.planning.plan import Input
from app.recipe.findings import refuse
from worker.engine.dtypes import Array
from worker.engine.masks import EVERYTHING, NOTHING, ByRank, Marked, Ranked, stream, threshold
from worker.engine.methods.deltas import add_changes
from worker.engine.methods.parameters import draw_names, number
from worker.engine.work import Work


def della(work: Work) -> None:
    """Drops by rank, then votes."""
    _merge(work, vote=True)


def della_linear(work: Work) -> None:
    """Drops by rank, then adds up."""
    _merge(work, vote=False)


def _merge(work: Work, *, vote: bool) -> None:
    """Draws all masks first, as one bit an element, and learns on the way what to rescale by.

    A row lies along axis 1; a vector is one row. Its element of rank r, the smallest having rank 0, is kept when the
    stream's word at place r of the row says so.
    """
    shape = work.step.shape
    depth = shape[1] if len(shape) > 1 else work.elements
    inner = prod(shape[2:])
    chances = [_chances(work, one, depth) for one in work.step.inputs]
    drawn = {i: thresholds for i, thresholds in enumerate(chances) if isinstance(thresholds, np.ndarray)}
    if not drawn:
        add_changes(work, [one for one in chances if isinstance(one, Ranked)], vote)
        return
    names = draw_names([source.label for source in work.sources[1:]])
    streams = np.stack([stream(work.seed, work.step.name, names[i]).words for i in drawn])
    draws = ByRank(np.array(list(drawn)), streams, np.stack(list(drawn.values())), inner)
    bits = np.zeros((len(chances), -(-work.elements // 8)), np.uint8)
    whole = depth * inner
    sums = work.sweep(
        lambda: np.zeros((len(chances), 2)),
        lambda chunk, sums: work.backend.draw_by_rank(chunk, draws, bits, sums),
        whole * (8 // gcd(whole, 8)),
    )
    masks = [one if isinstance(one, Ranked) else Marked(bits[i]) for i, one in enumerate(chances)]
    add_changes(work, masks, vote, np.sum(sums, axis=0))


def _chances(work: Work, one: Input, depth: int) -> Array | Ranked:
    """The threshold of each rank, uint32 [depth]; or what to keep where nothing is left to chance."""
    density, epsilon = number(one, "density", 1.0), number(one, "epsilon", 0.15)
    if work.elements == 0 or density >= 1.0:
        return Ranked(EVERYTHING)
    if density <= 0.0:
        return Ranked(NOTHING)
    if density - epsilon <= 0.0 or density + epsilon >= 1.0:
        raise refuse(
            "density-epsilon",
            work.step.name,
            f"density {density:g} and epsilon {epsilon:g} do not go together: density − epsilon must be above 0 and"
            " density + epsilon below 1.",
            "Choose a smaller epsilon, or a density further from 0 and 1.",
        )
    ranks = np.arange(depth) / (depth - 1) if depth > 1 else np.array([0.5])
    return np.array([threshold(chance) for chance in density - epsilon + 2.0 * epsilon * ranks], np.uint32)
