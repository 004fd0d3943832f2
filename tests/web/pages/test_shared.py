"""Sharing a recipe by link: make, open, fork, take away; and that opening does nothing else."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

RECIPE = """
merge_method: linear
models:
- model: a/one
  parameters: {weight: 0.5}
- model: a/two
  parameters: {weight: 0.5}
"""


def share(client: TestClient, text: str, fork: str = "") -> str:
    answer = client.post("/recipes/share", data={"recipe": text, "fork": fork})
    assert answer.status_code == 303
    return answer.headers["location"]


def test_a_recipe_gets_a_link_and_keeps_it(client: TestClient) -> None:
    address = share(client, RECIPE)
    assert re.fullmatch(r"/r/[a-z2-7]{16}", address)
    assert share(client, RECIPE.replace("0.5", "0.50")) == address
    page = client.get(address)
    assert page.status_code == 200
    assert "a/one" in page.text
    assert "Open in the builder" in page.text


def test_opening_a_link_asks_nobody_and_starts_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    address = share(client, RECIPE)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("opening a link must not look at models")

    monkeypatch.setattr("app.library.facts.Library.facts", never)
    assert client.get(address).status_code == 200
    assert client.get(f"{address}.yml").status_code == 200
    assert client.get("/api/jobs").json()["jobs"] == []


def test_the_yaml_of_a_link_is_the_recipe(client: TestClient) -> None:
    answer = client.get(f"{share(client, RECIPE)}.yml")
    assert answer.headers["content-type"].startswith("text/yaml")
    assert "attachment" in answer.headers["content-disposition"]
    assert share(client, answer.text) == share(client, RECIPE)


def test_a_fork_points_to_its_origin_and_shows_what_changed(client: TestClient) -> None:
    origin = share(client, RECIPE).removeprefix("/r/")
    builder = client.get("/", params={"shared": origin})
    assert f'name="fork" value="{origin}"' in builder.text
    fork = share(client, RECIPE.replace("0.5", "0.7", 1), origin)
    page = client.get(fork).text
    assert f'href="/r/{origin}"' in page
    assert "<del>" in page and "<ins>" in page and "0.7" in page
    assert fork in client.get(f"/r/{origin}").text
    assert fork in client.get("/recipes").text


def test_what_cannot_be_read_comes_back_with_the_reason(client: TestClient) -> None:
    answer = client.post("/recipes/share", data={"recipe": "merge_method: linaer\nmodels: [{model: a/b}]"})
    assert answer.status_code == 422
    assert "linaer" in answer.text


@pytest.mark.parametrize("address", ["/r/nothing", "/r/nothing.yml", "/?shared=nothing"])
def test_a_link_to_nothing_says_so(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_titles_and_models_from_strangers_are_only_text(client: TestClient) -> None:
    text = "name: '<img src=x onerror=alert(1)>'\n" + RECIPE
    page = client.get(share(client, text)).text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
