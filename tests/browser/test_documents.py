"""A recipe of several documents in the builder: each in the same form, all told and merged together."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Running, shot
from tests.browser.test_stack import wrong, yaml

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]
TWO = """\
name: crafts
merge_method: linear
models:
  - {model: local:models/python, parameters: {weight: [0.3, 0.8]}}
  - {model: local:models/scripture, parameters: {weight: 0.4}}
---
merge_method: slerp
base_model: local:models/base
models:
  - model: local:models/base
  - model: crafts
parameters: {t: 0.4}
dtype: bfloat16
tokenizer: {source: base}
"""


def open_recipe(page: Page, app: Running, text: str) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(text)
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#estimate .tile").first).to_be_visible(timeout=60_000)


def test_a_document_is_opened_edited_and_merged_further(page: Page, app: Running) -> None:
    open_recipe(page, app, TWO.replace("name: crafts", "name: crafts\nrandom_seed: 3"))
    page.locator("#findings").get_by_role("button", name="Remove it").click()
    expect(yaml(page)).not_to_contain_text("random_seed")
    strip = page.get_by_role("region", name="The merges of this recipe")
    expect(strip.locator("[aria-current]")).to_have_text("2 result")
    expect(page.locator("#facts-1")).to_have_text("134.5M · 30 layers · made by merge 1")
    strip.get_by_role("button", name="crafts").click()
    expect(strip.locator("[aria-current]")).to_have_text("1 crafts")
    expect(strip.locator("[aria-current]")).to_be_focused()
    expect(page.locator("#told")).to_have_text("The form shows crafts.")
    expect(page.locator("#parents h2")).to_have_text(["local:models/python", "local:models/scripture"])
    expect(page.locator(".legend")).to_contain_text("scripture")
    page.locator('[name="parent.1.weight"]').fill("0.7, 0.2")
    page.locator('[name="document.name"]').fill("two-crafts")
    expect(yaml(page)).to_contain_text("model: two-crafts")
    expect(yaml(page)).to_contain_text("weight: [0.7, 0.2]")
    expect(yaml(page)).to_contain_text("tokenizer:")
    expect(strip.locator("[aria-current]")).to_have_text("1 two-crafts")
    shot(page, "documents")
    page.reload()
    expect(strip.locator("[aria-current]")).to_have_text("1 two-crafts")
    strip.get_by_role("button", name="result").click()
    strip.get_by_role("button", name="Merge it further").click()
    expect(strip.locator("[aria-current]")).to_have_text("3 result")
    expect(page.locator("#facts-0")).to_have_text("134.5M · 30 layers · made by merge 2")
    expect(page.locator("#findings .error")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(strip.locator("li")).to_have_count(3)
    expect(yaml(page)).not_to_contain_text("step-2")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (360, "light")])
def test_the_strip_fits_and_everybody_can_use_it(browser: Browser, app: Running, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )  # type: ignore[arg-type]
    page = context.new_page()
    open_recipe(page, app, TWO)
    page.locator("#document-0").click()
    expect(page.locator('[name="document.name"]')).to_have_value("crafts")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert wrong(page) == []
    shot(page, f"documents-{width}-{scheme}")
    context.close()
