"""Every page in light and dark, wide and narrow: no accessibility violation, nothing wider than the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page

from app.recipe.identity import share_token
from app.recipe.reading import read_recipe
from tests.browser.conftest import Running, shot

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"wide": (1440, 1000), "phone": (360, 780)}
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


@pytest.fixture(scope="module")
def pages(app: Running) -> dict[str, str]:
    """The addresses of all pages, with a finished job and a shared recipe among them."""
    headers = {"Origin": app.url}
    job = httpx2.post(f"{app.url}/api/jobs", json={"recipe": RECIPE, "seed": 0}, timeout=60).json()["id"]
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


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def view(browser: Browser, scheme: str, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def test_every_page(view: Page, app: Running, pages: dict[str, str], scheme: str, size: str) -> None:
    found: dict[str, Any] = {}
    for name, address in pages.items():
        view.goto(app.url + address)
        view.wait_for_load_state("networkidle") if name != "job" else view.wait_for_load_state("load")
        shot(view, f"{name}-{scheme}-{size}", full=True)
        wider = view.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        view.evaluate(AXE)
        report = view.evaluate(f"axe.run({{runOnly: {json.dumps(RULES)}}})")
        wrong = [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in report["violations"]]
        if wider > 0:
            wrong.append(f"{wider} px wider than the screen")
        if wrong:
            found[name] = wrong
    assert not found, json.dumps(found, indent=1)
