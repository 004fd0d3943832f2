"""The builder over HTTP: with a script, without one, and with things that are refused."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from app.jobs.store import Store
from app.recipe.presets import presets
from app.recipe.reading import read_recipe
from tests.web.pages.html import elements, form_of, one

LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
LINEAR = "merge_method: linear\nmodels:\n  - {model: loom/code, parameters: {weight: 1}}\n"


def targets(answer: str) -> dict[str, str]:
    """What an answer to htmx replaces, and how."""
    return {part.attributes["hx-target"]: part.attributes["hx-swap"] for part in elements(answer, "hx-partial")}


def press(client: TestClient, page: str, **fields: str) -> str:
    """Press a button of the builder as a browser without scripts does; the page that comes back."""
    answer = client.post("/build", data=form_of(page, "build") | fields)
    assert answer.status_code == 200
    return answer.text


def test_the_empty_page_offers_the_ready_recipes(client: TestClient) -> None:
    page = client.get("/").text
    offered = {link.attributes["href"] for link in elements(page, "a") if "preset=" in link.attributes.get("href", "")}
    assert offered == {f"/?preset={preset.slug}" for preset in presets()}
    assert "disabled" in one(page, "button", id="merge").attributes


def test_a_whole_merge_without_a_script(online: TestClient, store: Store) -> None:
    page = online.get("/").text
    page = press(online, page, method="ties", action="apply")
    for model in ("loom/base", "loom/code", "loom/prose"):
        page = press(online, page, action="add", add=model)
    page = press(online, page, **{"parent.1.weight": "0.25, 0.75", "name": "Two crafts", "action": "apply"})
    assert "Same architecture" in page
    assert elements(page, "svg", role="img")
    answer = online.post("/jobs", data=form_of(page, "build"))
    assert answer.status_code == 303
    job = store.get(answer.headers["location"].removeprefix("/jobs/"))
    assert job is not None
    recipe = read_recipe(job.recipe).recipe
    assert recipe is not None
    assert (recipe.merge_method, recipe.name, len(recipe.models)) == ("ties", "Two crafts", 2)
    assert recipe.models[0].parameters["weight"][0].value == (0.25, 0.75)


def test_a_double_click_is_one_job_and_an_edit_another(online: TestClient, store: Store) -> None:
    fields = {"recipe": LINEAR, "key": "k" * 24}
    places = {online.post("/jobs", data=fields).headers["location"] for _ in range(2)}
    assert len(places) == 1
    edited = online.post("/jobs", data=fields | {"recipe": LINEAR.replace("code", "prose")})
    assert edited.headers["location"] not in places
    assert len(store.list()) == 2


def test_parents_need_not_be_stored(online: TestClient, store: Store) -> None:
    page = online.get("/").text
    (switch,) = [element for element in elements(page, "input") if element.attributes.get("name") == "stream"]
    assert "checked" not in switch.attributes
    fields = {"recipe": LINEAR, "key": "k" * 24}
    for more, params in (({"stream": "yes"}, {"stream": True}), ({}, {})):
        place = online.post("/jobs", data=fields | more).headers["location"]
        job = store.get(place.removeprefix("/jobs/"))
        assert job is not None
        assert job.params == params


def test_a_refused_merge_comes_back_with_everything_in_place(online: TestClient, store: Store) -> None:
    text = "merge_method: slerp\nbase_model: loom/base\n"
    text += "models: [{model: loom/base}, {model: loom/nobody}]\nparameters: {t: 0.3}\n"
    answer = online.post("/jobs", data={"recipe": text, "key": "k"})
    assert answer.status_code == 422
    assert "loom/nobody" in one(answer.text, "div", id="refusal").text
    fields = form_of(answer.text, "build")
    assert fields["recipe"].strip() == text.strip()
    assert fields["shared.t"] == "0.3"
    assert store.list() == []


@pytest.mark.parametrize("text", ["", "merge_method: linear\n", "nonsense: ["])
def test_merging_nothing_is_refused_in_words(client: TestClient, text: str) -> None:
    answer = client.post("/jobs", data={"recipe": text})
    assert answer.status_code == 422
    assert one(answer.text, "div", id="refusal").text.strip()


def test_a_field_out_of_range_stops_the_merge(online: TestClient, store: Store) -> None:
    text = "merge_method: ties\nbase_model: loom/base\nmodels:\n  - {model: loom/code, parameters: {weight: 1}}\n"
    answer = online.post("/jobs", data={"recipe": text, "parent.1.density": "7"})
    assert answer.status_code == 422
    assert "between 0 and 1" in answer.text
    assert store.list() == []


def test_an_edit_keeps_focus_and_a_button_renews_the_fields(client: TestClient) -> None:
    edited = client.post("/build", data={"recipe": LINEAR, "parent.0.weight": "0.5"}, headers=LIVE)
    swaps = targets(edited.text)
    assert swaps["#parents"] == swaps["#method"] == "innerMorph"
    assert "#blend" not in swaps
    assert "weight: 0.5" in edited.text
    assert one(edited.text, "div", id="check-now").attributes["hx-post"] == "/build/check"
    pressed = client.post("/build", data={"recipe": LINEAR, "action": "add", "add": "a/b"}, headers=LIVE)
    assert targets(pressed.text)["#parents"] == "innerHTML"
    assert "Model added." in pressed.text


def test_edits_are_answered_without_looking_at_any_model(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("typing must not wait for the Hub")

    monkeypatch.setattr("app.library.facts.Library.facts", never)
    assert client.post("/build", data={"recipe": LINEAR, "name": "x"}, headers=LIVE).status_code == 200
    assert client.get("/", params={"preset": "chat-and-code"}).status_code == 200


def test_the_second_request_brings_findings_costs_loom_and_facts(online: TestClient) -> None:
    text = LINEAR + "  - {model: loom/prose, parameters: {weight: [0, 1]}}\n"
    answer = online.post("/build/check", data={"recipe": text}, headers=LIVE).text
    assert set(targets(answer)) == {
        "#findings",
        "#estimate",
        "#blend",
        "#stack-facts",
        "#modules",
        "#facts-0",
        "#facts-1",
    }
    assert "Same architecture" in answer
    assert "to download" in answer
    assert "bf16 · 4 layers" in answer
    curve = [path.attributes["d"] for path in elements(answer, "path", **{"class": "line t-B"})]
    assert len(curve) == 1
    assert re.fullmatch(r"M0\.0 87\.5L1000\.0 42\.5", curve[0])


def test_the_loom_shows_what_the_weights_say(online: TestClient) -> None:
    text = LINEAR + "  - {model: loom/prose, parameters: {weight: 3}}\n"
    answer = online.post("/build/check", data={"recipe": text}, headers=LIVE).text
    cells = {cell.text for cell in elements(answer, "td")}
    assert cells == {"A 25, B 75 %", "1", "3"}


def test_a_missing_model_is_a_finding_not_a_crash(online: TestClient) -> None:
    answer = online.post("/build/check", data={"recipe": LINEAR.replace("code", "gone")}, headers=LIVE)
    assert answer.status_code == 200
    assert "loom/gone" in answer.text


def test_an_accepted_merge_sends_htmx_to_the_job(online: TestClient) -> None:
    answer = online.post("/jobs", data={"recipe": LINEAR, "key": "k"}, headers=LIVE)
    assert answer.status_code == 200
    assert re.fullmatch(r"/jobs/[0-9a-f]{32}", answer.headers["hx-redirect"])
    refused = online.post("/jobs", data={"recipe": LINEAR.replace("code", "gone")}, headers=LIVE)
    assert refused.status_code == 422
    assert "#refusal" in targets(refused.text)


def test_a_ready_recipe_and_a_job_open_in_the_builder(online: TestClient) -> None:
    page = online.get("/", params={"preset": "base-and-instruct"}).text
    assert "slerp" in form_of(page, "build")["recipe"]
    place = online.post("/jobs", data={"recipe": LINEAR, "key": "k"}).headers["location"]
    page = online.get("/", params={"job": place.removeprefix("/jobs/")}).text
    assert form_of(page, "build")["recipe"].strip() == LINEAR.strip()
    for wrong in ({"preset": "nope"}, {"job": "0" * 32}):
        assert online.get("/", params=wrong).status_code == 404


def test_a_model_from_the_list_starts_a_recipe(online: TestClient) -> None:
    answer = online.post("/build", data={"action": "add", "add": "local:shelf/one"})
    assert "local:shelf/one" in form_of(answer.text, "build")["recipe"]


@pytest.mark.parametrize("method", ["slerp", "passthrough", "model_stock", "karcher", "ram"])
def test_every_kind_of_method_makes_a_page(online: TestClient, method: str) -> None:
    page = press(online, online.get("/").text, method=method, action="apply")
    page = press(online, page, action="add", add="a/one")
    assert f"merge_method: {method}" in form_of(page, "build")["recipe"]
    chosen = [option.attributes["value"] for option in elements(page, "option") if "selected" in option.attributes]
    assert chosen[0] == method


def test_a_finding_offers_its_fix_and_a_click_makes_it(client: TestClient) -> None:
    text = "merge_method: liner\nmodels: [{model: a/one, parameters: {weight: 0.5}}]\n"
    page = client.post("/build", data={"action": "import", "recipe": text}).text
    (button,) = [one for one in elements(page, "button") if one.attributes.get("value", "").startswith("fix:")]
    assert button.text == "Use Linear (LERP)"
    fixed = client.post("/build", data=form_of(page, "build") | {"action": button.attributes["value"]}).text
    assert "merge_method: linear" in form_of(fixed, "build")["recipe"]
    pressed = form_of(page, "build") | {"action": button.attributes["value"]}
    live = client.post("/build", data=pressed, headers={"HX-Request-Type": "partial"})
    assert "Done." in live.text
    odd = client.post("/build", data=form_of(page, "build") | {"action": "fix:[]]"}).text
    assert "no longer fits" in odd


def test_the_switch_for_storing_nothing_stays_on_in_every_form(online: TestClient) -> None:
    page = online.post("/build", data={"recipe": LINEAR, "action": "import"}).text
    assert "stream" not in form_of(page, "build")
    page = press(online, page, stream="yes", action="apply")
    assert form_of(page, "build")["stream"] == "yes"
    page = press(online, page, action="add", add="loom/prose")
    assert form_of(page, "build")["stream"] == "yes"
    assert form_of(press(online, page, action="remove:1"), "build")["stream"] == "yes"

    bring = form_of(page, "import") | {"recipe": LINEAR, "published": ""}
    brought = online.post("/build/import", data=bring).headers["location"]
    assert form_of(online.get(brought).text, "build")["stream"] == "yes"
    refused = online.post("/build/import", data=bring | {"published": "no/such"})
    assert form_of(refused.text, "build")["stream"] == "yes"

    guide = online.post("/guide", data=form_of(page, "build")).text
    answers = form_of(guide, "questions") | {"have": "two", "base": "shared", "want": "combine"}
    answered = online.post("/guide", data=answers).text
    assert len(elements(answered, "input", name="stream")) == len(elements(answered, "textarea", name="recipe")) > 2
