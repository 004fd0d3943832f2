"""Arcee Fusion's importances: by exp and log of our own, against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.held import Held
from worker.engine.backend import Backend
from worker.engine.cpu import CpuBackend
from worker.engine.dtypes import BLOCK, PARENT_UNSOUND, TILE
from worker.engine.kernels.exponentials import exp, log
from worker.engine.kernels.jit import kernel
from worker.engine.torch_backend import TorchBackend


@kernel
def exps(values: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = exp(values[j])


@kernel
def logs(values: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        out[j] = log(values[j])


def test_powers_and_logarithms_are_as_good_as_those_of_numpy() -> None:
    rng = np.random.default_rng(1)
    ends = [0.0, -0.0, -5e-324, -1e-16, -0.34657359, -0.34657360, -708.0]
    down = np.concatenate([ends, -rng.exponential(1.0, 5000), -rng.uniform(0, 708, 5000)])
    found = np.empty_like(down)
    exps(down, found)
    np.testing.assert_allclose(found, np.exp(down), rtol=5e-16)
    ends = [1.0, 2.0, 0.5, np.sqrt(0.5), np.sqrt(2.0), 2.3e-308, 1.7e308]
    up = np.concatenate([ends, 1 + rng.normal(0, 1e-4, 5000), np.exp(rng.uniform(-700, 700, 5000))])
    found = np.empty_like(up)
    logs(up, found)
    np.testing.assert_allclose(found, np.log(up), rtol=1e-15)


def test_what_is_smaller_than_any_probability_that_counts_stays_there() -> None:
    found = np.empty(3)
    exps(np.array([-709.0, -1e9, -np.inf]), found)
    np.testing.assert_array_equal(found, np.full(3, found[0]))
    assert 0 < found[0] < 1e-300


def importances(
    backend: Backend, base: np.ndarray, other: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """fp32 [count], the divergences fp64 [rows], and what was unsound."""
    chunk = backend.fill(backend.bench(), (Held(base), Held(other)), 0, base.size, "F32")
    divergences = np.full(base.size // width, np.nan)
    bits = backend.to_numpy(backend.importances(chunk, width, divergences))
    return bits[0].view(np.float32).copy(), divergences, chunk.unsound


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    width=st.sampled_from([1, 2, 7, 255, 256, 257, TILE, TILE + 1, 2500]),
    spread=st.sampled_from([0.0, 0.02, 1.0, 30.0, 1e4]),
    change=st.sampled_from([0.0, 1e-3, 0.5, 1e3]),
    seed=st.integers(0, 1000),
)
def test_importances(rows: int, width: int, spread: float, change: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = (spread * rng.standard_normal((rows, width))).astype(np.float32)
    other = (base + change * rng.standard_normal((rows, width))).astype(np.float32)
    p, q = (softmax(one.astype(np.float64)) + 1e-8 for one in (other, base))
    wanted = np.maximum((p * np.log(p / q)).sum(axis=1), 0)
    gap = np.abs(other - base).astype(np.float64)
    for backend in (CpuBackend(2, 4, BLOCK), TorchBackend("cpu")):
        found, divergences, unsound = importances(backend, base, other, width)
        assert unsound == 0
        np.testing.assert_allclose(divergences, wanted, rtol=1e-9, atol=2e-15)
        np.testing.assert_array_equal(found, (gap * divergences[:, None]).astype(np.float32).ravel())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_told(bad: float) -> None:
    base = np.linspace(-1, 1, 3000, dtype=np.float32)
    other = base.copy()
    other[1234] = bad
    *_, unsound = importances(CpuBackend(2, 4, BLOCK), base, other, 100)
    assert unsound == PARENT_UNSOUND
