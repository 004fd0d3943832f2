"""The recipe on its way through the builder's form: nothing it says is lost, whatever is pressed."""

from __future__ import annotations

import pytest

from app.recipe.presets import presets
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe, Rule
from app.web.pages.build_view import build_page
from app.web.pages.draft import Draft, from_form, from_text

TIES = """\
merge_method: ties
base_model: org/base
models:
  - model: org/one
    parameters: {weight: 0.5, density: 0.4}
  - model: org/two
    parameters: {weight: [0.25, 0.85], density: [{filter: mlp, value: 0.1}, {value: 0.9}]}
tokenizer: {source: base, pad_to_multiple_of: 8}
dtype: bfloat16
"""


def posted(draft: Draft, **changed: str) -> Draft:
    """What comes of posting the page that shows a draft, with some fields changed."""
    page = build_page(draft, "key")
    fields = {"recipe": page.text, "method": page.method.name, "name": page.name, "dtype": page.dtype}
    fields["seed"] = page.seed
    if page.base_index is not None:
        fields["base"] = str(page.base_index)
    for card in page.parents:
        fields[f"parent.{card.index}"] = card.name
        fields |= {knob.field: knob.text for knob in card.knobs if not knob.ruled}
    fields |= {knob.field: knob.text for knob in (*page.shared, *page.advanced)}
    return from_form(fields | changed)


@pytest.mark.parametrize("text", [TIES, *(preset.text for preset in presets())], ids=lambda text: text[2:24])
def test_posting_an_untouched_page_keeps_the_text_to_the_letter(text: str) -> None:
    draft = posted(from_text(text))
    assert draft.text.strip() == text.strip()
    assert not draft.problems


def test_an_edit_reaches_the_yaml_and_the_rest_stays() -> None:
    draft = posted(from_text(TIES), **{"parent.1.weight": "0.1, 0.9", "name": "Mine", "seed": "7"})
    recipe = read_recipe(draft.text).recipe
    assert recipe is not None
    assert recipe.models[0].parameters["weight"] == (Rule((0.1, 0.9)),)
    assert (recipe.name, recipe.seed) == ("Mine", 7)
    before = read_recipe(TIES).recipe
    assert before is not None
    assert recipe.models[1] == before.models[1]
    assert recipe.tokenizer == before.tokenizer


def test_a_recipe_grows_from_nothing_by_buttons_alone() -> None:
    draft = from_text("")
    assert build_page(draft, "k").findings == ()
    for model in ("org/base", "org/one", "org/two"):
        draft = posted(draft, method="ties", action="add", add=model)
        assert not draft.problems
    assert draft.complete
    assert draft.recipe is not None
    assert draft.recipe.base_model == ModelRef("org/base")
    assert [str(one) for one in draft.recipe.parents()] == ["org/base", "org/one", "org/two"]
    draft = posted(draft, action="remove:1")
    assert draft.recipe is not None
    assert [str(one) for one in draft.recipe.parents()] == ["org/base", "org/two"]


def test_only_the_base_is_no_error() -> None:
    draft = posted(from_text(""), method="ties", action="add", add="org/base")
    page = build_page(draft, "k")
    assert [finding.code for finding in page.findings] == ["only-the-base"]
    assert page.parents[0].role == "BASE"


@pytest.mark.parametrize("typed", ["http://example.org/x", "no slash", "org/one", "../../etc", "a" * 600])
def test_a_refused_button_says_why_and_changes_nothing(typed: str) -> None:
    draft = posted(from_text(TIES), action="add", add=typed)
    assert draft.text.strip() == TIES.strip()
    assert [finding.level for finding in draft.refused] == ["error"]
    assert build_page(draft, "k").refusal == draft.refused


def test_a_field_that_cannot_be_read_is_told_beside_it() -> None:
    draft = posted(from_text(TIES), **{"parent.1.density": "1.7"})
    page = build_page(draft, "k")
    assert page.problems == {"parent.1.density": '"density" must be between 0 and 1, not 1.7.'}
    assert not draft.complete


@pytest.mark.parametrize(
    "text", ["merge_methd: ties", "models: [", "- 1", "\t", "a: &x 1\nb: *x", "merge_method: tie\n"]
)
def test_unreadable_yaml_stays_in_the_editor_with_its_findings(text: str) -> None:
    draft = from_form({"action": "yaml", "yaml": text, "recipe": TIES})
    if not text.strip():
        assert draft.recipe == Recipe("linear")
        return
    assert draft.broken
    assert draft.text.strip() == text.strip("\n")
    page = build_page(draft, "k")
    assert page.findings
    assert page.broken
    again = posted(draft, **{"parent.0.weight": "0.3", "action": "remove:0"})
    assert again.text == draft.text


def test_enter_in_the_field_for_a_model_adds_it_without_a_script() -> None:
    draft = posted(from_text(""), action="apply", add="org/one")
    assert draft.recipe is not None
    assert [str(one) for one in draft.recipe.parents()] == ["org/one"]
    assert posted(from_text(""), add="org/o").recipe == Recipe("linear")
