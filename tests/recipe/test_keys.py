"""Keys that mean nothing where they stand."""

from __future__ import annotations

import pytest

from app.recipe.reading import read_recipe
from app.recipe.writing import write_recipe

LINEAR = """
merge_method: linear
models:
- {model: o/a, parameters: {weight: 1}}
"""
SLICES = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 2]}]
  residual_weight: 0.5
"""


@pytest.mark.parametrize(
    ("text", "level", "code", "where", "fix"),
    [
        (SLICES, "warning", "no-effect", "slices[0].residual_weight", '"weight"'),
        (LINEAR + "int8_mask: true\n", "warning", "misplaced-parameter", "int8_mask", '"parameters:"'),
        (LINEAR + "normalize: false\n", "warning", "misplaced-parameter", "normalize", "normalize: …"),
        (LINEAR.replace("parameters: {weight: 1}", "weight: 2, parameters: {weight: 1}"), "warning",
         "misplaced-parameter", "models[0].weight", "weight: …"),
        (LINEAR.replace("model: o/a", "model: {model: {path: o/a}, override_architecture: X}"), "warning", "no-effect",
         "models[0].model.override_architecture", "checkpoint itself"),
        (LINEAR + "input_model_parameters: {}\n", "warning", "no-effect", "input_model_parameters", '"parameters"'),
        (LINEAR + "base_modle: o/b\n", "error", "unknown-key", "base_modle", '"base_model"'),
        (LINEAR + "head_curve: lsat\n", "error", "bad-value", "head_curve", '"last"'),
        (LINEAR + "license: mit\n", "warning", "unknown-key", "license", "Known: merge_method"),
        (LINEAR + "author: me\n", "warning", "unknown-key", "author", "Known: merge_method"),
    ],
)  # fmt: skip
def test_a_key_without_effect_is_told_with_what_to_write_instead(
    text: str, level: str, code: str, where: str, fix: str
) -> None:
    reading = read_recipe(text)
    (finding,) = reading.findings
    assert (finding.level, finding.code, finding.where) == (level, code, where)
    assert fix in finding.fix
    assert (reading.recipe is None) == (level == "error")


def test_the_curves_end_survives_writing() -> None:
    recipe = read_recipe(LINEAR + "head_curve: last\n").recipe
    assert recipe is not None
    assert recipe.head_curve == "last"
    assert read_recipe(write_recipe(recipe)).recipe == recipe
