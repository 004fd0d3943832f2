"""The search for shared tokens that stand for a new one, against plain NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from worker.transplant.anchors import BLOCK, by_direction, largest, look
from worker.transplant.neighbours import surround
from worker.transplant.pursuit import Depth, pursue

WIDTH = 40


class Held:
    """Anchors in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.lengths = values, np.linalg.norm(values.astype(np.float64), axis=1)

    def block(self, begin: int, end: int) -> np.ndarray:
        return self.values[begin:end]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return self.values[numbers]


def drawn(count: int, seed: int, width: int = WIDTH) -> np.ndarray:
    """Rows of unlike lengths."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) * rng.uniform(0.3, 3, (count, 1))).astype(np.float32)


def plain(target: np.ndarray, anchors: np.ndarray, most: int) -> tuple[list[int], np.ndarray]:
    """Orthogonal matching pursuit, word by word: anchors in the order they are chosen, and their weights."""
    target, anchors = target.astype(np.float64), anchors.astype(np.float64)
    lengths = np.linalg.norm(anchors, axis=1)
    chosen: list[int] = []
    left, weights = target, np.zeros(0)
    for _ in range(most):
        score = np.abs(anchors @ left) / lengths
        score[chosen] = -1
        chosen.append(int(score.argmax()))
        weights = np.linalg.lstsq(anchors[chosen].T, target, rcond=None)[0]
        left = target - weights @ anchors[chosen]
    return chosen, weights


def left_over(targets: np.ndarray, anchors: np.ndarray, found: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """What the approximation misses, relative to each target."""
    numbers, weights = found
    made = np.einsum("tk,tkw->tw", weights, anchors[numbers].astype(np.float64))
    return np.linalg.norm(targets - made, axis=1) / np.linalg.norm(targets, axis=1)


@pytest.mark.parametrize(("count", "depth"), [(60, Depth(12, 4, 64)), (300, Depth(12, 1, 64))])
def test_it_is_the_pursuit_where_every_anchor_is_looked_at(count: int, depth: Depth) -> None:
    targets, anchors = drawn(30, 1), drawn(count, 2)
    numbers, weights = pursue(targets, Held(anchors), depth)
    for target, chosen, how_much in zip(targets, numbers, weights, strict=True):
        wanted, shares = plain(target, anchors, depth.most)
        assert chosen.tolist() == wanted
        np.testing.assert_allclose(how_much, shares, rtol=1e-3, atol=1e-4)


def test_few_looks_are_nearly_as_good_as_many() -> None:
    targets, anchors = drawn(24, 3, 96), drawn(3000, 4, 96)
    ours = left_over(targets, anchors, pursue(targets, Held(anchors), Depth(32)))
    wanted = [plain(target, anchors, 32) for target in targets]
    numbers, weights = (np.array([one[side] for one in wanted]) for side in (0, 1))
    exact = left_over(targets, anchors, (numbers, weights))
    assert exact.mean() < ours.mean() < exact.mean() + 0.03  # of the target


def test_what_one_anchor_says_is_said_by_one() -> None:
    anchors = drawn(200, 5)
    targets = anchors[[7, 60]] * np.float32(-1.5)
    numbers, weights = pursue(targets, Held(anchors), Depth(8))
    assert numbers[:, 0].tolist() == [7, 60]
    np.testing.assert_allclose(weights[:, 0], -1.5, rtol=1e-5)
    assert not weights[:, 1:].any()


def test_anchors_of_no_length_or_twice_there_do_no_harm() -> None:
    anchors = np.concatenate([np.zeros((3, WIDTH), np.float32), drawn(20, 6), drawn(20, 6)])
    targets = np.concatenate([drawn(5, 7), np.zeros((1, WIDTH), np.float32)])
    numbers, weights = pursue(targets, Held(anchors), Depth(30))
    assert np.isfinite(weights).all() and not weights[-1].any()
    assert (numbers[weights != 0] >= 3).all()
    unlike = {(number - 3) % 20 for number in numbers[0][weights[0] != 0].tolist()}
    assert len(unlike) == np.count_nonzero(weights[0]) == 20
    basis = anchors[3:23].astype(np.float64)
    best = targets[:5] - targets[:5] @ np.linalg.pinv(basis) @ basis
    np.testing.assert_allclose(
        left_over(targets[:5], anchors, (numbers[:5], weights[:5])),
        np.linalg.norm(best, axis=1) / np.linalg.norm(targets[:5], axis=1), rtol=1e-3,
    )  # fmt: skip


def test_threads_change_nothing() -> None:
    targets, anchors = drawn(40, 8), Held(drawn(2 * BLOCK + 100, 9))

    def run(work: Callable[[int], Any], numbers: Sequence[int]) -> list[Any]:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(work, numbers))

    alone, together = pursue(targets, anchors, Depth(16)), pursue(targets, anchors, Depth(16), run)
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize(("count", "most"), [(5, 8), (40, 8), (1000, 3), (1003, 40), (4096, 64)])
def test_the_largest_are_found_whatever_is_beside_them(count: int, most: int) -> None:
    values = np.random.default_rng(10).normal(size=(6, count)).astype(np.float32)
    places = largest(values, most)
    kept = -np.sort(-np.take_along_axis(values, places, 1), axis=1)
    np.testing.assert_array_equal(kept, -np.sort(-values, axis=1)[:, :most])


def test_looking_spans_the_blocks() -> None:
    anchors, vectors = drawn(BLOCK + 500, 11, 8), drawn(4, 12, 8)
    found = look(vectors, Held(anchors), 10, by_direction, lambda work, numbers: [work(one) for one in numbers])
    score = np.abs(vectors.astype(np.float64) @ anchors.T) / np.linalg.norm(anchors, axis=1)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(np.argsort(-score, axis=1)[:, :10], axis=1))


def test_neighbours_are_the_nearest_and_weigh_as_told() -> None:
    targets, anchors = drawn(20, 13), drawn(400, 14)
    numbers, weights = surround(targets, Held(anchors), 6)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for target, near, shares in zip(targets.astype(np.float64), numbers, weights, strict=True):
        apart = target - anchors.astype(np.float64)
        assert set(near.tolist()) == set(np.argsort(np.linalg.norm(apart, axis=1))[:6].tolist())
        spread = apart[near] @ apart[near].T
        wanted = np.linalg.inv(spread + 1e-3 * np.trace(spread) * np.eye(6)).sum(axis=1)
        np.testing.assert_allclose(shares, wanted / wanted.sum(), rtol=1e-6)


def test_a_target_among_the_anchors_is_itself() -> None:
    anchors = drawn(50, 15)
    numbers, weights = surround(anchors[:3], Held(anchors), 4)
    own = np.take_along_axis(weights, (numbers == np.arange(3)[:, None]).argmax(axis=1)[:, None], 1)
    assert (own > 0.99).all()
