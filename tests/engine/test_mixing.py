"""The factors that are kept of each tensor, against those that the formulas' results hold in float64."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.planning.mixture import TELLING, Mixture
from app.planning.plan import Input, MadeTensor, Plan, Step
from app.recipe.schema import Recipe
from tests.engine import oracle
from tests.engine.plans import Case, lay_out, load_result, make_case
from worker.engine.execute import execute
from worker.engine.methods import METHODS

pytestmark = pytest.mark.usefixtures("no_sync")

SHAPES = {"matrix": (12, 1030), "vector": (700,), "small": (3, 2, 4)}
WEIGHTS = [{"weight": 0.4}, {"weight": 1.1}, {"weight": 0.7}]
WHOLE: list[tuple[str, int, dict[str, Any], bool]] = [
    ("slerp", 2, {"t": 0.3}, False),
    ("nuslerp", 2, {}, False),
    ("nuslerp", 3, {}, True),
    ("multislerp", 3, {}, False),
    ("multislerp", 4, {"normalize_weights": False}, True),
    ("multislerp", 2, {}, True),
    ("karcher", 4, {"max_iter": 50}, False),
    ("model_stock", 4, {}, False),
]
"""Method, parents, parameters, and whether a base is given that the method could do without."""


def parents(count: int, spread: float = 0.4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    base = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    return [
        {name: one + spread * index * torch.randn(one.shape, generator=generator) for name, one in base.items()}
        for index in range(count)
    ]


def case_of(tmp: Path, method: str, count: int, shared: dict[str, Any], based: bool = False) -> Case:
    case = make_case(tmp, parents(count), method, shared=shared)
    case.base = case.base or based
    case.each = WEIGHTS[: count - case.base] if "slerp" in method and method != "slerp" else ()
    return case


def told(case: Case, out: Path, **how: Any) -> dict[str, Mixture]:
    (written,) = execute(case.plan(), case.folders, out, **how)
    assert [one.document for one in written.mixtures] == [""] * len(written.mixtures)
    return {one.tensor: one for one in written.mixtures}


def in_doubles(case: Case, tensors: list[np.ndarray]) -> np.ndarray:
    base, inputs = (tensors[0], tensors[1:]) if case.base else (None, tensors)
    return oracle.merge(case.method, base, inputs, case.shared, case.each or [{}] * len(inputs))


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize(("method", "count", "shared", "based"), WHOLE)
def test_factors_and_angles_are_those_of_the_formula(
    tmp_path: Path, method: str, count: int, shared: dict[str, Any], based: bool, device: str
) -> None:
    """The formulas' results are sums of linearly independent inputs, so that the factors follow from them."""
    case = case_of(tmp_path, method, count, shared, based)
    found = told(case, tmp_path / "out", device=device)
    assert set(found) == set(SHAPES)
    models = [load_result(folder) for folder in case.folders]
    merged = load_result(tmp_path / "out")
    for name, mixture in found.items():
        tensors = [one[name].double().numpy() for one in models]
        table = np.stack([one.ravel() for one in tensors], axis=1)
        expected = np.linalg.lstsq(table, in_doubles(case, tensors).ravel(), rcond=None)[0]
        np.testing.assert_allclose(mixture.coefficients, expected, rtol=2e-6, atol=2e-6, err_msg=name)
        total = sum(c * one for c, one in zip(mixture.coefficients, tensors, strict=True))
        np.testing.assert_allclose(total, merged[name].double().numpy(), atol=3e-6 * np.abs(total).max())
        assert mixture.by == "tensor"
        compared = [one - tensors[0] for one in tensors[1:]] if case.base and method != "slerp" else tensors
        if len(compared) > 1:
            assert mixture.angles == pytest.approx([angle(*pair) for pair in combinations(compared, 2)], abs=1e-5)
        else:
            assert mixture.angles == ()


def angle(one: np.ndarray, other: np.ndarray) -> float:
    """In degrees."""
    lengths = float(np.linalg.norm(one.ravel()) * np.linalg.norm(other.ravel()))
    return math.degrees(math.acos(float(np.sum(one * other)) / lengths))


@pytest.mark.parametrize(
    ("method", "shared", "by"),
    [
        ("nuslerp", {"nuslerp_flatten": False}, "row"),
        ("nuslerp", {"nuslerp_flatten": False, "nuslerp_row_wise": True}, "column"),
        ("model_stock", {"filter_wise": True}, "row"),
    ],
)
def test_row_by_row_the_mean_of_the_factors_is_kept(
    tmp_path: Path, method: str, shared: dict[str, Any], by: str
) -> None:
    count = 3 if method == "model_stock" else 2
    case = case_of(tmp_path, method, count, shared)
    found = told(case, tmp_path / "out")["matrix"]
    tensors = [load_result(folder)["matrix"].double().numpy() for folder in case.folders]
    lines = [one if by == "row" else one.T for one in (*tensors, in_doubles(case, tensors))]
    each = [np.linalg.lstsq(np.stack(row[:-1], axis=1), row[-1], rcond=None)[0] for row in zip(*lines, strict=True)]
    np.testing.assert_allclose(found.coefficients, np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    assert (found.by, found.angles) == (by, ())


def test_sce_tells_the_weights_of_its_vote(tmp_path: Path) -> None:
    case = case_of(tmp_path, "sce", 4, {"select_topk": 0.25})
    found = told(case, tmp_path / "out")["matrix"]
    base, *others = (load_result(folder)["matrix"].double().numpy() for folder in case.folders)
    changes = np.stack([one - base for one in others])
    most = np.argsort(-changes.var(axis=0).ravel(), kind="stable")[: base.size // 4]
    energies = (changes.reshape(3, -1)[:, most] ** 2).sum(axis=1)
    expected = [0.75, *(0.25 * energies / energies.sum())]
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-5)
    assert (found.by, found.angles) == ("weight", ())


def test_arcee_fusion_tells_how_much_it_took(tmp_path: Path) -> None:
    case = case_of(tmp_path, "arcee_fusion", 2, {})
    found = told(case, tmp_path / "out", chunk=4096)
    for name, mixture in found.items():
        base, other = (load_result(folder)[name] for folder in case.folders)
        taken = float((load_result(tmp_path / "out")[name] == other).double().mean())
        assert 0 < taken < 1
        assert not base.equal(other)
        assert mixture.coefficients == pytest.approx((1 - taken, taken), abs=1e-8)
        assert mixture.by == "weight"


def test_nearswap_tells_how_much_it_took(tmp_path: Path) -> None:
    case = case_of(tmp_path, "nearswap", 2, {"t": 0.2})
    found = told(case, tmp_path / "out", chunk=4096)
    for name, mixture in found.items():
        base, other = (load_result(folder)[name].double().numpy() for folder in case.folders)
        taken = float(np.minimum(0.2 / np.abs(base - other), 1).mean())
        assert mixture.coefficients == pytest.approx((1 - taken, taken), abs=1e-6)
        assert mixture.by == "weight"


def test_zeros_have_no_angle(tmp_path: Path) -> None:
    zeros, ones = {"t": torch.zeros(40)}, {"t": torch.ones(40)}
    case = make_case(tmp_path, [zeros, ones], "slerp", shared={"t": 0.5})
    (found,) = told(case, tmp_path / "out").values()
    assert found.coefficients == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    assert found.angles == (None,)


def test_methods_that_the_recipe_decides_tell_nothing(tmp_path: Path) -> None:
    case = make_case(tmp_path, parents(3), "linear", shared={"normalize": True}, each=WEIGHTS)
    assert told(case, tmp_path / "out") == {}
    assert set(METHODS) >= TELLING


@pytest.mark.parametrize("inner", sorted(TELLING))
def test_tensors_made_on_the_way_tell_theirs_under_the_name_of_their_document(inner: str, tmp_path: Path) -> None:
    shared = {"t": 0.3, "filter_wise": True, "nuslerp_flatten": False}
    count = 4 if inner == "model_stock" else 2
    case = case_of(tmp_path, inner, count, shared)
    alone = told(case, tmp_path / "alone")["matrix"]
    step = case.step("matrix")
    made = MadeTensor("matrix", "F32", step.shape, "first", 0, 4 * math.prod(step.shape), step)
    outer = Step("matrix", "F32", step.shape, "karcher", (Input(0, made), step.every_input[0]))
    plan = Plan(Recipe("karcher"), tuple(case.parents), (lay_out("model.safetensors", [outer]),))
    (written,) = execute(plan, case.folders, tmp_path / "out", chunk=4096)
    first, last = written.mixtures
    assert (first.document, last.document) == ("first", "")
    assert first.coefficients == alone.coefficients
    assert len(last.coefficients) == 2
