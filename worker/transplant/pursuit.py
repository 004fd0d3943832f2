"""Orthogonal matching pursuit for many vectors at once.

For a target t and anchors a_1 … a_n it looks for a few anchors and weights w with t ≈ Σ w_j a_j: again and again the
anchor whose direction is nearest to what is left over, |⟨r, a_j⟩| / ‖a_j‖, joins those chosen, whose weights are then
set anew by least squares (Pati, Rezaiifar and Krishnaprasad, 1993; for rows of new tokens: arXiv 2506.06607).

To look at all anchors for each step would take hours for large vocabularies. So a look keeps the anchors nearest to the
residual (``candidates``), and ``steps`` of the pursuit are made among these, in terms of their inner products alone
(Rubinstein, Zibulevsky and Elad, 2008), before the next look. With one step a look, or no more anchors than candidates,
it is the pursuit as it is written above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import Array
from worker.transplant.anchors import Anchors, Run, by_direction, in_turn, look

_ROOM = 16 << 20
"""Bytes of anchors' rows that are picked from together."""
_NEGLIGIBLE = 1e-5
"""A residual's part in an anchor's direction that counts as nothing, relative to the target."""
_DEPENDENT = 1e-4
"""An anchor with less of its square outside the span of those chosen adds nothing that fp32 could tell."""


@dataclass(frozen=True)
class Depth:
    """``most`` anchors for a target; a look at all of them every ``steps``, which keeps ``candidates``."""

    most: int = 64
    steps: int = 8
    candidates: int = 64


USUAL = Depth()


def pursue(targets: Array, anchors: Anchors, depth: Depth = USUAL, run: Run = in_turn) -> tuple[Array, Array]:
    """``targets`` fp32 [targets, width], at most ``BATCH``: which anchors (int32) and how much of each (fp64), both
    [targets, most]. Where fewer do, the rest is anchor 0 with weight 0."""
    state = _State(targets, depth.most)
    while state.chosen < min(depth.most, len(anchors.lengths)):
        nearest = look(state.residuals, anchors, depth.candidates, by_direction, run)
        steps = min(depth.steps, depth.most - state.chosen, nearest.shape[1])
        each = max(1, _ROOM // (4 * targets.shape[1] * (nearest.shape[1] + depth.most)))
        starts = range(0, len(targets), each)

        def pick(start: int, nearest: Array = nearest, steps: int = steps, each: int = each) -> None:
            _Picking(state, slice(start, start + each), nearest[start : start + each], anchors).take(steps)

        run(pick, starts)
        state.chosen += steps
    return np.maximum(state.numbers, 0), state.weights


class _State:
    """What is known of a batch of targets. ``numbers``: anchors chosen, -1 for none. ``products``: their inner
    products with each other (1 on the diagonal where there is none), ``parts``: with the targets."""

    def __init__(self, targets: Array, most: int) -> None:
        count = len(targets)
        self.targets, self.residuals, self.chosen = targets, targets.copy(), 0
        self.least = _NEGLIGIBLE * np.linalg.norm(targets.astype(np.float64), axis=1)
        self.numbers = np.full((count, most), -1, np.int32)
        self.products = np.broadcast_to(np.eye(most), (count, most, most)).copy()
        self.parts = np.zeros((count, most))
        self.weights = np.zeros((count, most))


class _Picking:
    """Some targets of a batch between two looks."""

    def __init__(self, state: _State, targets: slice, nearest: Array, anchors: Anchors) -> None:
        self._state, self._part, self._nearest = state, targets, nearest
        before = state.chosen
        self._taken = state.numbers[targets, :before]
        self._atoms = anchors.rows(nearest)
        self._own = anchors.rows(np.maximum(self._taken, 0)) * (self._taken >= 0)[:, :, None].astype(np.float32)
        self._among = (self._atoms @ self._atoms.swapaxes(1, 2)).astype(np.float64)
        self._across = (self._own @ self._atoms.swapaxes(1, 2)).astype(np.float64)
        self._usable = anchors.lengths[nearest] > 0
        self._usable &= ~(nearest[:, :, None] == self._taken[:, None, :]).any(axis=2)

    def take(self, steps: int) -> None:
        """Choose ``steps`` of the candidates for each target, and set weights and residuals."""
        state, part, before = self._state, self._part, self._state.chosen
        picks = np.stack(list(self._picks(steps)), axis=1)
        found = picks >= 0
        safe = np.maximum(picks, 0)
        rows = np.take_along_axis(self._atoms, safe[:, :, None], 1) * found[:, :, None].astype(np.float32)
        new = slice(before, before + steps)
        both = found[:, :, None] & found[:, None, :]
        among = np.take_along_axis(np.take_along_axis(self._among, safe[:, :, None], 1), safe[:, None, :], 2)
        state.products[part, new, new] = np.where(both, among, np.eye(steps))
        across = np.take_along_axis(self._across, np.broadcast_to(safe[:, None, :], (len(safe), before, steps)), 2)
        across = across * found[:, None, :]
        state.products[part, :before, new] = across
        state.products[part, new, :before] = across.swapaxes(1, 2)
        state.numbers[part, new] = np.where(found, np.take_along_axis(self._nearest, safe, 1), -1)
        state.parts[part, new] = (rows @ state.targets[part][:, :, None])[:, :, 0]
        end = before + steps
        weights = np.linalg.solve(state.products[part, :end, :end], state.parts[part, :end, None])[:, :, 0]
        state.weights[part, :end] = weights
        used = np.concatenate([self._own, rows], axis=1)
        made = (weights.astype(np.float32)[:, None, :] @ used)[:, 0]
        state.residuals[part] = state.targets[part] - made

    def _picks(self, steps: int) -> Iterator[Array]:
        """Places among the candidates, one for each target and step; -1 when none of them would help.

        After every step all inner products are brought to what is orthogonal to the anchors chosen so far.
        """
        state, part, before = self._state, self._part, self._state.chosen
        lengths = np.sqrt(np.maximum(np.einsum("bii->bi", self._among), 0))
        scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=self._usable & (lengths > 0))
        left = self._among.copy()
        if before:
            solved = np.linalg.solve(state.products[part, :before, :before], self._across)
            left -= self._across.swapaxes(1, 2) @ solved
        toward = (self._atoms @ state.residuals[part][:, :, None])[:, :, 0].astype(np.float64)
        row = np.arange(len(toward))
        for _ in range(steps):
            free = np.einsum("bii->bi", left) > _DEPENDENT * lengths**2
            score = np.where(free, np.abs(toward) * scale, 0.0)
            best = score.argmax(axis=1)
            found = score[row, best] > state.least[part]
            column = left[row, :, best]
            share = np.where(found, 1.0 / np.where(found, left[row, best, best], 1.0), 0.0)
            toward = toward - column * (toward[row, best] * share)[:, None]
            left -= share[:, None, None] * column[:, :, None] * column[:, None, :]
            yield np.where(found, best, -1)
