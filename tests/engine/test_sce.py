"""SCE on changes as small as those of real fine-tunes, and on exactly the elements that differ most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine import oracle
from tests.engine.plans import load_result, make_case
from worker.engine import cpu, topk
from worker.engine.execute import execute

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("size", [1e-2, 1e-5])
def test_parents_count_by_the_square_of_their_change_however_small(device: str, size: float, tmp_path: Path) -> None:
    """arXiv 2408.07990: one parent changes three times as much as the other, so it counts nine times."""
    base, one = torch.zeros(40, 30), torch.rand(40, 30, generator=torch.Generator().manual_seed(1)) + 0.5
    case = make_case(tmp_path, [{"t": base}, {"t": base + size * one}, {"t": base + 3 * size * one}], "sce",
                     shared={"select_topk": 1.0})  # fmt: skip
    execute(case.plan(), case.folders, tmp_path / "out", device=device)
    wanted = size * one.double().numpy() * (0.1 * 1 + 0.9 * 3)
    np.testing.assert_allclose(load_result(tmp_path / "out")["t"].double().numpy(), wanted, rtol=1e-5)


def light_changes(parents: int, size: int) -> np.ndarray:
    """Multiples of one step, most of them 0, fp32 [parents, size]: whole numbers, so that equal spreads are equal."""
    steps = np.random.default_rng(size).integers(-6, 7, (parents, size))
    return (np.where(abs(steps) > 3, steps - 3 * np.sign(steps), 0) * 2.0**-10).astype(np.float32)


def most_varied(changes: np.ndarray, share: float) -> np.ndarray:
    """bool [size]: the ``share`` of the elements that vary, in fp32, the first of equal ones."""
    variance = changes.astype(np.float64).var(axis=0).astype(np.float32)
    kept = np.zeros(variance.size, bool)
    kept[np.argsort(-variance, kind="stable")[: int(np.count_nonzero(variance) * share)]] = True
    return kept


@pytest.mark.parametrize("share", [1e-6, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("parents", [1, 2, 3, 5])
@pytest.mark.parametrize("path", ["held", "bracket", "missed", "forgotten", "torch"])
def test_the_most_varied_elements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, parents: int, share: float
) -> None:
    """Whether a tensor is small or sampled, the bracket holds the threshold or not, the selection is kept or not."""
    monkeypatch.setattr(topk, "SMALL", 30_000)
    if path == "missed":
        monkeypatch.setattr(topk, "_set_brackets", lambda *_: None)
    if path == "forgotten":
        monkeypatch.setattr(cpu, "_REMEMBERED", 0)
    changes = light_changes(parents, 9_999 if path == "held" else 60_001)
    models = [{"t": torch.from_numpy(one)} for one in (np.zeros_like(changes[0]), *changes)]
    case = make_case(tmp_path, models, "sce", shared={"select_topk": share})
    execute(case.plan(), case.folders, tmp_path / "out", device="torch:cpu" if path == "torch" else "cpu")
    kept = most_varied(changes, share)
    wanted = oracle.merge("sce", np.zeros_like(changes[0]), list(changes * kept), {"select_topk": 1.0}, [{}] * parents)
    found = load_result(tmp_path / "out")["t"].double().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert not found[~kept].any()
