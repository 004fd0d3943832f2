"""Recipes in the styles people publish: each opens, shows in every view of the builder, and comes back unchanged in
meaning. The files are compositions of ours; the model names are those that people use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.planning.facts import ModelFacts
from app.recipe.catalogue import METHODS
from app.recipe.findings import refuse
from app.recipe.form import apply, view
from app.recipe.identity import read_share_token, recipe_hash, share_token
from app.recipe.reading import Reading, read_recipe
from app.recipe.schema import ModelRef, Recipe
from app.recipe.writing import write_recipe
from app.settings import Settings
from tests.planning.models import facts, llama_config, llama_shapes
from tests.web.pages.html import elements, form_of, one

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.yml"))
WORDS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "the", "loom", "weaves", *"abcdefgh")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text(encoding="utf-8"))


def opened(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, [str(one) for one in reading.findings]
    return reading.recipe


def test_there_is_one_for_every_method_and_way_of_writing() -> None:
    readings = [read_recipe(path.read_text(encoding="utf-8")) for path in FILES]
    recipes = [one.recipe for one in readings if one.recipe is not None]
    assert len(FILES) >= 40
    assert {one.merge_method for one in recipes} == set(METHODS)
    assert any(one.slices for one in recipes)
    assert any(one.modules for one in recipes)
    assert any(one.stages for one in recipes)
    assert any(one.tokenizer and one.tokenizer.legacy for one in recipes)
    assert any(one.tokenizer and one.tokenizer.tokens for one in recipes)
    assert any(one.chat_template for one in recipes)
    assert any(model.adapter for one in recipes for model in one.parents())
    assert any(model.revision for one in recipes for model in one.parents())


def test_it_opens_and_is_written_back_unchanged(text: str) -> None:
    recipe = opened(text)
    assert opened(write_recipe(recipe)) == recipe
    assert recipe_hash(opened(write_recipe(recipe))) == recipe_hash(recipe)


def test_the_form_changes_nothing_by_itself(text: str) -> None:
    recipe = opened(text)
    form = view(recipe)
    fields = {knob.field: knob.text for knob in form.shared if not knob.ruled}
    for parent in form.parents:
        fields[f"parent.{parent.index}"] = str(parent.model)
        fields |= {knob.field: knob.text for knob in parent.knobs if not knob.ruled}
        fields |= {rule.field: rule.text for knob in parent.knobs for rule in knob.rules}
    applied, problems = apply(recipe, fields)
    assert problems == ()
    assert applied == recipe


def test_a_share_token_brings_it_back(text: str) -> None:
    recipe = opened(text)
    assert opened(read_share_token(share_token(recipe))) == recipe


class StandIn:
    """A library that has every model, each of the layers that recipes ask it for."""

    hub = None

    def __init__(self) -> None:
        self.layers: dict[ModelRef, int] = {}

    def serve(self, recipe: Recipe) -> None:
        ends = [source.layers[1] for one in recipe.documents for source in one.sources() if source.layers]
        self.layers = dict.fromkeys(recipe.parents(), max(ends, default=4))

    def facts(self, ref: ModelRef, token: str | None = None) -> ModelFacts:
        layers = self.layers[ref]
        shapes, config = llama_shapes(layers, vocab=len(WORDS)), llama_config(layers, vocab=len(WORDS))
        texts = {"tokenizer_config.json": "{}", "tokenizer.json": self._tokenizer()}
        return facts(str(ref), shapes, config, texts=texts, licence="apache-2.0")

    def with_tokenizer(self, ref: ModelRef, known: ModelFacts, token: str | None = None) -> ModelFacts:
        return known

    def files(self, ref: ModelRef, token: str | None = None) -> None:
        raise refuse("no-files", str(ref), "There are no weights behind these facts.")

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _tokenizer() -> str:
        vocabulary = {word: index for index, word in enumerate(WORDS)}
        return json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<s>"}})


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = create_app(Settings(data=tmp_path_factory.mktemp("data"), port=8300))
    with TestClient(app, base_url="http://127.0.0.1:8300", follow_redirects=False) as client:
        app.state.services.library.close()
        app.state.services.library = StandIn()
        yield client


def served(builder: TestClient, text: str) -> Reading:
    reading = read_recipe(text)
    assert reading.recipe is not None
    builder.app.state.services.library.serve(reading.recipe)  # type: ignore[attr-defined]
    return reading


def test_every_view_of_the_builder_shows_it_and_posting_it_untouched_changes_nothing(
    builder: TestClient, text: str
) -> None:
    recipe = served(builder, text).recipe
    assert recipe is not None
    page = builder.post("/build", data={"recipe": text, "action": "import"})
    assert page.status_code == 200
    assert opened(one(page.text, "textarea", id="yaml").text) == recipe
    assert opened(form_of(page.text, "build")["recipe"]) == recipe
    shown = {name for text in _documents(builder, page.text) for name in _shown(text)}
    assert shown - {one.name for one in recipe.stages} == {str(model) for model in recipe.parents()}
    told = " ".join(item.text for item in elements(page.text, "li") if "error" in item.attributes.get("class", ""))
    unwoven = recipe.modules or any(model.adapter for model in recipe.parents())
    assert elements(page.text, "svg", role="img", **{"data-layers": _layers(recipe)}) or (unwoven and told), told
    again = builder.post("/build", data=form_of(page.text, "build"), headers={"HX-Request-Type": "partial"})
    assert opened(one(again.text, "textarea", name="recipe").text) == recipe


def _layers(recipe: Recipe) -> str:
    """How many rows the loom has, as the picture says it."""
    stacked = next((one.slices for one in (recipe, *recipe.stages) if one.slices), ())
    pieces = [piece.sources[0].layers for piece in stacked]
    return str(sum(layers[1] - layers[0] for layers in pieces if layers) if pieces else 4)


def _documents(builder: TestClient, page: str) -> Iterator[str]:
    """The page with each of the recipe's documents open; one with a single document is that page."""
    yield page
    for button in elements(page, "button", name="action"):
        if button.attributes["value"].startswith("document:open:"):
            yield builder.post("/build", data={**form_of(page, "build"), "action": button.attributes["value"]}).text


def _shown(page: str) -> set[str]:
    return {field.attributes["value"] for field in elements(page, "input") if _is_parent(field.attributes)}


def _is_parent(attributes: dict[str, str]) -> bool:
    return attributes.get("name", "").removeprefix("parent.").isdigit()


def test_its_links_show_it(builder: TestClient, text: str) -> None:
    recipe = opened(text)
    address = builder.post("/recipes/share", data={"recipe": text}).headers["location"]
    page = builder.get(address)
    assert page.status_code == 200
    assert opened(builder.get(f"{address}.yml").text) == recipe
    assert elements(page.text, "svg", role="img") or any(one.modules for one in recipe.documents)
    carried = one(page.text, "code", id="carried").text.partition("#")[2]
    assert opened(one(builder.post("/r", data={"token": carried}).text, "code", id="yaml").text) == recipe


def test_without_facts_it_shows_all_the_same(builder: TestClient, text: str) -> None:
    page = builder.post(
        "/build", data={"recipe": text, "action": "yaml", "yaml": text}, headers={"HX-Request-Type": "partial"}
    )
    assert page.status_code == 200
    assert "cannot be read" not in page.text
