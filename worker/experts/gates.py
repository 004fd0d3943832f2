"""The routers of a mixture, a row for each expert: what its prompts have in common, or numbers drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from app.experts.wanted import Expert
from worker.engine.dtypes import Array

DEVIATION = 0.02
"""Of routers drawn at random."""


class Prompts:
    """The prompts of all experts in one list, and which are whose."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        self.texts = [prompt for one in experts for prompt in (*one.positive, *one.negative)]
        self._signs = [(1.0,) * len(one.positive) + (-1.0,) * len(one.negative) for one in experts]

    def rows(self, vectors: Sequence[Array]) -> Array:
        """For each expert (Σ of its positive prompts − Σ of its negative ones), of length 1: fp32 [experts, hidden].

        ``vectors``: one for each prompt, fp32 [hidden]. Prompts that cancel out give zeros.
        """
        left, found = iter(vectors), []
        for signs in self._signs:
            total = sum(sign * next(left).astype(np.float64) for sign in signs)
            length = np.linalg.norm(total)
            found.append(total / length if length > 0 else total)
        return np.asarray(found, np.float32)


def of_prompt(states: Array, mode: str) -> Array:
    """What a prompt is taken for, fp32 [hidden], from its tokens' states fp32 [tokens, hidden]."""
    if mode in ("hidden_avg", "cheap_embed"):
        mean: Array = states.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean
    last: Array = states[-1]
    return last


def drawn(mode: str, seed: int, layer: int, rows: int, hidden: int, *, shared: bool = False) -> Array:
    """fp32 [rows, hidden] of mean 0 and deviation ``DEVIATION``, from Philox counters (Salmon et al. 2011) keyed by the
    seed: the same numbers anywhere. ``random`` is normal (Box and Muller 1958), else uniform."""
    count = rows * hidden
    words = np.random.Philox(key=[seed, 0], counter=[0, 0, int(shared), layer]).random_raw(2 * count)
    shares = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    first, second = shares[:count], shares[count:]
    values: Array
    if mode == "random":
        values = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
    else:
        values = (2 * first - 1) * 3**0.5
    values = (values * DEVIATION).astype(np.float32)
    return values.reshape(rows, hidden)


def most_alike(routers: Sequence[Array]) -> tuple[int, int, float] | None:
    """The two experts whose rows are most alike over the layers, and their mean cosine. ``routers``: by layer, rows of
    length 1."""
    count = len(routers[0])
    if count < 2:
        return None
    cosines = np.mean([one.astype(np.float64) @ one.T for one in routers], axis=0)
    pair = max(combinations(range(count), 2), key=lambda two: cosines[two])
    return *pair, float(cosines[pair])
