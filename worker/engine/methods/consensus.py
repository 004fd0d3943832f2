"""Consensus: of a sum of changes only those elements that matter to several parents. arXiv:2405.07813.

A parent has a say in an element when its change, weighted, is not small beside what the others make of it:
|wᵢδᵢ| ≥ τᵢ |m − wᵢδᵢ|, m being the merged change (the TALL mask). Where fewer than k have a say, the base stays: what
one parent alone needs is noise to the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.engine.masks import EVERYTHING, Mask, Ranked
from worker.engine.methods.blends import divisor
from worker.engine.methods.deltas import trimmed_masks
from worker.engine.methods.parameters import flag, number, weights
from worker.engine.work import Work


def consensus_ta(work: Work) -> None:
    """m = Σ wᵢδᵢ; y = b + λ·m, or b. Divided by Σ wᵢ when ``normalize`` is true, after the masks."""
    scale = number(work.step, "lambda", 1.0) / divisor(weights(work.step), flag(work.step, "normalize"))
    _write(work, [Ranked(EVERYTHING) for _ in work.step.inputs], vote=False, divide=False, scale=scale)


def consensus_ties(work: Work) -> None:
    """m is what TIES adds: the trimmed changes with the sign of their sum. Masks look at the whole changes."""
    divide = flag(work.step, "normalize")
    _write(work, trimmed_masks(work), vote=True, divide=divide, scale=number(work.step, "lambda", 1.0))


def _write(work: Work, masks: Sequence[Mask], *, vote: bool, divide: bool, scale: float) -> None:
    step, backend = work.step, work.backend
    weight, least = weights(step), int(number(step, "k", 2))
    thresholds = np.array([number(one, "threshold", 0.4) for one in step.inputs])
    packed = backend.masks(masks)
    work.write(lambda chunk: backend.consent(chunk, packed, weight, thresholds, least, vote, divide, scale))
