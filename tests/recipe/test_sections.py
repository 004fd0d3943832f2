"""One document or one module edited at a time: the form sees it alone, and everything else stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.recipe import form, section_edits, section_form
from app.recipe.edits import act
from app.recipe.findings import Refused
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe
from app.recipe.sections import Section, alone, find, put, usable
from app.recipe.stack_form import view_blocks
from app.recipe.writing import write_recipe
from tests.recipe.test_form import fields_of

PUBLISHED = sorted((Path(__file__).parents[1] / "recipes").glob("*.yml"))
CHAIN = """
name: crafts
merge_method: ties
base_model: org/base
models:
- {model: org/code, parameters: {weight: [0.3, 0.8], density: [{filter: mlp, value: 0.2}, {value: 0.5}]}}
- {model: org/prose, parameters: {weight: 0.4, density: 0.5}}
tokenizer: {source: base, pad_to_multiple_of: 8}
dtype: float32
---
name: taller
merge_method: passthrough
slices:
- sources: [{model: crafts, layer_range: [0, 20]}]
- sources: [{model: crafts, layer_range: [10, 30], parameters: {scale: 0.5}}]
---
merge_method: task_arithmetic
base_model: taller
models: [{model: org/deep, parameters: {weight: 0.3}}]
tokenizer: {source: taller, tokens: {<x>: {source: crafts}}}
chat_template: auto
seed: 7
"""
PARTS = """
merge_method: ties
base_model: org/vl
modules:
  language_model:
    models:
    - {model: org/vl, parameters: {density: 0.3}}
    - {model: org/text, parameters: {weight: [0.2, 0.8]}}
    parameters: {lambda: 0.9}
  visual:
    slices:
    - sources: [{model: org/vl, layer_range: [0, 8]}, {model: org/eyes, layer_range: [0, 8]}]
      parameters: {density: 0.4}
parameters: {weight: 0.5, lambda: 1.1}
dtype: bfloat16
"""


def parse(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def drafted(recipe: Recipe) -> Recipe:
    """The recipe as the builder reads it back after an edit."""
    read = read_recipe(write_recipe(recipe)).draft
    assert read is not None
    return read


def sections(recipe: Recipe) -> list[Section]:
    places = [(at, document.modules or ("",)) for at, document in enumerate(recipe.documents)]
    return [Section(at, module) for at, modules in places for module in modules]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_published_recipe_is_open_to_the_form_and_none_loses_a_key(path: Path) -> None:
    """Posted untouched it stays as it is; a field of one section changes that one alone."""
    recipe = parse(path.read_text())
    for section in sections(recipe):
        part = alone(recipe, section)
        assert not part.modules and not part.stages
        shown = form.view(part)
        assert not shown.whole
        fields = fields_of(shown, part) | {"document.name": recipe.documents[section.document].name or ""}
        fields["name"] = recipe.name or ""
        for block in view_blocks(part):
            fields |= {f"{one.field}.first": str(one.first) for one in block.sources}
        assert section_form.apply(recipe, section, fields) == (recipe, section, ())
        edited, where, findings = section_form.apply(recipe, section, fields | {"seed": "4711"})
        assert (where, findings) == (section, ())
        assert drafted(edited) == edited
        for at, (before, after) in enumerate(zip(recipe.documents, edited.documents, strict=True)):
            wanted = replace(before, seed=4711) if at == section.document else before
            assert replace(after, stages=()) == replace(wanted, stages=())


def test_what_a_section_is_called() -> None:
    recipe = parse(CHAIN)
    assert [str(find(recipe, text)) for text in ("0", "1", "2", "", "3", "-1", "x", "1/none")] == list("01222221")
    parts = parse(PARTS)
    assert str(find(parts, "0/visual")) == "0/visual"
    assert str(find(parts, "0/other")) == str(find(parts, "")) == "0/language_model"
    assert usable(recipe, Section(0)) == ()
    assert usable(recipe, Section(1)) == ("crafts",)
    assert usable(recipe, Section(2)) == ("crafts", "taller")


def test_a_new_name_is_followed_wherever_the_result_is_used() -> None:
    recipe = parse(CHAIN)
    edited, section, findings = section_form.apply(recipe, Section(0), {"document.name": "skills", "name": "Whole"})
    assert (section, findings, edited.name) == (Section(0), (), "Whole")
    text = write_recipe(edited)
    assert text.replace("skills", "crafts").replace("name: Whole\n", "") == write_recipe(recipe)
    assert "crafts" not in text
    assert drafted(edited) == edited


@pytest.mark.parametrize(("name", "code"), [
    ("", "bad-document-name"), ("two words + more", "bad-document-name"), ("taller", "repeated-name"),
    ("org/deep", "repeated-name"),
])  # fmt: skip
def test_a_name_that_cannot_be_is_told_and_the_other_edits_stay(name: str, code: str) -> None:
    recipe = parse(CHAIN)
    edited, section, findings = section_form.apply(
        recipe, Section(0), {"document.name": name, "parent.2.weight": "0.9"}
    )
    assert [one.code for one in findings] == [code]
    assert section == Section(0) and edited.stages[0].name == "crafts"
    assert edited.stages[0].models[1].parameters["weight"][0].value == 0.9


def test_a_result_goes_in_like_any_model_but_never_in_a_circle() -> None:
    recipe = parse(CHAIN)
    more = put(recipe, Section(2), act(alone(recipe, Section(2)), "add:crafts"))
    assert ModelRef("crafts") in more.own_parents() and drafted(more) == more
    for place, name in ((0, "taller"), (1, "taller")):
        with pytest.raises(Refused) as refused:
            put(recipe, Section(place), act(alone(recipe, Section(place)), f"add:{name}"))
        assert refused.value.findings[0].code == "circular-documents"


def test_merging_a_result_further_rounds_nothing_on_the_way() -> None:
    recipe = parse(
        "name: Soup\nmerge_method: linear\nmodels: [{model: org/a, parameters: {weight: 1}}]\ndtype: bfloat16\n"
    )
    made, section = section_edits.act(recipe, "further")
    assert section == Section(1) and drafted(made) == made
    (stage,) = made.stages
    assert (stage.name, stage.dtype, made.name, made.dtype) == ("step-1", None, "Soup", "bfloat16")
    assert made.own_parents() == (ModelRef("step-1"),)
    back, _ = section_edits.act(made, "remove:1")
    assert back == recipe
    with pytest.raises(Refused):
        section_edits.act(Recipe("linear"), "further")


def test_another_merge_is_begun_ordered_used_and_removed() -> None:
    made, section = section_edits.act(parse(CHAIN), "new")
    assert section == Section(2) and made.stages[2].name == "step-3"
    made = drafted(put(made, section, act(alone(made, section), "add:org/one")))
    assert [stage.name for stage in made.stages] == ["crafts", "taller", "step-3"]
    assert [section_edits.can_move(made, *pair) for pair in ((0, 1), (1, 1), (2, -1), (2, 1), (0, -1), (3, -1))] == [
        False, True, True, False, False, False,
    ]  # fmt: skip
    moved, section = section_edits.act(made, "up:2")
    assert [stage.name for stage in moved.stages] == ["crafts", "step-3", "taller"] and section == Section(1)
    assert section_edits.act(moved, "down:1")[0] == made
    used = put(made, Section(3), act(alone(made, Section(3)), "add:step-3"))
    assert drafted(used) == used
    left, _ = section_edits.act(used, "remove:2")
    assert left == parse(CHAIN)
    assert ModelRef("taller") not in section_edits.act(left, "remove:1")[0].own_parents()


@pytest.mark.parametrize("action", ["open:9", "open:x", "up:0", "down:2", "remove:", "turn:0", "merge:0", "apart:1/x"])
def test_a_button_for_what_is_gone(action: str) -> None:
    with pytest.raises(Refused):
        section_edits.act(parse(CHAIN), action)


def test_the_only_merge_stays() -> None:
    with pytest.raises(Refused) as refused:
        section_edits.act(parse(PARTS), "remove:0")
    assert refused.value.findings[0].code == "last-document"


def test_a_module_shows_what_it_says_and_what_its_document_says() -> None:
    recipe = parse(PARTS)
    text = alone(recipe, Section(0, "language_model"))
    assert {name: one[0].value for name, one in text.parameters.items()} == {"weight": 0.5, "lambda": 0.9}
    fields = {"shared.lambda": "0.7", "parent.1.weight|mlp": "0.1", "dtype": "float32"}
    edited, _, findings = section_form.apply(recipe, Section(0, "language_model"), fields)
    assert findings == () and drafted(edited) == edited
    assert edited.modules["visual"] == recipe.modules["visual"]
    assert edited.modules["language_model"].parameters["lambda"][0].value == 0.7
    assert edited.parameters == recipe.parameters and edited.dtype == "float32"
    other, _, _ = section_form.apply(recipe, Section(0, "visual"), {"slice.0.0.last": "5", "slice.0.0.weight": "0.3"})
    assert other.modules["visual"].slices[0].sources[0].layers == (0, 6)
    assert replace(other, modules=recipe.modules) == recipe


def test_another_method_leaves_no_module_parameters_that_it_does_not_know() -> None:
    recipe = parse(PARTS)
    edited, _, _ = section_form.apply(recipe, Section(0, "language_model"), {"method": "linear"})
    read = read_recipe(write_recipe(edited))
    assert read.recipe == edited
    assert not [one for one in read.findings if one.code in ("unused-parameter", "unknown-parameter")]


def test_parts_are_merged_or_stay() -> None:
    recipe = parse(PARTS)
    kept, section = section_edits.act(recipe, "keep:0/visual")
    assert list(kept.modules) == ["language_model"] and str(find(kept, str(section))) == "0/language_model"
    again, section = section_edits.act(kept, "merge:0/visual")
    assert [one.model for one in again.modules["visual"].models] == [ModelRef("org/vl")]
    assert section == Section(0, "visual") and drafted(again) == again
    last = put(
        kept, Section(0, "language_model"), act(act(alone(kept, Section(0, "language_model")), "remove:0"), "remove:0")
    )
    assert not last.modules and drafted(last) == replace(last, base_model=None)


def test_of_plain_models_only_a_part_is_merged() -> None:
    recipe = parse(
        "merge_method: linear\nparameters: {weight: 1}\n"
        "models: [{model: org/vl}, {model: org/t, parameters: {weight: 2}}]"
    )
    apart, section = section_edits.act(recipe, "apart:0/language_model")
    assert section == Section(0, "language_model") and drafted(apart) == apart
    assert apart.modules["language_model"].models == recipe.models and not apart.models


def test_a_model_leaves_every_module() -> None:
    recipe = act(parse(PARTS), "remove:1")
    assert ModelRef("org/text") not in recipe.own_parents()
    gone = act(act(parse(PARTS), "remove:2"), "remove:0")
    assert list(gone.modules) == ["language_model"] and gone.base_model is None
