"""Blending layers of one model with each other, and where on a curve final norm and head stand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.planning.plan import Plan, Step
from app.planning.plan_merge import make_plan
from app.planning.shares import loom
from app.recipe.reading import read_recipe
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe

UP = "model.layers.{}.mlp.up_proj.weight"


def plan(text: str, *names: str) -> Plan:
    return make_plan(recipe(text), family(*(facts(f"o/{name}", llama_shapes(4), llama_config(4)) for name in names)))


def steps(made: Plan) -> Mapping[str, Step]:
    return {step.name: step for step in made.steps()}


def test_two_layer_ranges_of_one_model_meet() -> None:
    text = """
merge_method: linear
slices:
- sources:
  - {model: o/a, layer_range: [0, 2], parameters: {weight: 0.25}}
  - {model: o/a, layer_range: [2, 4], parameters: {weight: 0.75}}
"""
    made = plan(text, "a")
    step = steps(made)[UP.format(1)]
    assert [(one.tensor.name, one.parameters["weight"]) for one in step.inputs] == [
        (UP.format(1), 0.25), (UP.format(3), 0.75)
    ]  # fmt: skip
    assert UP.format(2) not in steps(made)
    assert [row.cells[0].shares for row in loom(made).rows if row.layer == 0 and row.cells[0]] == [(1.0,)]


@pytest.mark.parametrize(
    ("method", "parameters"), [("slerp", "t: 0.5"), ("nearswap", "t: 0.01"), ("task_arithmetic", "weight: 1")]
)
def test_the_first_place_of_the_base_is_the_bases_own(method: str, parameters: str) -> None:
    text = f"""
merge_method: {method}
base_model: o/a
slices:
- sources:
  - {{model: o/a, layer_range: [0, 2]}}
  - {{model: o/a, layer_range: [2, 4]}}
parameters: {{{parameters}}}
"""
    assert read_recipe(text).findings == ()
    step = steps(plan(text, "a"))[UP.format(0)]
    assert step.base is not None
    assert [step.base.tensor.name, *(one.tensor.name for one in step.inputs)] == [UP.format(0), UP.format(2)]


def test_a_weight_is_asked_for_the_second_place_only() -> None:
    text = """
merge_method: task_arithmetic
base_model: o/a
slices:
- sources: [{model: o/a, layer_range: [0, 2]}, {model: o/a, layer_range: [2, 4]}]
"""
    findings = [one for one in read_recipe(text).findings if one.level == "error"]
    assert [(one.code, one.where) for one in findings] == [("missing-parameter", "slices[0].sources[1].parameters")]


CURVED = """
merge_method: linear
models:
- {model: o/a, parameters: {weight: [0, 1]}}
- {model: o/b, parameters: {weight: [1, 0]}}
"""


@pytest.mark.parametrize(("line", "behind"), [("", 0), ("head_curve: first\n", 0), ("head_curve: last\n", 1)])
def test_final_norm_and_head_take_the_first_value_unless_the_recipe_says_last(line: str, behind: int) -> None:
    made = steps(plan(CURVED + line, "a", "b"))
    for name, weight in (("model.embed_tokens.weight", 0), ("model.norm.weight", behind), ("lm_head.weight", behind)):
        assert [one.parameters["weight"] for one in made[name].inputs] == [weight, 1 - weight]


def test_in_slices_it_is_the_last_value_of_the_last_slice() -> None:
    text = """
merge_method: linear
head_curve: last
slices:
- sources: [{model: o/a, layer_range: [0, 2], parameters: {weight: [1, 2]}}, {model: o/b, layer_range: [0, 2], parameters: {weight: 1}}]
- sources: [{model: o/a, layer_range: [2, 4], parameters: {weight: [3, 4]}}, {model: o/b, layer_range: [2, 4], parameters: {weight: 1}}]
"""  # noqa: E501
    made = steps(plan(text, "a", "b"))
    assert made["lm_head.weight"].inputs[0].parameters["weight"] == 4
    assert made["model.embed_tokens.weight"].inputs[0].parameters["weight"] == 1
