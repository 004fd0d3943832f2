"""A merge of Hub models in the browser: suggested, checked before anything is fetched, merged, uploaded again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, TOKEN, Running, eventually, shot
from tests.support.hub import StandInHub

pytestmark = pytest.mark.browser
DONE = {"timeout": 60_000}


def pick(page: Page, word: str, name: str) -> None:
    """Type part of a name, take the suggestion by keyboard."""
    field = page.get_by_role("combobox", name=re.compile("Add a model|Pick the first model"))
    field.press_sequentially(word)
    option = page.get_by_role("option", name=name).first
    expect(option).to_be_visible()
    while option.get_attribute("aria-selected") != "true":
        field.press("ArrowDown")
    field.press("Enter")
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def merge_two(page: Page, app: Running) -> None:
    page.goto(app.url)
    pick(page, "tiny-ch", "weavers/tiny-chat")
    pick(page, "tiny-co", "weavers/tiny-code")
    expect(page.locator("#estimate")).to_contain_text("to download", **DONE)


def test_from_the_hub_and_back(page: Page, app: Running, hub: StandInHub) -> None:
    hub.forget()
    merge_two(page, app)
    weights = [entry for entry in hub.requests(".safetensors", "GET") if entry.sent > 200_000]
    assert weights == [], "headers only, before the merge is started"
    shot(page, "builder-hub")
    page.get_by_role("button", name="Merge", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{32}"))
    expect(page.get_by_role("heading", name="Files")).to_be_visible(**DONE)
    page.reload()
    expect(page.get_by_role("heading", name="Files")).to_be_visible()

    page.get_by_label("Repository").fill("weaver/tiny-chat-and-code")
    page.get_by_label(re.compile("Hub token")).fill(TOKEN)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{32}"))
    expect(page.get_by_role("link", name="Open it on the Hub")).to_be_visible(**DONE)
    shot(page, "job-upload")
    made = hub.repos.root / "weaver" / "tiny-chat-and-code"
    card = (made / "README.md").read_text()
    assert "weavers/tiny-chat" in card and "mergekit" in card and "weightloom" in card
    assert (made / "model.safetensors").stat().st_size > 0
    assert TOKEN not in page.content()
    for path in [*app.data.rglob("*.log"), *app.data.rglob("*.sqlite*")]:
        assert TOKEN.encode() not in path.read_bytes(), path


def test_a_model_that_does_not_fit_is_named_before_the_merge(page: Page, app: Running) -> None:
    page.goto(app.url)
    pick(page, "tiny-ch", "weavers/tiny-chat")
    pick(page, "tiny-de", "weavers/tiny-deep")
    expect(page.locator("#findings")).to_contain_text(re.compile("layers", re.IGNORECASE), **DONE)
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.locator("#refusal")).to_contain_text("weavers/tiny-deep")
    expect(page.get_by_role("heading", name="weavers/tiny-deep")).to_be_visible()
    shot(page, "builder-refused")


def test_everything_by_keyboard(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "INPUT"


@pytest.fixture
def plain_page(browser: Browser) -> Iterator[Page]:
    """A browser in which no script runs."""
    context = browser.new_context(java_script_enabled=False, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_without_javascript(plain_page: Page, app: Running, tmp_path: Path) -> None:
    page = plain_page
    page.goto(app.url)
    for name in ("weavers/tiny-chat", "weavers/tiny-code"):
        page.get_by_role("combobox", name=re.compile("Add a model|Pick the first model")).fill(name)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("#estimate")).to_contain_text("result")
    page.get_by_role("button", name="Merge", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{32}"))
    eventually(page, lambda: bool(page.reload()) and page.get_by_role("heading", name="Files").count(), 1)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download config.json").click()
    waiting.value.save_as(tmp_path / "config.json")
    assert (tmp_path / "config.json").stat().st_size > 100
