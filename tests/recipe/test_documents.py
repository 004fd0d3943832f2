"""Several documents in one text: which is the recipe, in which order its stages are made, and what is refused."""

from __future__ import annotations

import pytest

from app.planning.facts import ModelFacts
from app.planning.pinning import pin
from app.recipe.documents import used_stages
from app.recipe.edits import act
from app.recipe.findings import Refused
from app.recipe.form import apply, view
from app.recipe.identity import recipe_hash
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe
from app.recipe.writing import write_recipe


def linear(*models: str, name: str = "", more: str = "") -> str:
    listed = "".join(f"- {{model: {model}, parameters: {{weight: 1}}}}\n" for model in models)
    return f"{f'name: {name}' if name else ''}\nmerge_method: linear\n{more}models:\n{listed}"


def read(*texts: str) -> Recipe:
    reading = read_recipe("---\n".join(texts))
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def test_the_document_without_a_name_is_the_recipe_wherever_it_stands() -> None:
    recipe = read(linear("soup", "o/c"), linear("o/a", "o/b", name="soup"))
    assert recipe.name is None
    assert [stage.name for stage in recipe.stages] == ["soup"]
    assert [str(ref) for ref in recipe.parents()] == ["o/c", "o/a", "o/b"]
    assert [str(ref) for ref in recipe.own_parents()] == ["soup", "o/c"]


def test_with_names_throughout_the_last_is_the_recipe() -> None:
    assert read(linear("o/a", name="x"), linear("x", "o/b", name="y")).name == "y"


def test_each_stage_comes_behind_those_it_uses() -> None:
    recipe = read(linear("y", "o/c"), linear("x", "o/b", name="y"), linear("o/a", name="x"))
    assert [stage.name for stage in recipe.stages] == ["x", "y"]


def test_a_stage_nobody_uses_is_kept_and_told_of() -> None:
    text = "---\n".join([linear("o/a", name="x"), linear("o/b", name="y"), linear("x", "o/c")])
    reading = read_recipe(text)
    assert [(one.level, one.code, one.where) for one in reading.findings] == [("warning", "unused-document", "y")]
    assert reading.recipe is not None
    assert [stage.name for stage in reading.recipe.stages] == ["x", "y"]
    assert [stage.name for stage in used_stages(reading.recipe)] == ["x"]
    assert read_recipe(write_recipe(reading.recipe)).recipe == reading.recipe


@pytest.mark.parametrize(
    ("texts", "code", "words"),
    [
        ((linear("o/a"), linear("o/b")), "unnamed-document", "2 documents"),
        ((linear("o/a", name="x"), linear("o/b", name="x"), linear("x")), "repeated-name", '"x"'),
        ((linear("y", name="x"), linear("x", name="y"), linear("x")), "circular-documents", "use each other"),
        ((linear("x", name="x"), linear("x")), "circular-documents", "use each other"),
        ((linear("o/a", name="a@b"), linear("o/b")), "bad-document-name", '"a@b"'),
        ((linear("o/a", name="x"), linear("x@main")), "bad-reference", "neither revisions nor adapters"),
        ((linear("o/a", name="x"), linear("x+o/lora")), "bad-reference", "neither revisions nor adapters"),
    ],
)
def test_what_is_refused(texts: tuple[str, ...], code: str, words: str) -> None:
    reading = read_recipe("---\n".join(texts))
    assert reading.recipe is None
    (finding,) = [one for one in reading.findings if one.level == "error"]
    assert finding.code == code
    assert words in finding.text


def test_remarks_say_which_document_they_are_about() -> None:
    reading = read_recipe("---\n".join([linear("o/a", name="soup", more="dtipe: float32\n"), linear("soup")]))
    assert [one.where for one in reading.findings] == ["soup: dtipe"]


def test_pinning_leaves_stages_alone_and_pins_models_in_all_documents() -> None:
    recipe = read(linear("o/a", "o/b", name="soup"), linear("soup", "o/a"))
    facts = {ref: ModelFacts(str(ref), {}, {}, (), commit="c" * 40) for ref in recipe.parents()}
    pinned = pin(recipe, facts, 3)
    assert [str(ref) for ref in pinned.own_parents()] == ["soup", f"o/a@{'c' * 40}"]
    assert [str(ref) for ref in pinned.stages[0].own_parents()] == [f"o/a@{'c' * 40}", f"o/b@{'c' * 40}"]
    assert read_recipe(write_recipe(pinned)).recipe == pinned


def test_the_form_shows_all_models_and_keeps_all_documents() -> None:
    recipe = read(linear("o/a", "o/b", name="soup"), linear("soup", "o/c"))
    form = view(recipe)
    assert [str(parent.model) for parent in form.parents] == ["o/c", "o/a", "o/b"]
    assert form.whole
    assert not form.takes_more
    fields = {f"parent.{parent.index}": str(parent.model) for parent in form.parents}
    fields |= {knob.field: knob.text for knob in form.shared}
    assert apply(recipe, fields) == (recipe, ())
    changed, _ = apply(recipe, {"dtype": "float32", "method": "karcher"})
    assert changed.stages == recipe.stages
    assert (changed.dtype, changed.merge_method) == ("float32", "karcher")
    with pytest.raises(Refused, match="several documents"):
        act(recipe, "remove:1")


def test_one_document_has_the_hash_it_always_had() -> None:
    known = "merge_method: linear\nmodels:\n- {model: a/b, parameters: {weight: 1}}\n"
    assert recipe_hash(read(known)) == "5824cb2f72e9f1256a51428ccd2fe9aeae2893050507de0969e61555b49a0dac"


def test_a_document_may_be_called_like_a_method() -> None:
    """A name means a result only where a model is named."""
    recipe = read(linear("o/a", "o/b", name="linear"), linear("linear", "o/c"))
    assert (recipe.merge_method, recipe.stages[0].merge_method) == ("linear", "linear")
    assert recipe.own_parents() == (ModelRef("linear"), ModelRef("o/c"))
    assert recipe.parents() == (ModelRef("o/c"), ModelRef("o/a"), ModelRef("o/b"))
