"""The form shows a recipe and puts edits back without losing what it does not show."""

from __future__ import annotations

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.edits import act
from app.recipe.findings import Refused
from app.recipe.form import FormView, apply, view
from app.recipe.knobs import Knob
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
        fields |= _texts(parent.knobs)
    return fields | _texts(shown.shared)


def _texts(knobs: tuple[Knob, ...]) -> dict[str, str]:
    return {knob.field: knob.text for knob in knobs} | {rule.field: rule.text for knob in knobs for rule in knob.rules}


RULED = """
merge_method: ties
base_model: org/base
models:
  - model: org/one
    parameters:
      weight: [{filter: q_proj, value: 0.1}, {filter: self_attn, value: [0, 1]}, {filter: "*", value: 0.123456789}]
      density: [{filter: mlp, value: 0.1}]
  - model: org/two
    parameters:
      density: [{value: 0.5}, {filter: mlp, value: 0.9}, {filter: mlp, value: 0.8}, {value: 0.4}]
parameters:
  weight: [{filter: norm, value: 0.2}, {value: 0.7}]
  normalize: [{filter: mlp, value: false}, {value: true}]
  lambda: [{filter: "a|b", value: 0.9}, {filter: mlp, value: [1, 0.5]}]
"""


@pytest.mark.parametrize("text", [TIES, RULED, *(preset.text for preset in presets())], ids=lambda text: text[2:30])
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
    assert (density.text, density.value) == ("0.9", 0.9)
    assert [(rule.filter, rule.field, rule.text) for rule in density.rules] == [("mlp", "parent.2.density|mlp", "0.1")]


def test_a_setting_of_the_whole_recipe_shows_on_every_card() -> None:
    shown = view(parse(RULED))
    weight = shown.parents[2].knobs[0]
    assert (weight.text, [rule.filter for rule in weight.rules]) == ("0.7", ["norm"])
    normalize = next(knob for knob in shown.shared if knob.parameter.name == "normalize")
    assert normalize.ruled
    edited, _ = apply(parse(RULED), {"parent.2.weight|norm": "0.3"})
    assert edited.models[1].parameters["weight"] == (Rule(0.3, "norm"), Rule(0.7))
    assert edited.models[0] == parse(RULED).models[0]


def rules_after(setting: str, fields: dict[str, str]) -> list[tuple[str | None, object]]:
    text = TIES.replace("weight: [0.25, 0.85]", f"weight: {setting}")
    edited, findings = apply(parse(text), {f"parent.2.weight{name}": value for name, value in fields.items()})
    assert findings == ()
    assert read_recipe(write_recipe(edited)).recipe == edited
    return [(rule.filter, rule.value) for rule in edited.models[1].parameters["weight"]]


@pytest.mark.parametrize(
    ("before", "fields", "after"),
    [
        ("0.5", {"|mlp": "0, 1"}, [("mlp", (0, 1)), (None, 0.5)]),
        ("0.5", {"|mlp": "0.2", "|self_attn": "0.3"}, [("mlp", 0.2), ("self_attn", 0.3), (None, 0.5)]),
        ("[{filter: mlp, value: 1}, {value: 2}]", {"|mlp": ""}, [(None, 2)]),
        ("[{filter: mlp, value: 1}, {value: 2}]", {"": ""}, [("mlp", 1)]),
        ("[{filter: mlp, value: 1}]", {"": "3, 4"}, [("mlp", 1), (None, (3, 4))]),
        ("[{filter: mlp, value: 1}, {filter: '*', value: 2}]", {"": "3"}, [("mlp", 1), ("*", 3)]),
        ("[{filter: mlp, value: 1}, {filter: odd, value: 2}]", {"|mlp": "3"}, [("mlp", 3), ("odd", 2)]),
        ("0.5", {"| * ": "1"}, [(None, 0.5)]),
    ],
)
def test_rules_are_added_changed_and_removed(
    before: str, fields: dict[str, str], after: list[tuple[str | None, object]]
) -> None:
    assert rules_after(before, fields) == after


def test_a_new_rule_stands_where_it_counts() -> None:
    """Narrow ones before wide ones, and none behind the one for all."""
    narrow = "[{filter: mlp, value: 1}, {value: 2}]"
    assert [name for name, _ in rules_after(narrow, {"|up_proj": "3"})] == ["up_proj", "mlp", None]
    wide = "[{filter: up_proj, value: 1}, {value: 2}]"
    assert [name for name, _ in rules_after(wide, {"|mlp": "3"})] == ["up_proj", "mlp", None]
    inside = "[{filter: norm, value: 1}]"
    assert [name for name, _ in rules_after(inside, {"|layernorm": "3"})] == ["layernorm", "norm"]
    dead = "[{value: 1}, {filter: mlp, value: 2}]"
    assert rules_after(dead, {"|mlp": "3"}) == [("mlp", 3), (None, 1)]


def test_a_filter_that_is_too_long_is_told() -> None:
    recipe = parse(TIES)
    edited, findings = apply(recipe, {f"parent.1.weight|{'x' * 201}": "1"})
    assert edited == recipe
    assert [finding.code for finding in findings] == ["bad-filter"]


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


def test_the_model_that_receives_has_no_weight_of_its_own() -> None:
    recipe = read_recipe(
        "merge_method: transfer\nbase_model: o/base\nmodels: [{model: o/chat}, {model: o/code}]\n"
    ).recipe
    assert recipe is not None
    knobs = {str(parent.model): [knob.parameter.name for knob in parent.knobs] for parent in view(recipe).parents}
    assert knobs == {"o/base": [], "o/chat": [], "o/code": ["weight"]}
