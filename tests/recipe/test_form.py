"""The form shows a recipe and puts edits back without losing what it does not show."""

from __future__ import annotations

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.edits import act
from app.recipe.findings import Refused
from app.recipe.form import FormView, apply, view
from app.recipe.presets import presets
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe, Rule
from app.recipe.writing import write_recipe

TIES = """
merge_method: ties
base_model: org/base
models:
  - model: org/one
    parameters: {weight: 0.5, density: 0.4}
  - model: org/two
    parameters:
      weight: [0.25, 0.85]
      density: [{filter: mlp, value: 0.1}, {value: 0.9}]
parameters: {normalize: false}
tokenizer: {source: base, pad_to_multiple_of: 8}
chat_template: auto
dtype: bfloat16
"""


def parse(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def fields_of(shown: FormView, recipe: Recipe) -> dict[str, str]:
    """What a browser would post back if nothing was touched."""
    fields = {"method": shown.method.name, "name": recipe.name or "", "dtype": recipe.dtype or "", "base": ""}
    for parent in shown.parents:
        fields[f"parent.{parent.index}"] = str(parent.model)
        if parent.is_base:
            fields["base"] = str(parent.index)
        fields |= {knob.field: knob.text for knob in parent.knobs}
    return fields | {knob.field: knob.text for knob in shown.shared}


@pytest.mark.parametrize("text", [TIES, *(preset.text for preset in presets())], ids=lambda text: text[2:30])
def test_posting_the_form_untouched_changes_nothing(text: str) -> None:
    recipe = parse(text)
    same, findings = apply(recipe, fields_of(view(recipe), recipe))
    assert findings == ()
    assert same == recipe


def test_what_the_form_shows() -> None:
    shown = view(parse(TIES))
    assert [(parent.letter, parent.is_base) for parent in shown.parents] == [("", True), ("A", False), ("B", False)]
    weight, density = shown.parents[2].knobs
    assert weight.text == "0.25, 0.85"
    assert weight.curved
    assert density.ruled


def test_edits_reach_the_recipe_and_rules_survive() -> None:
    recipe = parse(TIES)
    fields = fields_of(view(recipe), recipe) | {"parent.1.weight": "0.1, 0.9, 0.1", "shared.lambda": "0.8"}
    edited, findings = apply(recipe, fields)
    assert findings == ()
    assert edited.models[0].parameters["weight"] == (Rule((0.1, 0.9, 0.1)),)
    assert edited.parameters["lambda"] == (Rule(0.8),)
    assert edited.models[1].parameters == recipe.models[1].parameters
    assert edited.tokenizer == recipe.tokenizer


def test_a_field_that_cannot_be_read_leaves_the_value_and_says_so() -> None:
    recipe = parse(TIES)
    edited, findings = apply(recipe, {"parent.1.density": "1.7", "seed": "x", "parent.1.weight": "much"})
    assert edited == recipe
    assert {finding.code for finding in findings} == {"out-of-range", "bad-seed", "bad-value"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_chosen_and_left_again(method: str) -> None:
    recipe = parse(TIES)
    changed, findings = apply(recipe, fields_of(view(recipe), recipe) | {"method": method})
    assert findings == ()
    wrong = {finding.code for finding in read_recipe(write_recipe(changed)).findings if finding.level == "error"}
    assert wrong <= {"wrong-number-of-parents"}
    back, _ = apply(changed, {"method": "ties"})
    assert back.base_model == recipe.base_model


def test_buttons() -> None:
    recipe = act(act(act(Recipe("ties"), "add:org/base"), "add:org/one"), "add:org/two")
    assert recipe.base_model == ModelRef("org/base")
    assert read_recipe(write_recipe(recipe)).recipe == recipe
    moved = act(recipe, "up:2")
    assert [str(source.model) for source in moved.models] == ["org/two", "org/one"]
    other = act(recipe, "base:1")
    assert str(other.base_model) == "org/one"
    assert {str(source.model) for source in other.models} == {"org/base", "org/two"}
    assert len(act(recipe, "remove:1").models) == 1
    for wrong in ("add:org/one", "add:http://x", "remove:9", "dance:0"):
        with pytest.raises(Refused):
            act(recipe, wrong)


def test_every_ready_recipe_reads_without_a_remark() -> None:
    assert len(presets()) >= 6
    for preset in presets():
        assert read_recipe(preset.text).findings == ()
        assert preset.title and preset.when
