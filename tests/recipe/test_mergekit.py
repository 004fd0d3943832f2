"""Recipes in mergekit's words: the same formula, worked out in plain numbers from what is written."""

from __future__ import annotations

import pytest

from app.recipe.findings import Refused
from app.recipe.mergekit import for_mergekit
from app.recipe.reading import read_recipe
from app.recipe.resolve import setting_at
from app.recipe.schema import Recipe
from app.recipe.writing import write_recipe

TRANSFER = """
merge_method: transfer
base_model: o/base
models:
- {model: o/chat}
- {model: o/code, parameters: {weight: 0.5}}
- {model: o/math}
parameters: {lambda: 0.8}
dtype: bfloat16
seed: 3
"""


def read(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def weights(recipe: Recipe, tensor: str, t: float) -> dict[str, float]:
    found = {str(one.model): setting_at(one.parameters["weight"], tensor, t) for one in recipe.models}
    return {name: float(value) for name, value in found.items() if value is not None}


def result(recipe: Recipe, numbers: dict[str, float], tensor: str = "mlp", t: float = 0.0) -> float:
    """Task arithmetic of single numbers, by its formula."""
    assert recipe.merge_method == "task_arithmetic"
    base = numbers[str(recipe.base_model)]
    return base + sum(weight * (numbers[name] - base) for name, weight in weights(recipe, tensor, t).items())


NUMBERS = {"o/base": 2.0, "o/chat": 3.5, "o/code": 7.0, "o/math": -1.0}


def test_a_transfer_is_task_arithmetic_on_top_of_the_model_that_receives() -> None:
    made, findings = for_mergekit(read(TRANSFER))
    assert read_recipe(write_recipe(made)).findings == ()
    assert str(made.base_model) == "o/chat"
    expected = 3.5 + 0.8 * (0.5 * (7.0 - 2.0) + (-1.0 - 2.0))
    assert result(made, NUMBERS) == pytest.approx(expected)
    assert [one.code for one in findings] == ["left-out"]
    assert made.seed is None


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_one_curve_is_kept_as_a_curve(t: float) -> None:
    text = """
merge_method: transfer
base_model: o/base
models: [{model: o/chat}, {model: o/code, parameters: {weight: 0.5}}]
parameters: {lambda: [{filter: mlp, value: [0, 1]}, {value: 0.2}]}
"""
    made, _ = for_mergekit(read(text))
    assert result(made, NUMBERS, "mlp", t) == pytest.approx(3.5 + t * 0.5 * 5.0)
    assert result(made, NUMBERS, "norm", t) == pytest.approx(3.5 + 0.2 * 0.5 * 5.0)


def test_slices_keep_their_layers() -> None:
    text = """
merge_method: transfer
base_model: o/base
slices:
- sources:
  - {model: o/chat, layer_range: [0, 4]}
  - {model: o/code, layer_range: [2, 6]}
  - {model: o/base, layer_range: [2, 6]}
"""
    made, _ = for_mergekit(read(text))
    assert [(str(one.model), one.layers) for one in made.slices[0].sources] == [
        ("o/chat", (0, 4)), ("o/code", (2, 6)), ("o/base", (2, 6))
    ]  # fmt: skip
    assert read_recipe(write_recipe(made)).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "merge_method: consensus_ta\nbase_model: o/b\nmodels: [{model: o/x}, {model: o/y}]\nparameters: {weight: 1}\n",
        TRANSFER.replace("lambda: 0.8", "lambda: [0, 1]"),
        TRANSFER.replace("lambda: 0.8", "lambda: [0, 1]").replace("weight: 0.5", "weight: [0.1, 0.2]"),
    ],
)
def test_what_has_no_words_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        for_mergekit(read(text))
    assert [one.code for one in refused.value.findings] == ["not-in-mergekit"]


def test_other_recipes_stay_as_they_are() -> None:
    recipe = read("merge_method: linear\nmodels: [{model: o/a, parameters: {weight: 1}}]\n")
    assert for_mergekit(recipe) == (recipe, ())


def test_files_of_weights_have_a_command_of_their_own() -> None:
    recipe = read("merge_method: passthrough\nmodels: [{model: ./nets/day.safetensors}]\n")
    made, (finding,) = for_mergekit(recipe)
    assert made == recipe
    assert "mergekit-pytorch" in finding.fix
