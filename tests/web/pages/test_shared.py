"""Sharing a recipe by link: make, open, fork, take away; and that opening does nothing else."""

from __future__ import annotations

import base64
import re
import struct
import zlib

import pytest
from starlette.testclient import TestClient

from app.recipe.identity import share_token
from app.recipe.reading import read_recipe
from tests.support.hub import StandInHub
from tests.web.pages.html import elements

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


def test_a_link_tells_the_curves_of_its_models(client: TestClient) -> None:
    curve = "weight: [{filter: mlp, value: [0, 0.5, 0]}, {value: 0.25}]"
    page = client.get(share(client, RECIPE.replace("weight: 0.5", curve, 1))).text
    values = [one.text for one in elements(page, "span", **{"class": "muted num values"})]
    assert values == ["weight 0.25; mlp 0, 0.5, 0", "weight 0.5"]


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


def test_the_loom_is_drawn_without_asking_anybody(client: TestClient) -> None:
    plot = elements(client.get(share(client, RECIPE)).text, "svg", role="img")[0]
    assert plot.attributes["data-layers"] == "32"
    known = client.post("/recipes/share", data={"recipe": RECIPE.replace("0.5", "0.6", 1), "layers": "7"})
    plot = elements(client.get(known.headers["location"]).text, "svg", role="img")[0]
    assert plot.attributes["data-layers"] == "7"


@pytest.mark.parametrize("layers", ["-1", "x", "9" * 30, "²"])
def test_a_depth_that_makes_no_sense_is_passed_over(client: TestClient, layers: str) -> None:
    made = client.post("/recipes/share", data={"recipe": RECIPE, "layers": layers})
    assert client.get(made.headers["location"]).status_code == 200


def test_previews_of_a_link(client: TestClient) -> None:
    address = share(client, "name: Two <voices>\n" + RECIPE)
    tags = {one.attributes["property"]: one.attributes["content"] for one in elements(client.get(address).text, "meta")
            if "property" in one.attributes}  # fmt: skip
    assert tags["og:title"] == "Two <voices>"
    assert "a/one, a/two" in tags["og:description"]
    assert tags["og:image"] == f"http://127.0.0.1:8300{address}.png"
    drawing = client.get(f"{address}.svg")
    assert drawing.headers["content-type"] == "image/svg+xml"
    assert "Two &lt;voices&gt;" in drawing.text and "a/one" in drawing.text
    picture = client.get(f"{address}.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture.content[16:24]) == (1200, 630)


def test_a_self_contained_link_opens_on_a_server_that_never_saw_it(client: TestClient) -> None:
    (text,) = [one.text for one in elements(client.get(share(client, RECIPE)).text, "code", id="carried")]
    address, _, token = text.partition("#")
    assert address == "http://127.0.0.1:8300/r"
    page = client.get("/r")
    assert page.status_code == 200
    assert "Without JavaScript" in page.text
    for headers in ({}, {"HX-Request-Type": "partial"}):
        opened = client.post("/r", data={"token": token}, headers=headers)
        assert opened.status_code == 200
        assert "a/one" in opened.text and "Keep it on this server" in opened.text
    assert client.get("/api/jobs").json()["jobs"] == []


@pytest.mark.parametrize("token", ["", "%%%", "AAAA", "x" * 25_000, base64.urlsafe_b64encode(b"{").decode()])
def test_a_link_that_is_damaged_is_told(client: TestClient, token: str) -> None:
    answer = client.post("/r", data={"token": token})
    assert answer.status_code == 422
    assert "damaged or cut short" in answer.text


def test_a_link_that_inflates_or_holds_no_recipe_is_refused(client: TestClient) -> None:
    for content in (b" " * 50_000_000, b"merge_method: nothing", b"a: &x [*x]", b"\xff\xfe"):
        token = base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")
        assert client.post("/r", data={"token": token}).status_code == 422


def test_opening_a_self_contained_link_asks_nobody(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("opening a link must not look at models")

    recipe = read_recipe(RECIPE).recipe
    assert recipe is not None
    monkeypatch.setattr("app.library.facts.Library.files", never)
    monkeypatch.setattr("app.library.facts.Library.facts", never)
    assert client.post("/r", data={"token": share_token(recipe)}).status_code == 200


def test_licences_and_lineage_are_looked_up_on_demand(online: TestClient, hub: StandInHub) -> None:
    hub.repos.set_meta("loom/code", tags=["license:apache-2.0", "base_model:loom/base"])
    hub.repos.set_meta("loom/prose", tags=["license:cc-by-nc-4.0", "base_model:loom/code"])
    text = RECIPE.replace("a/one", "loom/prose").replace("a/two", "loom/gone")
    found = online.post("/recipes/family", data={"recipe": text}, headers={"HX-Request-Type": "partial"})
    assert found.status_code == 200
    lines = [(one.attributes["class"].split()[0], one.text.split()) for one in elements(found.text, "li")
             if one.attributes.get("class", "").startswith("deep-")]  # fmt: skip
    assert [(deep, words[0]) for deep, words in lines] == [
        ("deep-0", "loom/base"), ("deep-1", "loom/code"), ("deep-2", "loom/prose"), ("deep-0", "loom/gone"),
    ]  # fmt: skip
    assert "cc-by-nc-4.0" in found.text and "not for commercial use" in found.text
    assert "could be asked about" in found.text
    whole = online.post("/recipes/family", data={"recipe": text.replace("loom/gone", "loom/code")})
    assert "<!doctype html>" in whole.text and "All of them come from <strong>loom/code" in whole.text


def test_a_recipe_without_a_name_is_called_the_same_everywhere(client: TestClient) -> None:
    nameless = RECIPE.replace("a/one", "a/Dawn-7B").replace("a/two", "a/Dusk-7B")
    address = share(client, nameless)
    page, builder, carried = (
        client.get(address), client.post("/build", data={"recipe": nameless, "action": "look"}),
        client.post("/r", data={"token": share_token(read_recipe(nameless).recipe)}),
    )  # fmt: skip
    for one in (page, builder, carried):
        assert elements(one.text, "title")[0].text == "Dawn × Dusk · Weightloom"
    assert [one.text for one in elements(page.text, "h1")] == ["Dawn × Dusk"]
    listed = elements(client.get("/recipes").text, "th")
    assert [one.text for one in listed if "Dawn" in one.text] == ["Dawn × Dusk Linear (LERP)"]
