"""The pages about models and the suggestions below the picker."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.support.hub import StandInHub
from tests.web.pages.html import elements, one


def refs(answer: str) -> list[str]:
    return [element.attributes["data-ref"] for element in elements(answer) if "data-ref" in element.attributes]


def test_suggestions_hold_local_models_and_the_hubs(online: TestClient) -> None:
    assert refs(online.get("/models/suggest", params={"q": ""}).text) == ["local:shelf/one"]
    assert set(refs(online.get("/models/suggest", params={"q": "loom"}).text)) == {
        "loom/base",
        "loom/code",
        "loom/prose",
    }
    answer = online.get("/models/suggest", params={"q": "code"}).text
    assert "apache-2.0" in answer
    assert "7 downloads" in answer


@pytest.fixture
def lora(hub: StandInHub) -> str:
    hub.add("loom/lora", {"adapter_config.json": "{}", "adapter_model.safetensors": b"12345678{}"}, downloads=99)
    return "loom/lora"


def test_models_and_adapters_are_told_apart(online: TestClient, lora: str) -> None:
    def offered(kind: str, words: str = "loom") -> str:
        return online.get(f"/models/suggest{kind}", params={"q": words}).text

    models = {"loom/base", "loom/code", "loom/prose"}
    assert set(refs(offered("/models"))) == models
    assert refs(offered("/adapters")) == [lora]
    every = offered("")
    assert refs(every)[-1] == lora, "after the models, though more often downloaded"
    assert elements(every, "div", **{"class": "about"})[-1].text.startswith("adapter · ")
    assert "Adapters, which go on a model" in every
    assert "No adapter is called that" in offered("/adapters", "loom code")
    for kind in ("", "/models"):
        assert refs(offered(kind, "loom/code+lor")) == ["loom/code+loom/lora"]
    page = online.get("/models", params={"q": "loom"}).text
    assert [head.text for head in elements(page, "h2")][:2] == ["Models", "Adapters"]
    assert {link.attributes["href"] for link in elements(page, "a", **{"class": "button small"})} == {
        "/adapters?adapter=loom/lora"
    }
    assert {one.attributes["value"] for one in elements(page, "input", name="add")} == models


def test_a_pasted_reference_is_the_first_suggestion(online: TestClient) -> None:
    answer = online.get("/models/suggest", params={"q": "alice/diary@main"}).text
    assert refs(answer)[0] == "alice/diary@main"
    assert {element.attributes.get("role") for element in elements(answer, "div") if not element.inside} >= {"option"}


def test_a_hub_out_of_reach_is_told_and_local_models_stay(online: TestClient, hub: StandInHub) -> None:
    hub.fault("status", "/api/models", status=500, times=None)
    answer = online.get("/models/suggest", params={"q": "one"})
    assert answer.status_code == 200
    assert refs(answer.text) == ["local:shelf/one"]
    assert elements(answer.text, "div", **{"aria-disabled": "true"})


def test_the_search_page_lists_what_it_found(online: TestClient) -> None:
    page = online.get("/models", params={"q": "prose"}).text
    assert one(page, "a", **{"class": "main"}).attributes["href"] == "/models/view?ref=loom/prose"
    assert one(page, "input", id="search").attributes["value"] == "prose"
    assert "No model is called that" in online.get("/models", params={"q": "zzz"}).text


def test_a_models_page_tells_what_it_is_made_of(online: TestClient, hub: StandInHub) -> None:
    page = online.get("/models/view", params={"ref": "loom/code"}).text
    assert hub.commit_of("loom/code") in page
    rows = {head.text for head in elements(page, "th", scope="row")}
    assert {"q", "up", "down", "norm", "embeddings", "head", "model_type"} <= rows
    assert "model.safetensors" in page
    assert "apache-2.0" in page


@pytest.mark.parametrize("ref", ["loom/nobody", "local:shelf/../../etc", "http://x/y"])
def test_a_model_that_is_not_there_is_an_error_page(online: TestClient, ref: str) -> None:
    answer = online.get("/models/view", params={"ref": ref})
    assert answer.status_code == 422
    assert one(answer.text, "main", id="main")
    assert elements(answer.text, "li", **{"class": "finding error"})


def test_an_address_without_a_model_leads_to_the_list(online: TestClient) -> None:
    answer = online.get("/models/view", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/models")


def test_the_ready_recipes_are_all_there(client: TestClient) -> None:
    page = client.get("/recipes").text
    for slug in ("base-and-instruct", "chat-and-code", "self-stack"):
        assert elements(page, "a", href=f"/?preset={slug}")
        assert one(page, "code", id=f"yaml-{slug}").text.startswith("# title:")
