"""One recipe, one result: the same bytes and factors whatever the threads, the chunks and the share of each thread."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.recipe.catalogue import METHODS as CATALOGUE
from tests.engine.plans import Case, make_case
from worker.engine import topk, work
from worker.engine.execute import execute
from worker.engine.methods import METHODS

SHAPES = {"matrix": (230, 517), "vector": (70_001,), "cube": (9, 100, 50), "column": (20_000, 1), "scalar": ()}
OFTEN_SET = {"density": 0.4, "gamma": 0.05, "epsilon": 0.1, "weight": 0.7, "t": 0.3, "select_topk": 0.6, "scale": 0.5}
VARIANTS = [
    *((name, {}) for name in METHODS),
    ("nuslerp", {"nuslerp_flatten": False}),
    ("nuslerp", {"nuslerp_flatten": False, "nuslerp_row_wise": True}),
    ("model_stock", {"filter_wise": True}),
    ("ties", {"rescale": True}),
]


def a_case(tmp_path: Path, method: str, extra: dict[str, bool]) -> Case:
    about = CATALOGUE[method]
    generator = torch.Generator().manual_seed(1)
    origin = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    models = [
        {
            name: (one + step * 0.02 * torch.randn(one.shape, generator=generator)).bfloat16()
            for name, one in origin.items()
        }
        for step in range(about.max_parents or 4)
    ]
    base = about.base != "ignored" and about.max_parents != 1
    if base and about.max_parents and not about.base_counts:
        models.append(dict(models[0]))
    settings = {one.name: OFTEN_SET.get(one.name, one.default) for one in about.parameters}
    shared = {one.name: settings[one.name] for one in about.parameters if one.scope == "tensor"} | extra
    own = {one.name: settings[one.name] for one in about.parameters if one.scope != "tensor"}
    return make_case(
        tmp_path, models, method, base=base, shared=shared, each=[own] * (len(models) - base), seed=5, dtype="BF16"
    )


@pytest.mark.parametrize(
    ("method", "extra"), VARIANTS, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
@pytest.mark.usefixtures("no_sync")
def test_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, extra: dict[str, bool]) -> None:
    """Segments are made small, so that threads do share these tensors, and so is what counts as a small tensor."""
    monkeypatch.setattr(work, "SEGMENT", 16_384)
    monkeypatch.setattr(topk, "SMALL", 30_000)
    case = a_case(tmp_path, method, extra)
    (alone,) = execute(case.plan(), case.folders, tmp_path / "alone", threads=1, chunk=1 << 20)
    for threads, chunk in ((4, 4096), (2, 8192), (3, 12_288)):
        (shared,) = execute(case.plan(), case.folders, tmp_path / "shared", threads=threads, chunk=chunk)
        assert shared.sha256 == alone.sha256, (threads, chunk)
        assert shared.mixtures == alone.mixtures, (threads, chunk)
    case.seed += 1
    (other,) = execute(case.plan(), case.folders, tmp_path / "other")
    assert (other.sha256 != alone.sha256) == CATALOGUE[method].random
