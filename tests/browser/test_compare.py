"""Comparing the three real models as a user does: from the builder's parents to heat maps, numbers and a suggestion."""

from __future__ import annotations

import csv
import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Running, arrived, shot
from tests.browser.test_access import AXE, RULES

pytestmark = [pytest.mark.browser, pytest.mark.real]

RECIPE = """
merge_method: task_arithmetic
base_model: local:models/base
models:
- model: local:models/python
  parameters: {weight: 0.7}
- model: local:models/scripture
  parameters: {weight: 0.7}
dtype: bfloat16
"""


def percent(text: str) -> float:
    return float(text.removesuffix("%").strip())


def test_the_parents_compared(page: Page, app: Running, browser: Browser) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(RECIPE)
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#findings")).to_contain_text(
        re.compile(r"A differs from the base by 0\.\d+ % of its size .*: fine-tunes of it")
    )
    page.get_by_role("button", name="Compare weights").click()
    expect(page.locator(".compare-models")).to_contain_text("local:models/scripture")
    expect(page.locator("#cost")).to_contain_text("a sample reads, all of it on this machine")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="python and scripture against base")).to_be_visible()
    expect(page.get_by_role("navigation", name="Measure")).to_be_visible(timeout=60_000)
    address = page.url
    _numbers_make_sense(page)
    _a_cell_has_its_tensors(page)
    _csv_holds_every_tensor(page)
    for scheme, name, width in (("light", "wide", 1280), ("dark", "phone", 390)):
        _look(browser, address, scheme, name, width)
    page.goto(address)
    page.get_by_role("button", name="Use TIES").click()
    expect(page.locator("#method-select")).to_have_value("ties")
    expect(page.locator("textarea[name=recipe]").first).to_have_value(re.compile("density: 0.5"))


def _numbers_make_sense(page: Page) -> None:
    """Two light fine-tunes of one base whose changes have little to do with each other."""
    overall = page.locator(".overall .big")
    assert 20 < percent(overall.inner_text()) < 50
    page.get_by_role("link", name="Cosine of the changes").click()
    arrived(page, "measure=cosine_deltas")
    assert abs(float(overall.inner_text().replace("−", "-"))) < 0.2
    page.get_by_role("link", name="Size of the change", exact=True).click()
    arrived(page, "measure=delta_norm")
    assert 0.1 < percent(overall.inner_text()) < 3
    page.get_by_role("link", name="Cosine of the weights").click()
    arrived(page, "measure=cosine_weights")
    assert 0.999 < float(overall.inner_text()) < 1


def _a_cell_has_its_tensors(page: Page) -> None:
    """By the pointer in the picture, by the keyboard in the table."""
    page.get_by_role("link", name="Opposite signs").click()
    arrived(page, "measure=sign_conflict")
    page.locator('.heat a[href*="at=12.up"]').click()
    expect(page.locator("#cell")).to_contain_text("model.layers.12.mlp.up_proj.weight")
    page.locator("summary", has_text="The same in numbers").press("Enter")
    link = page.get_by_role("link", name=re.compile(r"^layer 20, q: \d+ %$"))
    link.press("Enter")
    expect(page.locator("#cell h2")).to_have_text("Layer 20, q")


def _csv_holds_every_tensor(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert len({row["tensor"] for row in rows}) == 272
    with page.expect_download() as download:
        page.get_by_role("link", name="SVG").click()
    assert download.value.path().read_text().startswith("<svg")


def _look(browser: Browser, address: str, scheme: str, name: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{address}?measure=cosine_deltas&at=12.up")
    page.locator("summary", has_text="The same in numbers").click()
    shot(page, f"comparison-{scheme}-{name}", full=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.evaluate(AXE)
    report = page.evaluate(f"axe.run({{runOnly: {json.dumps(RULES)}}})")
    wrong = [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in report["violations"]]
    context.close()
    assert not wrong, wrong
