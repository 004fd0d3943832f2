"""``/compare`` over HTTP, without a script."""

from __future__ import annotations

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

from app.comparing.suggestions import suggest
from app.db import Sessions
from app.jobs.store import Store
from app.recipe.findings import Finding
from app.recipe.reading import read_recipe
from app.settings import ROOT, Settings
from app.web.pages.compare_form import costs, from_models
from app.web.pages.comparison_view import comparison_page
from tests.comparing.made import LAYERS, comparison
from tests.web.comparisons import failed_comparison, finished_comparison, waiting_comparison
from tests.web.pages.html import elements, form_of, one

TIES = """merge_method: ties
base_model: loom/base
models:
- {model: loom/code, parameters: {weight: 0.5, density: 0.5}}
- {model: loom/prose, parameters: {weight: 0.5, density: 0.5}}
"""


def press(client: TestClient, page: str, status: int = 200, **fields: str) -> str:
    answer = client.post("/compare", data=form_of(page, "compare") | fields)
    assert answer.status_code == status
    return answer.text


def names(page: str) -> list[str]:
    return [
        field.attributes["value"]
        for field in elements(page, "input")
        if field.attributes.get("name", "")[:6] == "model."
    ]


def test_choosing_models_and_comparing_them(online: TestClient, store: Store) -> None:
    page = online.get("/compare").text
    assert not elements(page, "button", value="compare")
    for name in ("loom/code", "loom/prose", "local:shelf/one", "loom/base"):
        page = press(online, page, action="add", add=name)
        assert "autofocus" in one(page, "input", id="add-model").attributes
    page = press(online, page, action="remove:2")
    assert "autofocus" not in one(page, "input", id="add-model").attributes
    page = press(online, page, action="add", base="2")
    assert names(page) == ["loom/code", "loom/prose", "loom/base"]
    assert form_of(page, "compare")["base"] == "2"
    assert [one.text for one in elements(page, "strong") if len(one.text) < 5] == ["A", "B", "base"]
    cost = one(page, "div", id="cost").attributes["hx-get"]
    told = online.get(unescape(cost)).text
    assert "a sample reads" in told
    without_script = press(online, page, action="cost", recipe=TIES, top="10 %")
    assert "a sample reads" in without_script
    assert names(without_script) == names(page)
    assert (form_of(without_script, "compare")["recipe"], form_of(without_script, "compare")["top"]) == (TIES, "10 %")
    answer = online.post("/compare", data=form_of(page, "compare") | {"action": "compare", "top": "10 %"})
    assert answer.status_code == 303
    job = store.get(answer.headers["location"].removeprefix("/compare/"))
    assert job is not None
    assert (job.kind, job.params["full"], job.params["top"]) == ("compare", False, 0.1)
    assert [parent.partition("@")[0] for parent in job.parents] == ["loom/code", "loom/prose", "loom/base"]
    assert (
        online.post("/compare", data=form_of(page, "compare") | {"action": "compare", "top": "10 %"}).headers[
            "location"
        ]
        == answer.headers["location"]
    )


def test_what_is_refused_comes_back_with_everything_in_place(online: TestClient, store: Store) -> None:
    page = online.get("/compare?model=loom/code&base=loom/base").text
    assert names(page) == ["loom/base", "loom/code"]
    page = press(online, page, 422, action="add", add="not a model")
    assert one(page, "input", id="add-model").attributes["value"] == "not a model"
    page = press(online, page, 422, action="add", add="loom/code")
    assert "is there already" in page
    page = press(online, page, 422, action="compare", top="500")
    assert "between 0 and 1" in page
    assert names(page) == ["loom/base", "loom/code"]
    gone = online.get("/compare?model=loom/code&model=loom/nobody").text
    assert "loom/nobody" in online.get(unescape(one(gone, "div", id="cost").attributes["hx-get"])).text
    assert "loom/nobody" in press(online, gone, 422, action="compare")
    assert store.list() == []


def test_the_builder_hands_its_parents_over(online: TestClient, store: Store) -> None:
    builder = online.post("/build", data={"recipe": TIES, "action": "import"}).text
    button = one(builder, "button", formaction="/compare/parents")
    assert button.attributes["value"] != ""
    page = online.post("/compare/parents", data=form_of(builder, "build")).text
    assert names(page) == ["loom/base", "loom/code", "loom/prose"]
    assert form_of(page, "compare")["base"] == "0"
    answer = online.post("/compare", data=form_of(page, "compare") | {"action": "compare"})
    job = store.get(answer.headers["location"].removeprefix("/compare/"))
    assert job is not None
    assert read_recipe(job.recipe).recipe == read_recipe(TIES).recipe


def test_while_it_is_under_way_and_when_it_failed(client: TestClient, database: Sessions) -> None:
    waiting = waiting_comparison(database)
    page = client.get(f"/compare/{waiting.id}").text
    assert "Waiting" in one(page, "div", id="comparing").text
    assert f"/compare/{waiting.id}/progress" in page
    assert client.get(f"/compare/{waiting.id}/progress").status_code == 200
    failed = failed_comparison(database, Finding("error", "gone", "", "A model is gone.", "Choose another."))
    page = client.get(f"/compare/{failed.id}").text
    assert "A model is gone." in page
    assert f"/compare/{failed.id}/progress" not in page
    assert one(page, "form", action=f"/jobs/{failed.id}/retry")


def test_all_of_comparing_stands_under_models(client: TestClient, database: Sessions, settings: Settings) -> None:
    waiting, done = waiting_comparison(database), finished_comparison(database, settings, comparison())
    for address in ("/compare", f"/compare/{waiting.id}", f"/compare/{done.id}"):
        (here,) = elements(client.get(address).text, "a", **{"aria-current": "page"})
        assert here.text == "Models"


def test_heat_maps_and_their_table(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_comparison(database, settings, comparison(norms=(0.01, 0.05, 0.02)))
    listed = client.get("/jobs").text
    assert one(listed, "a", href=f"/compare/{job.id}").text == job.title
    assert "Open the heat maps" in client.get(f"/jobs/{job.id}").text
    assert client.get(f"/compare/{job.id}/progress").headers["hx-redirect"] == f"/compare/{job.id}"
    page = client.get(f"/compare/{job.id}").text
    shown = [link.text for link in elements(page, "a") if link.attributes.get("aria-current") == "true"]
    assert shown == ["Opposite signs", "All together"]
    titles = [title.text for title in elements(page, "title")[1:]]
    assert len(titles) == 2 * LAYERS
    assert titles[0] == f"layer {LAYERS - 1}, q: 20 %"
    numbers = [link for link in elements(page, "a") if link.attributes.get("aria-label", "").startswith("layer ")]
    assert len(numbers) == 2 * LAYERS
    assert all(link.attributes.get("tabindex") != "-1" for link in numbers)
    pair = next(link for link in elements(page, "a") if link.text == "B – C").attributes["href"]
    assert "of=B-C" in client.get(unescape(pair)).text


def test_the_same_models_can_be_compared_again(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_comparison(database, settings, comparison())
    page = client.get(f"/compare/{job.id}").text
    again = next(link for link in elements(page, "a") if link.text == "Compare again").attributes["href"]
    form = client.get(unescape(again)).text
    assert [one(form, "input", name=f"model.{index}").attributes["value"] for index in range(3)] == [
        "a/base", "a/A", "a/B",
    ]  # fmt: skip


@pytest.mark.parametrize(("norms", "told"), [((0.01, 0.01), False), ((0.0, 0.0), True)])
def test_cells_without_a_number_are_explained(
    client: TestClient, database: Sessions, settings: Settings, norms: tuple[float, float], told: bool
) -> None:
    job = finished_comparison(database, settings, comparison(norms=norms))
    assert ("Dotted cells have no number" in client.get(f"/compare/{job.id}").text) is told


def test_what_a_base_would_add_is_said(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_comparison(database, settings, comparison(base=None))
    assert "No base was named" in client.get(f"/compare/{job.id}").text


def test_a_cell_shows_its_tensors(client: TestClient, database: Sessions, settings: Settings) -> None:
    job = finished_comparison(database, settings, comparison(norms=(0.01, 0.05)))
    address = f"/compare/{job.id}?measure=delta_norm&of=B&at=3.up"
    page = client.get(address).text
    cell = one(page, "section", id="cell")
    assert "Layer 3, up" in cell.text
    assert "model.layers.3.mlp.up_proj.weight" in cell.text
    assert "measureABA – B" in cell.text
    assert "Size of the change1.0 %5.0 %" in cell.text
    for at in ("99.up", "3.nothing", "<script>", "-.embeddings"):
        assert client.get(f"/compare/{job.id}", params={"at": at}).status_code == 200


def test_a_suggestion_opens_the_builder_with_the_changed_recipe(
    online: TestClient, database: Sessions, with_hub: Settings
) -> None:
    told = comparison(norms=(0.01, 0.05))
    recipe = TIES.replace("loom/code", "a/A").replace("loom/prose", "a/B")
    job = finished_comparison(database, with_hub, told, recipe)
    page = online.get(f"/compare/{job.id}").text
    assert "diagnostics, not a score" in page
    (changed,) = [field.text for field in elements(page, "textarea", name="recipe")]
    assert "0.1" in changed
    builder = online.post("/build", data={"recipe": changed, "action": "import"}).text
    assert form_of(builder, "build")["parent.2.weight"] == "0.1"


def test_calm_numbers_say_so(client: TestClient, database: Sessions, settings: Settings) -> None:
    assert suggest(comparison()) == ()
    job = finished_comparison(database, settings, comparison())
    assert "Nothing in these numbers calls for a change." in client.get(f"/compare/{job.id}").text


def test_the_colours_of_the_file_and_of_the_page_have_the_same_steps() -> None:
    classes = set(re.findall(r"^\.([hd]\d) \{ --heat", (ROOT / "static/css/compare.css").read_text(), re.MULTILINE))
    assert classes == {f"h{number}" for number in range(10)} | {f"d{number}" for number in range(9)}


@pytest.mark.parametrize("layers", [3, 100])
def test_however_deep_the_page_stays_light(database: Sessions, layers: int) -> None:
    """A row a layer, numbers in the cells only where they can be read."""
    told = comparison(layers=layers)
    view = comparison_page(waiting_comparison(database), told, ())
    rows = view.picture.rows
    assert [row.label for row in rows] == [str(layer) for layer in reversed(range(layers))]
    assert all(bool(cell.text) == (layers == 3) for row in rows for cell in row.cells)
    assert view.picture.height < 1000


def test_how_far_apart_the_parents_are_is_told_before_the_merge(online: TestClient) -> None:
    recipe = "merge_method: ties\nbase_model: loom/base\nmodels:\n"
    recipe += "".join(
        f"- {{model: loom/{one}, parameters: {{weight: 1, density: 0.5}}}}\n" for one in ("code", "prose")
    )
    told = online.post("/api/recipes/check", content=TIES).json()["findings"]
    assert [one["code"] for one in told if one["code"] == "close-kin"], told
    live = {"HX-Request": "true", "HX-Request-Type": "partial"}
    page = online.post("/build/check", data={"recipe": TIES}, headers=live).text
    assert 'title="loom/code">A</abbr> differs from <abbr class="t-base" title="loom/base">the base</abbr> by' in page
    assert "measuring" not in page


def test_the_time_for_fetching_rests_on_what_this_server_has_measured(online: TestClient) -> None:
    library = online.app.state.services.library  # type: ignore[attr-defined]
    form = from_models(["loom/code", "loom/prose"], "loom/base")
    slow, fast = (costs(form, library, rate) for rate in (1e3, 1e9))
    assert slow.full is not None
    assert slow.full.download_bytes > 0
    told = slow.full_seconds - fast.full_seconds
    assert told == pytest.approx(slow.full.download_bytes * (1e-3 - 1e-9))
