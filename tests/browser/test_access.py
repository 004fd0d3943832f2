"""Every page, wide and narrow, each in light and dark: no accessibility violation, nothing wider than the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from app.recipe.identity import share_token
from app.recipe.reading import read_recipe
from tests.browser.conftest import Running, finished, shot

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # a test for nineteen pages

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""All that can change with the colours of a page, which is all that dark mode changes."""
SIZES = {"wide": (1440, 1000), "phone": (360, 780)}
COMPLETE = """() => new Promise((done) => {
  const open = ".htmx-request, [data-script]:not(:defined, [data-awaits], [data-later], [role=tabpanel][hidden] *)";
  let calm = 0;
  const look = () => {
    calm = document.querySelector(open) ? 0 : calm + 1;
    if (calm > 5) done(true);
    else requestAnimationFrame(look);
  };
  look();
})"""
"""For some frames nothing has been asked of the server, and every element that shows has its script."""
RECIPE = """
merge_method: ties
base_model: weavers/tiny-base
models:
- model: weavers/tiny-chat
  parameters: {weight: [0.2, 0.8, 0.4], density: 0.6}
- model: weavers/tiny-code
  parameters: {weight: 0.5, density: 0.5}
dtype: bfloat16
"""
MIXTURE = (
    "/mixtures?base=weavers/tiny-base&expert=weavers/tiny-chat&positive=Tell+me&negative=def+f()"
    "&expert=weavers/tiny-code&positive=import+os"
)


@pytest.fixture(scope="module")
def pages(app: Running) -> dict[str, str]:
    """The addresses of all pages, with a finished job and a shared recipe among them."""
    headers = {"Origin": app.url}
    job = httpx2.post(f"{app.url}/api/jobs", json={"recipe": RECIPE, "seed": 0}, timeout=60).json()["id"]
    finished(app, job)
    shared = httpx2.post(f"{app.url}/recipes/share", data={"recipe": RECIPE}, headers=headers).headers["location"]
    misspelt = {"recipe": RECIPE.replace("ties", "tise"), "fork": shared.removeprefix("/r/")}
    draft = httpx2.post(f"{app.url}/drafts", data=misspelt, headers=headers).headers["location"]
    recipe = read_recipe(RECIPE).recipe
    assert recipe is not None
    return {
        "build": "/",
        "build-recipe": f"/?shared={shared.removeprefix('/r/')}",
        "jobs": "/jobs",
        "job": f"/jobs/{job}",
        "models": "/models",
        "compare": "/compare?model=weavers/tiny-chat&model=weavers/tiny-code&base=weavers/tiny-base",
        "adapters": "/adapters?adapter=local:adapters/python&adapter=local:adapters/scripture&method=ties",
        "extract": "/adapters/extract?tuned=weavers/tiny-chat&base=weavers/tiny-base",
        "mixtures": MIXTURE,
        "model": "/models/view?ref=weavers/tiny-base",
        "recipes": "/recipes",
        "shared": shared,
        "shared-in-its-link": f"/r#{share_token(recipe)}",
        "draft-misspelt": draft,
        "api": "/api",
        "methods": "/methods",
        "limits": "/limits",
        "guide": "/guide?have=two&base=shared&want=combine",
        "styleguide": "/styleguide",
        "error": "/no-such-page",
    }


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def view(browser: Browser, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", bypass_csp=True)
    yield context.new_page()
    context.close()


def test_every_page(view: Page, app: Running, pages: dict[str, str], size: str) -> None:
    found: dict[str, list[str]] = {}
    for name, address in pages.items():
        view.goto(app.url + address)
        view.wait_for_function(COMPLETE)
        view.evaluate(AXE)
        for scheme, rules in (("light", RULES), ("dark", OF_COLOURS)):
            view.emulate_media(color_scheme=scheme)
            shot(view, f"{name}-{scheme}-{size}", full=True)
            if wrong := _wrong(view, rules):
                found[f"{name} in {scheme}"] = wrong
    assert not found, json.dumps(found, indent=1)


def _wrong(view: Page, rules: list[str]) -> list[str]:
    report: dict[str, Any] = view.evaluate(f"axe.run({{runOnly: {json.dumps(rules)}}})")
    wrong = [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in report["violations"]]
    wider = view.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [*wrong, f"{wider} px wider than the screen"] if wider > 0 else wrong


def test_high_contrast_and_paper_keep_what_backgrounds_tell(browser: Browser, app: Running) -> None:
    with browser.new_context(forced_colors="active") as context:
        page = context.new_page()
        page.goto(app.url)
        plain = "rgba(0, 0, 0, 0)"
        drawn = "element => getComputedStyle(element).backgroundColor"
        assert page.locator(".switch").first.evaluate(drawn) not in (plain, page.locator("body").evaluate(drawn))
        expect(page.locator("#tab-blend")).to_have_css("text-decoration-line", "underline")
        expect(page.locator("#tab-stack")).to_have_css("text-decoration-line", "none")
    with browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"{app.url}/methods")
        page.emulate_media(media="print", color_scheme="dark")
        expect(page.locator(".masthead")).to_be_hidden()
        expect(page.locator("html")).to_have_css("color-scheme", "light")
