"""The builder over a recipe of several documents, or of modules: one is edited, the others stay."""

from __future__ import annotations

from starlette.testclient import TestClient

from app.jobs.store import Store
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe
from tests.web.pages.html import elements, form_of, one
from tests.web.pages.test_build import LIVE, press, targets

CHAIN = """\
name: crafts
merge_method: linear
models:
- {model: loom/code, parameters: {weight: [0, 1]}}
- {model: loom/prose, parameters: {weight: 1}}
dtype: float32
---
merge_method: slerp
base_model: loom/base
models: [{model: loom/base}, {model: crafts}]
parameters: {t: 0.5}
chat_template: auto
"""


def recipe_of(page: str) -> Recipe:
    recipe = read_recipe(form_of(page, "build")["recipe"]).draft
    assert recipe is not None
    return recipe


def shown(page: str) -> list[str]:
    """The models whose cards are there."""
    return [
        value for name, value in form_of(page, "build").items() if name.startswith("parent.") and name[7:].isdigit()
    ]


def fix_called(page: str, label: str) -> str:
    """What every button of these words posts: beside the finding, and where the loom would be."""
    (value,) = {one.attributes["value"] for one in elements(page, "button", name="action") if one.text == label}
    return value


def marked(page: str) -> list[str]:
    return [button.text for button in elements(page, "button", **{"aria-current": "step"})]


def test_each_document_opens_in_the_same_form_without_a_script(online: TestClient) -> None:
    page = online.post("/build", data={"recipe": CHAIN}).text
    assert [
        button.text
        for button in elements(page, "button", name="action")
        if "document:open" in button.attributes["value"]
    ][:2] == ["1 crafts", "2 result"]
    assert marked(page) == ["2 result"]
    assert shown(page) == ["loom/base", "crafts"]
    assert "made by merge 1" in page and 'value="document:open:0"' in page
    page = press(online, page, action="document:open:0")
    assert (marked(page), shown(page)) == (["1 crafts"], ["loom/code", "loom/prose"])
    assert form_of(page, "build")["recipe"] == CHAIN, "opening changes nothing"
    assert elements(page, "svg", role="img"), "the loom is that of the document"
    page = press(
        online, page, **{"parent.1.weight": "0.25", "document.name": "skills", "name": "Both", "action": "apply"}
    )
    recipe = recipe_of(page)
    assert marked(page) == ["1 skills"] and form_of(page, "build")["document"] == "0"
    assert recipe.stages[0].models[1].parameters["weight"][0].value == 0.25
    assert (recipe.name, recipe.stages[0].name, str(recipe.models[1].model)) == ("Both", "skills", "skills")
    assert (recipe.chat_template, recipe.stages[0].dtype) == ("auto", "float32")
    page = press(online, page, **{"document.name": "loom/base", "action": "apply"})
    assert "is taken" in page and recipe_of(page) == recipe


def test_a_chain_is_built_from_nothing_and_merged(online: TestClient, store: Store) -> None:
    page = online.get("/").text
    for model in ("loom/code", "loom/prose"):
        page = press(online, page, action="add", add=model)
    page = press(online, page, action="document:further")
    assert (marked(page), shown(page)) == (["2 result"], ["step-1"])
    page = press(online, page, action="add", add="loom/base")
    page = press(online, page, action="document:new")
    assert marked(page) == ["2 step-2"]
    assert "This merge has no models yet." in page and '<p class="where">step-2</p>' in page
    page = press(online, page, action="add", add="loom/code")
    page = press(online, page, action="document:open:2")
    assert 'value="add:step-2"' in page and 'value="add:step-1"' not in page
    page = press(online, page, action="add:step-2")
    assert shown(page) == ["step-1", "loom/base", "step-2"]
    answer = online.post("/jobs", data=form_of(page, "build"))
    assert answer.status_code == 303
    job = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert job is not None
    recipe = read_recipe(job.recipe).recipe
    assert recipe is not None and [stage.name for stage in recipe.stages] == ["step-1", "step-2"]
    page = press(online, page, action="document:remove:0")
    assert [str(ref) for ref in recipe_of(page).own_parents()] == ["loom/base", "step-2"]


def test_a_fix_changes_the_document_it_is_about(online: TestClient) -> None:
    text = CHAIN.replace("weight: 1}", "weigth: 1}").replace("chat_template: auto", "dtype: bf16")
    page = online.post("/build", data={"recipe": text}).text
    for place, label in (
        ("crafts: models[1].parameters.weigth", "Call it “weight”"),
        ("last document: dtype", "Use bfloat16"),
    ):
        assert place in page
        page = press(online, page, action=fix_called(page, label))
        assert place not in page
    recipe = recipe_of(page)
    assert (recipe.dtype, recipe.stages[0].models[1].parameters["weight"][0].value) == ("bfloat16", 1)


def test_a_fix_keeps_what_the_form_shows_and_what_was_typed(online: TestClient) -> None:
    models = "- {model: loom/code, parameters: {weight: [0, 1]}}\n- {model: loom/prose, parameters: {weight: 1}}\n"
    layers = "- sources: [{model: loom/code, layer_range: [1, 5]}, {model: loom/prose, layer_range: [0, 4]}]\n"
    text = CHAIN.replace(f"models:\n{models}", f"slices:\n{layers}parameters: {{weight: 1}}\n")
    page = press(online, online.post("/build", data={"recipe": text}).text, action="document:open:0")
    assert "crafts: slices[0]" in page
    fix = fix_called(page, "End at layer 3")
    page = press(online, page, action=fix, name="Chain")
    recipe = recipe_of(page)
    assert marked(page) == ["1 crafts"]
    assert recipe.name == "Chain"
    assert recipe.stages[0].slices[0].sources[0].layers == (1, 4)
    assert "crafts: slices[0]" not in page


def test_edits_survive_a_fix_that_no_longer_fits(online: TestClient) -> None:
    page = press(online, online.post("/build", data={"recipe": CHAIN}).text, action="document:open:0")
    page = press(online, page, action='fix:["nobody",["drop","seed"]]', **{"parent.0.weight": "0.25"})
    assert "no longer fits" in page
    assert recipe_of(page).stages[0].models[0].parameters["weight"][0].value == 0.25


def test_a_stack_of_a_result(online: TestClient) -> None:
    """What another document makes has its layers counted like any model."""
    page = online.post("/build", data={"recipe": CHAIN, "action": "check"}).text
    assert form_of(page, "build")["layers|crafts"] == "4"
    page = press(online, page, **{"action": "stack:pattern:double", "stack.of": "1"})
    recipe = recipe_of(page)
    assert [(str(one.sources[0].model), one.sources[0].layers) for one in recipe.slices] == [("crafts", (0, 4))] * 2
    assert recipe.stages == read_recipe(CHAIN).recipe.stages  # type: ignore[union-attr]


def test_a_script_gets_the_strip_and_keeps_the_document(online: TestClient) -> None:
    answer = online.post("/build", data={"recipe": CHAIN, "action": "document:open:0"}, headers=LIVE).text
    assert targets(answer)["#documents"] == "innerHTML"
    assert 'name="document" value="0"' in answer and "The form shows crafts." in answer
    edited = {"recipe": CHAIN, "document": "0", "parent.0.weight": "2"}
    answer = online.post("/build", data=edited, headers=LIVE).text
    assert targets(answer)["#documents"] == "innerMorph"
    assert 'name="document" value="0"' in answer
    checked = online.post("/build/check", data={"recipe": CHAIN, "document": "0"}, headers=LIVE).text
    assert {"#facts-0", "#facts-1"} <= set(targets(checked)) and "loom/prose" in checked


def test_the_address_names_the_document(online: TestClient) -> None:
    page = online.post("/build", data={"recipe": CHAIN, "action": "yaml", "yaml": CHAIN}).text
    draft = form_of(page, "build")["draft"]
    assert marked(online.get(f"/?draft={draft}").text) == ["2 result"]
    assert marked(online.get(f"/?draft={draft}&document=0").text) == ["1 crafts"]
    assert marked(online.get(f"/?draft={draft}&document=99/x").text) == ["2 result"]


def test_one_document_has_no_strip(online: TestClient) -> None:
    text = "merge_method: linear\nmodels: [{model: loom/code, parameters: {weight: 1}}]\n"
    page = online.post("/build", data={"recipe": text}).text
    assert "documents.css" not in page and "document" not in form_of(page, "build")
    assert one(page, "details", id="more-merges")


def test_an_earlier_document_is_drawn_while_a_later_one_is_unfinished(online: TestClient) -> None:
    text = CHAIN.replace("base_model: loom/base\n", "")
    page = online.post("/build", data={"recipe": text, "document": "0", "action": "check"}).text
    assert "needs a base" in page
    assert elements(page, "svg", role="img")
