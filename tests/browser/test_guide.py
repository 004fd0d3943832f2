"""Finding a method by three questions, and seeing what it does while its numbers move."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running, arrived, shot

pytestmark = pytest.mark.browser

RECIPE = """merge_method: linear
models:
- {model: weavers/tiny-chat, parameters: {weight: 0.5}}
- {model: weavers/tiny-code, parameters: {weight: 0.5}}
- {model: weavers/tiny-base, parameters: {weight: 0.5}}
"""


def test_three_questions_put_a_method_into_the_recipe(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(RECIPE)
    page.get_by_role("button", name="Open it").click()
    expect(page.get_by_role("article", name=re.compile("tiny-base"))).to_be_visible()
    page.get_by_role("button", name="Which method?").click()
    expect(page.get_by_role("heading", name="Which method?", level=1)).to_be_visible()
    arrived(page, "/guide")
    expect(page.get_by_label("Three or more models")).to_be_checked()
    page.get_by_label("Yes, all of one base").check()
    page.get_by_label("Blend them evenly").check()
    expect(page.locator("#answer")).to_contain_text("Model Stock")
    page.get_by_label("Combine what each can do").check()
    expect(page.locator("#answer")).to_contain_text("TIES")
    shot(page, "guide-answer")
    page.locator("#answer").get_by_role("button", name=re.compile("Use it.*TIES")).click()
    expect(page.locator("#method-select")).to_have_value("ties")
    for name in ("tiny-chat", "tiny-code", "tiny-base"):
        expect(page.get_by_role("article", name=re.compile(name))).to_be_visible()


def test_the_picture_moves_with_the_numbers(page: Page, app: Running) -> None:
    page.goto(f"{app.url}/?method=ties")
    picture = page.locator("#method svg.method-picture")
    for model in ("base", "chat", "code"):
        page.get_by_label("Add a model").or_(page.get_by_label("Pick the first model")).fill(f"weavers/tiny-{model}")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("article", name=re.compile(model))).to_be_visible()
    expect(picture).to_have_attribute("aria-label", re.compile("Of A's 16 example changes 1[0-9] go in"))
    page.locator("#f-parent-1-density").fill("0.25")
    expect(picture).to_have_attribute("aria-label", re.compile("Of A's 16 example changes [1-4] go in"))
    shot(page, "method-picture")
