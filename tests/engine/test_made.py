"""Tensors made inside others: a recipe of several documents gives what its documents give one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.planning.facts import TensorFacts
from app.planning.plan import Input, MadeTensor, Plan, Step
from app.recipe.catalogue import METHODS as CATALOGUE
from app.recipe.findings import Refused
from app.recipe.schema import Recipe
from tests.engine import oracle
from tests.engine.plans import METHODS_WITH_BASE, Case, lay_out, load_result, make_case
from worker.engine.execute import execute
from worker.engine.methods import METHODS

pytestmark = pytest.mark.usefixtures("no_sync")

SHAPE = (9, 1030)
SETTINGS: dict[str, Any] = {
    "threshold": 0.4,
    "k": 2,
    "t": 0.3,
    "weight": 0.6,
    "density": 0.5,
    "gamma": 0.05,
    "epsilon": 0.1,
}


def models(seed: int = 3, count: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(SHAPE, generator=generator)
    return [{"t": base + 0.1 * torch.randn(SHAPE, generator=generator) * (index > 0)} for index in range(count)]


def settings(method: str, scope: str) -> dict[str, Any]:
    given = [one for one in CATALOGUE[method].parameters if (one.scope == "tensor") == (scope == "tensor")]
    return {one.name: SETTINGS[one.name] for one in given if one.name in SETTINGS and not method.startswith("ram")}


def step_of(method: str, tensors: list[Input], dtype: str = "F32") -> Step:
    base = tensors[0] if method in METHODS_WITH_BASE else None
    inputs = tensors[1:] if base else tensors
    most = 1 if METHODS_WITH_BASE & {method} and CATALOGUE[method].base_counts else CATALOGUE[method].max_parents
    each = settings(method, "each")
    chosen = tuple(replace(one, parameters=each) for one in inputs[:most])
    return Step("t", dtype, SHAPE, method, chosen, base, settings(method, "tensor"))


def made(step: Step, name: str = "first", seed: int = 7) -> TensorFacts:
    size = SHAPE[0] * SHAPE[1] * 4
    return MadeTensor("t", step.dtype, SHAPE, name, 0, size, step, seed)


def plan_of(case: Case, step: Step, seed: int = 11) -> Plan:
    return Plan(Recipe(step.method), tuple(case.parents), (lay_out("model.safetensors", [step]),), seed=seed)


def nested(case: Case, inner: str, outer: str, inner_dtype: str = "F32") -> Plan:
    """``inner`` of all parents goes in beside the first two parents."""
    tensors = [Input(index, facts.tensors["t"]) for index, facts in enumerate(case.parents)]
    first = Input(0, made(step_of(inner, tensors, inner_dtype)))
    return plan_of(case, step_of(outer, [tensors[0], first, tensors[1]]))


def run(plan: Plan, case: Case, out: Path, **how: Any) -> torch.Tensor:
    execute(plan, case.folders, out, **how)
    return load_result(out)["t"]


def one_after_the_other(case: Case, tmp: Path, inner: str, outer: str, inner_dtype: str = "F32") -> torch.Tensor:
    tensors = [Input(index, facts.tensors["t"]) for index, facts in enumerate(case.parents)]
    first = run(plan_of(case, step_of(inner, tensors, inner_dtype), seed=7), case, tmp / "first")
    parents = [load_result(folder) for folder in case.folders]
    again = make_case(tmp / "again", [parents[0], {"t": first}, parents[1]], outer)
    again.parents = [replace(one, ref=ref) for one, ref in zip(again.parents, ("p0", "first", "p1"), strict=True)]
    tensors = [Input(index, facts.tensors["t"]) for index, facts in enumerate(again.parents)]
    return run(plan_of(again, step_of(outer, tensors)), again, tmp / "second")


@pytest.mark.parametrize("inner", METHODS)
@pytest.mark.parametrize("outer", ["dare_ties", "arcee_fusion"])
def test_any_method_inside_another_is_the_two_merges_one_after_the_other(
    inner: str, outer: str, tmp_path: Path
) -> None:
    case = make_case(tmp_path, models(), inner)
    expected = one_after_the_other(case, tmp_path, inner, outer)
    assert run(nested(case, inner, outer), case, tmp_path / "fused").equal(expected)


@pytest.mark.parametrize("outer", METHODS)
def test_any_method_takes_a_tensor_that_is_made_on_the_way(outer: str, tmp_path: Path) -> None:
    case = make_case(tmp_path, models(), "ties")
    expected = one_after_the_other(case, tmp_path, "ties", outer, "BF16")
    assert run(nested(case, "ties", outer, "BF16"), case, tmp_path / "fused").equal(expected)


@pytest.mark.parametrize(("inner", "outer"), [("della", "ties"), ("nuslerp", "sce"), ("model_stock", "della")])
def test_threads_and_chunks_change_nothing(inner: str, outer: str, tmp_path: Path) -> None:
    case = make_case(tmp_path, models(), inner)
    plan = nested(case, inner, outer)
    expected = run(plan, case, tmp_path / "expected")
    for number, how in enumerate([{"threads": 1}, {"threads": 3, "chunk": 4096}, {"chunk": 1 << 20}]):
        assert run(plan, case, tmp_path / str(number), **how).equal(expected)


def test_torch_makes_the_same_on_the_way(tmp_path: Path) -> None:
    case = make_case(tmp_path, models(), "ties")
    plan = nested(case, "ties", "slerp")
    expected = run(plan, case, tmp_path / "cpu")
    torch.testing.assert_close(run(plan, case, tmp_path / "torch", device="torch:cpu"), expected, rtol=1e-5, atol=1e-6)


def test_three_levels_against_the_formulas(tmp_path: Path) -> None:
    """Linear of (task arithmetic of (linear of two) and another) and another, in fp64 throughout."""
    tensors = models()
    case = make_case(tmp_path, tensors, "linear")
    inputs = [Input(index, facts.tensors["t"], {"weight": 0.4}) for index, facts in enumerate(case.parents)]
    inner = Step("t", "F32", SHAPE, "linear", (inputs[1], inputs[2]), None, {"normalize": True})
    middle = Step("t", "F32", SHAPE, "task_arithmetic", (Input(1, made(inner), {"weight": 0.4}), inputs[3]), inputs[0],
                  {"lambda": 1.5})  # fmt: skip
    outer = Step("t", "F32", SHAPE, "linear", (Input(1, made(middle, "second"), {"weight": 3.0}), inputs[0]), None,
                 {"normalize": True})  # fmt: skip
    assert len(list(outer.within)) == 3
    assert [one.parent for one in outer.read] == [0, 1, 2, 3, 0]
    x = [one["t"].double().numpy() for one in tensors]
    weight = [{"weight": 0.4}] * 2
    first = oracle.merge("linear", None, x[1:3], {}, weight)
    second = oracle.merge("task_arithmetic", x[0], [first, x[3]], {"lambda": 1.5}, weight)
    expected = oracle.merge("linear", None, [second, x[0]], {}, [{"weight": 3.0}, {"weight": 0.4}])
    result = run(plan_of(case, outer), case, tmp_path / "out").double().numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_numbers_that_overflow_on_the_way_are_refused_by_the_documents_name(tmp_path: Path) -> None:
    case = make_case(tmp_path, models(), "linear")
    inputs = [Input(index, facts.tensors["t"], {"weight": 3e38}) for index, facts in enumerate(case.parents)]
    inner = Step("t", "F32", SHAPE, "linear", tuple(inputs), None, {"normalize": False})
    outer = Step("t", "F32", SHAPE, "passthrough", (Input(0, made(inner, "soup")),))
    with pytest.raises(Refused, match="soup") as refused:
        run(plan_of(case, outer), case, tmp_path / "out")
    assert [one.code for one in refused.value.findings] == ["not-finite"]


def test_a_parent_with_nan_is_named_from_inside(tmp_path: Path) -> None:
    tensors = models()
    tensors[2]["t"][0, 0] = torch.nan
    case = make_case(tmp_path, tensors, "linear")
    with pytest.raises(Refused, match="1 values of t in p2 are NaN"):
        run(nested(case, "linear", "task_arithmetic"), case, tmp_path / "out")
