"""Methods for a base and one other parent: NearSwap and Arcee Fusion."""

from __future__ import annotations

from math import floor

import numpy as np

from worker.engine import topk
from worker.engine.dtypes import BLOCK
from worker.engine.methods.parameters import number
from worker.engine.mixing import mixed
from worker.engine.work import Work

_ALMOST = 1.0 - 2.0**-22
"""Importances are rounded to fp32; one that equals the limit but for rounding counts as equal."""


def nearswap(work: Work) -> None:
    """w = clamp(t / max(|b − x|, 1e-6), 0, 1); y = w·x + (1 − w)·b."""
    t = number(work.step, "t", 0.0)
    taken = np.zeros(-(-work.elements // BLOCK))
    work.mixture = lambda: mixed(work.step, np.array([taken.sum() / max(1, work.elements)]), by="weight")
    work.write(lambda chunk: work.backend.nearswap(chunk, t, taken))


def arcee_fusion(work: Work) -> None:
    """y = x where the importance |x − b| · KL(softmax x ‖ softmax b) is at least median + 1.5·(Q₃ − Q₁), else b.

    Softmax and KL go along the last axis. Quartiles are exact: sorted values at ⌊q·(N − 1)⌋.
    """
    width = work.step.shape[-1] if work.step.shape else 1
    if not work.elements:
        return
    backend, last = work.backend, work.elements - 1
    divergences, taken = np.zeros(work.elements // width), np.zeros(work.elements // width, np.int64)
    lower, median, upper = topk.order_statistics(
        work,
        lambda chunk: backend.importances(chunk, width, divergences),
        [floor(share * last) for share in (0.25, 0.5, 0.75)],
        width,
    ).astype(np.float64)
    limit = float(median + 1.5 * (upper - lower)) * _ALMOST
    work.mixture = lambda: mixed(work.step, np.array([taken.sum() / work.elements]), by="weight")
    work.write(lambda chunk: backend.choose(chunk, width, divergences, limit, taken), width)
