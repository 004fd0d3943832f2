"""The parts of a vision-language model in the builder: found by its tensors, merged or left as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers as hf
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.support import families
from tests.web.conftest import browser
from tests.web.pages.html import elements, form_of, one
from tests.web.pages.test_build import LIVE, press, targets
from tests.web.pages.test_documents import recipe_of, shown

RECIPE = """
merge_method: linear
modules:
  language_model:
    models:
    - {model: 'local:seen/vl', parameters: {weight: [1, 0.8]}}
    - {model: 'local:seen/text', parameters: {weight: [0, 0.2]}}
dtype: float32
chat_template: auto
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen")
    families.make_family("qwen2-vl", folder / "vl", seed=1)
    torch.manual_seed(2)
    text = hf.Qwen2ForCausalLM(hf.Qwen2Config(**families._DECODER))
    text.to(torch.bfloat16).save_pretrained(folder / "text")
    return folder


@pytest.fixture
def client(settings: Settings, models: Path) -> Iterator[TestClient]:
    with browser(create_app(replace(settings, model_roots={"seen": models}))) as client:
        yield client


def parts(page: str) -> list[str]:
    """The parts, as their buttons are called and what they do."""
    found = [button.attributes["value"] for button in elements(page, "button", name="action")]
    verbs = ("open", "merge", "apart")
    return [one for one in found if one.split(":")[0] == "document" and one.split(":")[1] in verbs and "/" in one]


def test_each_part_opens_in_the_same_form(client: TestClient) -> None:
    page = client.post("/build", data={"recipe": RECIPE}).text
    assert parts(page) == ["document:open:0/language_model", "document:merge:0/visual"]
    assert shown(page) == ["local:seen/vl", "local:seen/text"]
    assert form_of(page, "build")["parent.1.weight"] == "0, 0.2"
    assert form_of(page, "build")["document"] == "0/language_model"
    assert "<curve-editor" in page
    assert "stays as it is" in page and elements(page, "svg", role="img")
    page = press(client, page, **{"parent.1.weight": "0.1", "action": "document:merge:0/visual"})
    recipe = recipe_of(page)
    assert list(recipe.modules) == ["language_model", "visual"] and recipe.chat_template == "auto"
    assert recipe.modules["language_model"].models[1].parameters["weight"][0].value == 0.1
    assert "<curve-editor" not in page, "the loom's layers are not those of the eyes"
    assert shown(page) == ["local:seen/vl"]
    assert not elements(page, "li", **{"class": "finding error"})
    page = press(client, page, action="document:keep:0/visual")
    assert list(recipe_of(page).modules) == ["language_model"]
    assert form_of(page, "build")["document"] == "0/language_model"


def test_only_a_part_of_plain_models_is_merged(client: TestClient) -> None:
    page = client.get("/").text
    for model in ("local:seen/vl", "local:seen/text"):
        page = press(client, page, action="add", add=model)
    assert parts(page) == ["document:apart:0/language_model", "document:apart:0/visual"]
    page = press(client, page, action="document:apart:0/language_model")
    assert [str(source.model) for source in recipe_of(page).modules["language_model"].models] == shown(page)
    assert not elements(page, "li", **{"class": "finding error"})
    stack = press(client, page, action="stack:make")
    assert "blocks" in one(stack, "ol", **{"class": "blocks"}).attributes["class"]
    assert recipe_of(stack).modules["language_model"].slices


def test_the_parts_come_with_the_check(client: TestClient) -> None:
    text = "merge_method: linear\nmodels: [{model: 'local:seen/vl', parameters: {weight: 1}}]\n"
    answer = client.post("/build/check", data={"recipe": text}, headers=LIVE).text
    assert "#modules" in targets(answer) and "Merge only a part:" in answer
