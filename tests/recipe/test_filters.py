"""Values of their own for some modules: added, moved and removed by buttons, wherever a recipe has parameters."""

from __future__ import annotations

import pytest

from app.recipe.filters import act, place_of, typed
from app.recipe.findings import Refused
from app.recipe.form import view
from app.recipe.reading import read_recipe
from app.recipe.resolve import resolve
from app.recipe.schema import Recipe
from app.recipe.stack_form import view_blocks
from app.recipe.writing import write_recipe

STACK = """
merge_method: ties
base_model: org/base
slices:
- sources:
  - model: org/one
    layer_range: [0, 4]
    parameters: {weight: [0, 1], density: [{filter: mlp, value: 0.1}, {value: 0.9}]}
  - {model: org/two, layer_range: [0, 4], parameters: {density: 0.3}}
- sources: [{model: org/one, layer_range: [4, 6], parameters: {weight: 1}}]
  parameters: {density: [0.5, 0.6]}
parameters: {weight: 0.25, normalize: false}
tokenizer: {source: base, pad_to_multiple_of: 8}
chat_template: auto
"""
MODELS = """
merge_method: slerp
base_model: org/base
models: [{model: org/base}, {model: org/one}]
parameters: {t: [{filter: self_attn, value: [0, 1]}, {value: 0.5}]}
dtype: bfloat16
"""


def parse(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def rule(place: str, of: str, name: str, value: str = "") -> dict[str, str]:
    return {f"rule.{place}.of": of, f"rule.{place}.name": name, f"rule.{place}.value": value}


def weight(recipe: Recipe, block: int, source: int, tensor: str, name: str = "weight") -> object:
    piece = recipe.slices[block]
    return resolve((piece.sources[source].parameters, piece.parameters, recipe.parameters), name, tensor, 1.0)


def test_the_classic_self_stack_whose_copy_adds_nothing_at_first() -> None:
    text = "merge_method: passthrough\nslices:\n- sources: [{model: org/m, layer_range: [0, 4]}]\n"
    recipe = parse(text + "- sources: [{model: org/m, layer_range: [2, 4]}]\n")
    for name in ("o_proj", "down_proj"):
        recipe = act(recipe, "add:slice.1.0", rule("slice.1.0", "scale", name, "0"))
    (first,), (second,) = (piece.sources for piece in recipe.slices)
    assert not first.parameters
    assert [(one.filter, one.value) for one in second.parameters["scale"]] == [("down_proj", 0), ("o_proj", 0)]
    assert weight(recipe, 1, 0, "model.layers.2.mlp.down_proj.weight", "scale") == 0
    assert weight(recipe, 1, 0, "model.layers.2.mlp.up_proj.weight", "scale") is None, "as it is"


def test_a_new_rule_leaves_all_other_tensors_their_values() -> None:
    before = parse(STACK)
    after = act(before, "add:slice.0.1", rule("slice.0.1", "weight", "q_proj", "0.2, 0.8"))
    for block, source in ((0, 0), (0, 1), (1, 0)):
        for tensor in ("self_attn.k_proj", "mlp.up_proj", "norm"):
            for name in ("weight", "density"):
                assert weight(after, block, source, tensor, name) == weight(before, block, source, tensor, name)
    assert weight(after, 0, 1, "self_attn.q_proj") == 0.8
    assert after.tokenizer == before.tokenizer and after.chat_template == "auto"
    assert parse(write_recipe(after)) == after


def test_without_a_value_it_begins_with_the_one_for_all() -> None:
    recipe = act(parse(STACK), "add:slice.0.0", rule("slice.0.0", "weight", "norm"))
    assert recipe.slices[0].sources[0].parameters["weight"][0].value == (0, 1)
    recipe = act(parse(STACK), "add:slice.1", rule("slice.1", "lambda", "norm"))
    assert recipe.slices[1].parameters["lambda"][0].value == 1


@pytest.mark.parametrize("place", ["shared", "parent.0", "slice.0", "slice.0.1"])
def test_every_place_takes_rules_and_gives_them_back(place: str) -> None:
    text = MODELS if place == "parent.0" else STACK
    method, of = (
        ("linear", "weight") if place == "parent.0" else ("ties", "lambda" if "." not in place[6:] else "weight")
    )
    before = parse(text.replace("slerp", "linear").replace("t:", "weight:") if method == "linear" else text)
    after = act(before, f"add:{place}", rule(place, of, "lm_head", "0.5"))
    assert after != before and parse(write_recipe(after)) == after
    gone = act(after, f"drop:{place}.{of}|lm_head", {})
    assert parse(write_recipe(gone)) == gone
    with pytest.raises(Refused):
        act(gone, f"drop:{place}.{of}|lm_head", {})


def test_the_first_that_matches_wins_and_the_order_can_be_changed() -> None:
    recipe = act(parse(STACK), "add:slice.0.0", rule("slice.0.0", "density", "mlp.up", "0.7"))
    assert weight(recipe, 0, 0, "mlp.up_proj", "density") == 0.7, "the narrower stands first"
    later = act(recipe, "down:slice.0.0.density|mlp.up", {})
    assert weight(later, 0, 0, "mlp.up_proj", "density") == 0.1
    (knob,) = [one for one in view_blocks(later)[0].sources[0].knobs if one.parameter.name == "density"]
    told = {one.filter: (one.hidden_by, one.first, one.last) for one in knob.rules}
    assert told == {"mlp": (None, True, False), "mlp.up": ("mlp", False, True)}
    assert act(later, "up:slice.0.0.density|mlp.up", {}) == recipe
    assert act(recipe, "up:slice.0.0.density|mlp.up", {}) == recipe, "at the end it stays"


def test_a_rule_behind_the_one_for_all_is_told_and_can_be_brought_forward() -> None:
    recipe = parse(
        MODELS.replace("{filter: self_attn, value: [0, 1]}, {value: 0.5}", "{value: 0.5}, {filter: mlp, value: 1}")
    )
    (shown,) = view(recipe).shared[0].rules
    assert (shown.hidden_by, shown.first, shown.last) == ("", False, True)
    moved = act(recipe, "up:shared.t|mlp", {})
    assert resolve((moved.parameters,), "t", "mlp.up_proj", 0) == 1
    assert view(moved).shared[0].rules[0].hidden_by is None


@pytest.mark.parametrize(
    ("action", "fields", "code"),
    [
        ("add:slice.0.0", rule("slice.0.0", "weight", ""), "bad-filter"),
        ("add:slice.0.0", rule("slice.0.0", "weight", "*"), "bad-filter"),
        ("add:slice.0.0", rule("slice.0.0", "density", "mlp", "0.5"), "filter-twice"),
        ("add:slice.0.0", rule("slice.0.0", "density", "norm", "7"), "out-of-range"),
        ("add:slice.0.0", rule("slice.0.0", "density", "x" * 300, "0.5"), "bad-filter"),
        ("add:slice.0.0", rule("slice.0.0", "normalize", "mlp", "1"), "unknown-action"),
        ("add:slice.9.0", rule("slice.9.0", "weight", "mlp", "1"), "unknown-action"),
        ("add:slice.0.9", rule("slice.0.9", "weight", "mlp", "1"), "unknown-action"),
        ("add:slice.0.x", rule("slice.0.x", "weight", "mlp", "1"), "unknown-action"),
        ("add:parent.1", rule("parent.1", "weight", "mlp", "1"), "unknown-action"),
        ("add:", {}, "unknown-action"),
        ("drop:slice.0.0.weight|mlp", {}, "unknown-action"),
        ("turn:slice.0.0.density|mlp", {}, "unknown-action"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told(action: str, fields: dict[str, str], code: str) -> None:
    with pytest.raises(Refused) as refused:
        act(parse(STACK), action, fields)
    assert refused.value.findings[0].code == code


def test_where_no_script_runs_enter_means_the_rule_that_was_typed() -> None:
    assert typed(rule("slice.0.0", "weight", "") | rule("slice.0.1", "weight", "mlp")) == "rule:add:slice.0.1"
    assert typed(rule("slice.0.0", "weight", "")) == ""
    assert place_of("rule:add:slice.0.1") == place_of("rule:up:slice.0.1.weight|a:b|c") == "slice.0.1"
    assert place_of("stack:up:0") == place_of("") == ""
