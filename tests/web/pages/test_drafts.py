"""Drafts of the builder: saved as one goes, found again, shared by two tabs without a loss."""

from __future__ import annotations

import re

from starlette.testclient import TestClient

from tests.web.pages.html import elements, form_of

RECIPE = "merge_method: linear\nmodels: [{model: a/one, parameters: {weight: 0.5}}, {model: a/two, parameters: {weight: 0.5}}]\n"  # noqa: E501  # fmt: skip
LIVE = {"HX-Request-Type": "partial"}


def opened(client: TestClient, text: str = RECIPE) -> dict[str, str]:
    """The form of a builder page that holds a draft."""
    return form_of(client.post("/build", data={"recipe": text, "action": "import"}).text, "build")


def edited(client: TestClient, form: dict[str, str], **changed: str) -> dict[str, str]:
    """The form after an edit that a script posts."""
    answer = client.post("/build", data=form | changed, headers=LIVE)
    state = {one.attributes["name"]: one.attributes.get("value", one.text) for one in elements(answer.text)
             if one.attributes.get("name") in ("recipe", "key", "draft", "draft_version")}  # fmt: skip
    return form | changed | state | {"said": answer.text}


def test_an_edit_is_kept_and_found_again(client: TestClient) -> None:
    form = edited(client, opened(client), name="Kept")
    page = client.get("/", params={"draft": form["draft"]}).text
    assert form_of(page, "build")["name"] == "Kept"
    assert form_of(page, "build")["draft"] == form["draft"]
    listed = client.get("/recipes").text
    assert f"/?draft={form['draft']}" in listed and "Kept" in listed


def test_opening_something_keeps_nothing(client: TestClient) -> None:
    client.get("/", params={"preset": "self-stack"})
    client.post("/build", data={"recipe": RECIPE, "action": "look"})
    client.post("/build", data={"action": "apply", "recipe": ""})
    assert "Drafts on this server" not in client.get("/recipes").text


def test_what_cannot_be_read_is_kept_too(client: TestClient) -> None:
    form = opened(client, "models: [")
    assert form_of(client.get("/", params={"draft": form["draft"]}).text, "build")["recipe"].strip() == "models: ["


def test_a_second_tab_is_told_and_nothing_is_lost(client: TestClient) -> None:
    first = opened(client)
    second = form_of(client.get("/", params={"draft": first["draft"]}).text, "build")
    assert second["key"] != first["key"]
    second = edited(client, second, name="Second")
    assert "changed in another tab" not in second["said"]
    assert client.post("/drafts/news", data=second, headers=LIVE).status_code == 204
    news = client.post("/drafts/news", data=first, headers=LIVE)
    assert "changed in another tab" in news.text and "Load the newer one" in news.text
    first = edited(client, first, name="First")
    assert "What you see here has replaced that" in first["said"]
    assert "changed in another tab" not in edited(client, first, name="First still")["said"]
    answer = client.post(f"/drafts/{first['draft']}/swap")
    assert answer.headers["location"] == f"/?draft={first['draft']}"
    assert form_of(client.get(answer.headers["location"]).text, "build")["name"] == "Second"


def test_without_a_script_the_remark_is_on_the_page(client: TestClient) -> None:
    first = opened(client)
    edited(client, form_of(client.get("/", params={"draft": first["draft"]}).text, "build"), name="Second")
    page = client.post("/build", data=first | {"name": "First", "action": "apply"}).text
    assert "What you see here has replaced that" in page


def test_an_empty_page_offers_the_last_draft(client: TestClient) -> None:
    assert "draft-offer" not in client.get("/").text
    form = edited(client, opened(client), name="Half done")
    page = client.get("/").text
    assert "Half done" in page and f"/?draft={form['draft']}" in page


def test_a_fork_is_a_draft_that_knows_its_origin(client: TestClient) -> None:
    origin = client.post("/recipes/share", data={"recipe": RECIPE}).headers["location"].removeprefix("/r/")
    made = client.post("/drafts", data={"recipe": RECIPE, "fork": origin}).headers["location"]
    assert re.fullmatch(r"/\?draft=[a-z2-7]{16}", made)
    form = form_of(client.get(made).text, "build")
    assert form["fork"] == origin
    shared = client.post("/recipes/share", data=form | {"name": "Fork"}).headers["location"]
    listed = client.get("/recipes").text
    assert shared in listed and "What changed" in listed and "<ins>" in listed


def test_a_fork_of_nothing_is_still_a_draft(client: TestClient) -> None:
    made = client.post("/drafts", data={"recipe": RECIPE, "fork": "nothing"}).headers["location"]
    assert form_of(client.get(made).text, "build")["fork"] == ""


def test_a_draft_can_be_removed(client: TestClient) -> None:
    form = opened(client)
    assert client.post(f"/drafts/{form['draft']}/remove").status_code == 303
    assert client.get("/", params={"draft": form["draft"]}).status_code == 404
    assert edited(client, form, name="x")["draft"] not in ("", form["draft"])


def test_odd_values_in_the_form_do_no_harm(client: TestClient) -> None:
    for version in ("-1", "x", "9" * 40, "٣"):
        form = opened(client) | {"draft_version": version, "name": version[:5]}
        assert client.post("/build", data=form, headers=LIVE).status_code == 200
    assert client.post("/build", data=opened(client) | {"draft": "x" * 99, "name": "y"}).status_code == 200


def test_many_drafts_do_not_push_the_recipes_down(client: TestClient) -> None:
    models = "models: [{model: loom/code, parameters: {weight: 1}}]"
    for at in range(7):
        text = f"name: number {at}\nmerge_method: linear\n{models}"
        client.post("/build", data={"action": "import", "recipe": text})
    page = client.get("/recipes").text
    assert page.index("number 2") < page.index("Earlier drafts (2)") < page.index("number 1") < page.index("Self-stack")
