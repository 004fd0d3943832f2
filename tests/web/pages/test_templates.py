"""Every template file: it parses, holds no inline code, and is rendered with real data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jinja2 import FileSystemLoader
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.events import Event
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.main import create_app
from app.recipe.identity import share_token
from app.recipe.reading import read_recipe
from app.settings import ROOT, Settings
from app.web.pages.jobs import event_renderer
from tests.comparing.made import comparison
from tests.web.artifacts import finished_job
from tests.web.comparisons import finished_comparison, waiting_comparison
from tests.web.conftest import browser
from tests.web.pages.html import elements, executable, form_of

TEMPLATES = ROOT / "templates"
FILES = sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html"))
LIVE = {"HX-Request": "true", "HX-Request-Type": "partial"}
RECIPE = """
merge_method: slerp
base_model: loom/base
models: [{model: loom/base}, {model: loom/code}]
parameters: {t: 0.3}
"""
MIXTURE = """base_model: loom/base
experts:
- {source_model: loom/base, positive_prompts: [a]}
- {source_model: loom/code, positive_prompts: [b]}
"""
STACK = "merge_method: passthrough\nslices:\n  - sources: [{model: loom/base, layer_range: [0, 2]}]\n"
FORBIDDEN = {
    "an inline style": r"\sstyle\s*=|<style\b",
    "an inline script": r"<script\b(?![^>]*\bsrc=)",
    "an event attribute": r"\son[a-z]+=|\bhx-on\b",
    "an expression for htmx": r"[\"']\s*js:|hx-live|hx-vals|hx-trigger=\"[^\"]*\[",
    "a value that is not escaped": r"\|\s*safe\b|autoescape",
    "another site": r"(?:src|href|action)=\"https?://",
}


class Recorder(FileSystemLoader):
    """Remembers which files were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: set[str] = set()

    def get_source(self, environment, template):  # type: ignore[no-untyped-def]
        self.seen.add(template)
        return super().get_source(environment, template)


@pytest.mark.parametrize("name", FILES)
def test_a_template_holds_nothing_the_browser_must_not_run(name: str) -> None:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for what, pattern in FORBIDDEN.items():
        assert not re.search(pattern, text), f"{what} in {name}"


def test_every_template_is_rendered_and_every_page_is_whole(
    with_hub: Settings, store: Store, database: Sessions
) -> None:
    done = finished_job(database, with_hub, {"model.safetensors": b"x"})
    store.submit(NewJob("upload", title="a/b", params={"repo": "a/b", "private": True}, source_job=done.id))
    waiting_comparison(database)
    compared = finished_comparison(database, with_hub, comparison(norms=(0.01, 0.05)))
    app = create_app(with_hub)
    recorder = app.state.templates.environment.loader = Recorder(TEMPLATES)
    with browser(app) as client:
        for page in [*pages(client, store), *compare_pages(client, store, compared), *mixture_pages(client)]:
            assert executable(page) == []
            if page.startswith("<!doctype"):
                assert elements(page, "title")[0].text.strip()
                assert len(elements(page, "h1")) == 1
                assert len(elements(page, "main", id="main")) == 1
                ids = [one.attributes["id"] for one in elements(page) if "id" in one.attributes]
                assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    assert sorted(recorder.seen) == FILES


def pages(client: TestClient, store: Store) -> list[str]:
    """What the application answers, over all its pages and fragments."""
    job = client.post("/jobs", data={"recipe": RECIPE, "key": "k"}).headers["location"]
    shared = client.post("/recipes/share", data={"recipe": RECIPE}).headers["location"]
    found = [
        client.get(place).text
        for place in (
            "/", "/?preset=self-stack", "/jobs", "/models", "/models?q=loom", "/models/suggest?q=loom",
            "/models/view?ref=loom/code", "/recipes", "/workers", "/styleguide", "/api", "/methods", "/limits",
            "/guide", "/guide?have=two&base=shared&want=combine", "/nowhere", job, f"{job}/loom",
            f"{job}/progress", f"{job}/outcome", shared, *(f"/jobs/{one.id}" for one in store.list()),
        )
    ]  # fmt: skip
    found += [client.post("/build", data={"recipe": recipe}).text for recipe in ("", RECIPE, STACK, "models: [")]
    found.append(client.post("/guide", data={"recipe": RECIPE, "stream": "yes"}).text)
    found += [
        client.post(place, data={"recipe": recipe, **more}, headers=LIVE).text
        for place in ("/build", "/build/check", "/build/measured", "/jobs")
        for recipe in (RECIPE.replace("code", "gone"), "models: [")
        for more in ({}, {"action": "add", "add": "a/b"})
    ]
    found += [client.get("/nowhere", headers=LIVE).text, client.get("/jobs", headers=LIVE).text]
    found += sharing_pages(client)
    row = store.get(job.removeprefix("/jobs/"))
    assert row is not None
    found.append(event_renderer(client.app)(Event("log", {"text": "x", "at": 1.0}, 1), row))  # type: ignore[arg-type]
    return found


def sharing_pages(client: TestClient) -> list[str]:
    """A link that carries its recipe, lineage, a fork, two tabs with one draft, and an import that fails."""
    recipe = read_recipe(RECIPE).recipe
    assert recipe is not None
    origin = client.post("/recipes/share", data={"recipe": RECIPE}).headers["location"].removeprefix("/r/")
    fork = client.post("/recipes/share", data={"recipe": RECIPE.replace("0.3", "0.4"), "fork": origin})
    first = form_of(client.post("/build", data={"recipe": RECIPE, "action": "import"}).text, "build")
    second = form_of(client.get("/", params={"draft": first["draft"]}).text, "build")
    client.post("/build", data=second | {"name": "other"}, headers=LIVE)
    return [
        client.get("/r").text,
        client.post("/r", data={"token": share_token(recipe)}).text,
        client.get(fork.headers["location"]).text,
        client.post("/recipes/family", data={"recipe": RECIPE}).text,
        client.post("/drafts/news", data=first, headers=LIVE).text,
        client.post("/build", data=first | {"name": "mine"}, headers=LIVE).text,
        client.post("/build/import", data={"published": "x"}, headers=LIVE).text,
        client.get("/recipes").text,
    ]


def compare_pages(client: TestClient, store: Store, compared: Job) -> list[str]:
    """The pages of comparisons: the form, one that waits, one that is done."""
    asked = "model=loom/code&base=loom/base"
    found = [
        client.get(place).text
        for place in (
            "/adapters", "/adapters/check?adapter=loom/none", "/adapters?adapter=loom/none&action=check",
            "/adapters/extract?tuned=loom/code", "/adapters/extract/check?tuned=loom/code&base=loom/base",
            "/compare", f"/compare?{asked}", f"/compare/cost?{asked}", "/compare/cost",
            f"/compare/{compared.id}?at=0.up", *(f"/compare/{one.id}" for one in store.list(kind="compare")),
        )
    ]  # fmt: skip
    found.append(client.post("/compare/parents", data={"recipe": RECIPE}).text)
    return [*found, client.post("/compare", data={"action": "add", "add": "not a model"}).text]


def mixture_pages(client: TestClient) -> list[str]:
    """The form of mixtures, empty, filled in, with a recipe too long for a link; and the page of a job."""
    brought = client.post("/mixtures", data={"action": "import", "yaml": MIXTURE}).headers["location"]
    long = MIXTURE.replace("[a]", f"[{'a' * 9000}]")
    fields = form_of(client.get(brought).text, "mixture") | {"action": "import", "yaml": long}
    answers = [
        client.get("/mixtures"),
        client.get(f"{brought}&action=check"),
        client.post("/mixtures", data=fields),
        client.post("/build/import", data={"recipe": long}, headers=LIVE),
        client.get(client.post("/api/mixtures", json=yaml.safe_load(MIXTURE)).json()["url"]),
    ]
    return [answer.text for answer in answers]
