"""SCE on changes as small as those of real fine-tunes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.plans import load_result, make_case
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
