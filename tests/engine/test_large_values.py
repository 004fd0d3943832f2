"""Weights whose squares no fp32 holds: methods that go by angles still find them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.recipe.findings import Refused
from tests.engine import oracle
from tests.engine.plans import METHODS_WITH_BASE, load_result, make_case
from worker.engine.execute import execute

pytestmark = pytest.mark.usefixtures("no_sync")

SIZE = 10_000
METHODS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "slerp": (2, {"t": 0.3}, {}),
    "nuslerp": (2, {"nuslerp_flatten": True}, {"weight": 0.5}),
    "multislerp": (3, {"normalize_weights": True, "eps": 1e-8}, {"weight": 0.5}),
    "karcher": (3, {"max_iter": 10, "tol": 1e-5}, {}),
    "model_stock": (3, {"filter_wise": False}, {}),
}


def tensors(count: int) -> list[np.ndarray]:
    """fp32, one of them with values around 1e25."""
    rng = np.random.default_rng(3)
    drawn = [rng.normal(size=SIZE).astype(np.float32) for _ in range(count)]
    return [*drawn[:-1], (drawn[-1] + drawn[0]) * np.float32(1e25)]


def made(folder: Path, method: str, values: list[np.ndarray], **how: Any) -> np.ndarray:
    count, shared, each = METHODS.get(method, (2, {}, {}))
    models = [{"t": torch.from_numpy(one)} for one in values]
    base = method in METHODS_WITH_BASE
    case = make_case(folder, models, method, shared=shared, each=[each] * (count - base), dtype="F32")
    execute(case.plan(), case.folders, folder / "out", **how)
    return load_result(folder / "out")["t"].numpy()


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("method", METHODS)
def test_angles_of_large_weights_are_those_of_their_formulas(method: str, device: str, tmp_path: Path) -> None:
    count, shared, each = METHODS[method]
    values = tensors(count)
    wide = [one.astype(np.float64) for one in values]
    base, inputs = (wide[0], wide[1:]) if method in METHODS_WITH_BASE else (None, wide)
    wanted = oracle.merge(method, base, inputs, shared, [each] * len(inputs), None)
    found = made(tmp_path, method, values, device=device)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_neither_threads_nor_chunks_change_a_byte(tmp_path: Path) -> None:
    one = made(tmp_path / "one", "karcher", tensors(3), threads=1, chunk=4096)
    other = made(tmp_path / "other", "karcher", tensors(3), threads=3, chunk=65536)
    assert one.tobytes() == other.tobytes()


def test_energies_that_nothing_holds_are_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too large for their squares"):
        made(tmp_path, "sce", tensors(2))
