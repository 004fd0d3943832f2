"""DELLA's draw by rank, against a stable sort in NumPy: rows of many equal values, of none, of zeros, of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.draws import words_of
from tests.engine.held import Held
from worker.engine.backend import Backend
from worker.engine.cpu import CpuBackend
from worker.engine.dtypes import BLOCK, PARENT_UNSOUND, TILE
from worker.engine.masks import ByRank, Stream, threshold
from worker.engine.torch_backend import TorchBackend

STREAMS = (Stream((1, 2), (3, 4)), Stream((5, 6), (7, 8)))


def draws_of(depth: int, inner: int, parents: list[int]) -> ByRank:
    chances = 0.3 + 0.4 * np.arange(depth) / max(1, depth - 1)
    thresholds = np.array([threshold(chance) for chance in chances], np.uint32)
    streams = np.stack([STREAMS[i].words for i in parents])
    return ByRank(np.array(parents), streams, np.stack([thresholds] * len(parents)), inner)


def drawn(backend: Backend, changes: np.ndarray, draws: ByRank, start: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    """What is kept of ``changes`` fp32 [parents, elements] from a base of zeros, bool; the sums; what was unsound."""
    count = changes.shape[1]
    sources = tuple(map(Held, [np.zeros(count, np.float32), *changes]))
    chunk = backend.fill(backend.bench(), sources, 0, count, "F32")
    chunk.start = start
    bits = np.zeros((len(changes), -(-(start + count) // 8)), np.uint8)
    sums = np.zeros((len(changes), 2))
    backend.draw_by_rank(chunk, draws, bits, sums)
    return np.unpackbits(bits, axis=1, count=start + count, bitorder="little")[:, start:] == 1, sums, chunk.unsound


def expected(change: np.ndarray, one: Stream, draws: ByRank, start: int = 0) -> np.ndarray:
    shape = (-1, draws.thresholds.shape[1], draws.inner)
    words = words_of(one, start, change.size).reshape(shape)
    order = np.argsort(np.abs(change).reshape(shape), axis=1, kind="stable")
    kept = np.zeros(order.shape, np.bool_)
    np.put_along_axis(kept, order, words < draws.thresholds[0][:, None], axis=1)
    return kept.ravel()


def rows_like(kind: str, rows: int, width: int, seed: int) -> np.ndarray:
    """fp32 [rows, width]."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((rows, width)).astype(np.float32)
    if kind == "rounded":
        weights = torch.from_numpy(normal)
        change = (weights + 0.01 * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))).bfloat16()
        return (change.float() - weights.bfloat16().float()).numpy()
    if kind == "few":
        return np.array([0.0, -1.0, 1.0, 2.0, -3e-39, 3e37], np.float32)[rng.integers(0, 6, (rows, width))]
    if kind == "two runs":
        return np.where(np.arange(width) < width // 2, 1.0 + 2.0**-20, 1.0).astype(np.float32) * (normal > -2)
    if kind == "far apart":
        return np.exp2(rng.uniform(-140, 120, (rows, width))).astype(np.float32)
    return normal if kind == "all different" else np.zeros((rows, width), np.float32)


KINDS = ("rounded", "few", "two runs", "far apart", "all different", "zeros")


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.integers(1, 9),
    width=st.sampled_from([1, 2, 15, 16, 17, 63, 64, 130, TILE - 1, TILE + 1, 3000]),
    inner=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_the_draw_follows_the_ranks(kind: str, rows: int, width: int, inner: int, seed: int) -> None:
    changes = np.stack([rows_like(kind, rows, width * inner, seed + i).ravel() for i in range(2)])
    draws = draws_of(width, inner, [0, 1])
    kept, sums, unsound = drawn(CpuBackend(3, 4, BLOCK), changes, draws)
    assert unsound == 0
    for i, change in enumerate(changes):
        wanted = expected(change, STREAMS[i], draws)
        np.testing.assert_array_equal(kept[i], wanted)
        sizes = np.abs(change.astype(np.float64))
        np.testing.assert_allclose(sums[i], [sizes.sum(), sizes[wanted].sum()], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_longer_than_all_tables(kind: str) -> None:
    change = rows_like(kind, 1, 70_001, 3)
    draws = draws_of(70_001, 1, [0])
    kept, *_ = drawn(CpuBackend(2, 4, BLOCK), change, draws)
    np.testing.assert_array_equal(kept[0], expected(change, STREAMS[0], draws))


def test_only_the_parents_asked_for_and_from_any_place() -> None:
    changes = np.stack([rows_like("rounded", 8, 200, seed).ravel() for seed in (1, 2)])
    draws, start = draws_of(200, 1, [1]), 5 * BLOCK + 8
    for backend in (CpuBackend(3, 4, BLOCK), TorchBackend("cpu")):
        kept, sums, _ = drawn(backend, changes, draws, start)
        assert not kept[0].any()
        assert (sums[0] == 0).all()
        np.testing.assert_array_equal(kept[1], expected(changes[1], STREAMS[1], draws, start))


def test_numbers_that_are_not_finite_are_told() -> None:
    change = rows_like("rounded", 4, 300, 1)
    change[1, ::3], change[2, 5], change[3] = np.nan, -np.inf, np.inf
    *_, unsound = drawn(CpuBackend(2, 4, BLOCK), change.reshape(1, -1), draws_of(300, 1, [0]))
    assert unsound == PARENT_UNSOUND
