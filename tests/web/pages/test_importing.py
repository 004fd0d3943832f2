"""Bringing recipes: pasted, as a card, and out of published merges on the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.support.hub import StandInHub
from tests.web.pages.html import form_of

RECIPE = "merge_method: linear\nmodels:\n- model: a/one\n  parameters: {weight: 0.5}\n- model: a/two\n  parameters: {weight: 0.5}\n"  # noqa: E501
CARD = f"---\nlicense: mit\ntags: [merge]\n---\n# Merged\n\n```yaml\n{RECIPE}```\n"
LIVE = {"HX-Request-Type": "partial"}


def opened(client: TestClient, **fields: str) -> dict[str, str]:
    """The builder's form after an import."""
    answer = client.post("/build/import", data=fields)
    assert answer.status_code == 303, answer.text
    return form_of(client.get(answer.headers["location"]).text, "build")


@pytest.mark.parametrize("text", [RECIPE, CARD])
def test_a_pasted_recipe_or_card_becomes_a_draft(client: TestClient, text: str) -> None:
    form = opened(client, recipe=text)
    assert form["recipe"].strip() == RECIPE.strip()
    assert form["draft"]
    live = client.post("/build/import", data={"recipe": text}, headers=LIVE)
    assert live.headers["hx-redirect"].startswith("/?draft=")


def test_a_card_is_read_in_the_yaml_view_too(client: TestClient) -> None:
    page = client.post("/build", data={"action": "yaml", "yaml": CARD, "recipe": ""}).text
    assert form_of(page, "build")["recipe"].strip() == RECIPE.strip()


def test_nothing_is_an_empty_builder(client: TestClient) -> None:
    assert client.post("/build/import", data={"recipe": " "}).headers["location"] == "/"


def test_nothing_leaves_the_recipe_that_is_open(client: TestClient) -> None:
    live = client.post("/build/import", data={"recipe": " \n"}, headers=LIVE)
    assert live.status_code == 422
    assert "nothing to open" in live.text
    assert "hx-redirect" not in live.headers


def test_a_published_merge_brings_its_own_recipe(online: TestClient, hub: StandInHub, tmp_path: Path) -> None:
    folder = tmp_path / "hub/loom/code"
    (folder / "README.md").write_text(CARD)
    assert "a/one" in opened(online, published="loom/code")["recipe"]


def test_the_file_goes_before_the_card(online: TestClient, tmp_path: Path) -> None:
    folder = tmp_path / "hub/loom/prose"
    (folder / "README.md").write_text(CARD)
    (folder / "mergekit_config.yml").write_text(RECIPE.replace("a/one", "a/three"))
    assert "a/three" in opened(online, published="https://huggingface.co/loom/prose")["recipe"]


def test_of_a_model_in_a_folder_too(online: TestClient, tmp_path: Path) -> None:
    (tmp_path / "shelf/one/mergekit_config.yml").write_text(RECIPE)
    assert "a/one" in opened(online, published="local:shelf/one")["recipe"]


@pytest.mark.parametrize(("name", "told"), [("loom/base", "no mergekit_config.yml"), ("no such", "not a model"), ("loom/gone", "loom/gone"), ("../../etc", "not a model")])  # fmt: skip  # noqa: E501
def test_what_cannot_be_had_is_told(online: TestClient, name: str, told: str) -> None:
    for headers in ({}, LIVE):
        answer = online.post("/build/import", data={"published": name}, headers=headers)
        assert answer.status_code == 422
        assert told in answer.text
