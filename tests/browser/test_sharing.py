"""Recipes on their way between people, tabs and servers."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Running, arrived, shot

pytestmark = pytest.mark.browser
RECIPE = """\
name: Tiny talk
merge_method: ties
base_model: weavers/tiny-base
models:
  - model: weavers/tiny-chat
    parameters: {weight: [0.2, 0.8], density: 0.6}
  - model: weavers/tiny-code
    parameters: {weight: 0.5, density: 0.5}
dtype: bfloat16
"""
CARD = f"---\nlicense: mit\ntags: [merge]\n---\n# Tiny talk\n\nMade with:\n\n```yaml\n{RECIPE}```\n\nEnjoy.\n"


def bring(page: Page, app: Running, text: str) -> None:
    """Import a recipe by pasting it."""
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(text)
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#estimate")).to_contain_text("on this machine")


def test_share_and_fork(page: Page, app: Running) -> None:
    bring(page, app, RECIPE)
    page.get_by_role("button", name="Share link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tiny talk")
    expect(page.locator(".plot")).to_have_attribute("data-layers", "4")
    arrived(page, "/r/")
    page.get_by_role("button", name="Look up licences and lineage").click()
    expect(page.locator(".family li")).to_have_count(3)
    shot(page, "shared-lineage", full=True)
    page.get_by_role("button", name="Fork").click()
    arrived(page, "draft=")
    page.locator("#recipe-name").fill("Tiny talk, louder")
    expect(page.locator("#preview")).to_contain_text("Tiny talk, louder")
    page.get_by_role("button", name="Share link").click()
    expect(page.get_by_role("link", name="Tiny talk", exact=True)).to_be_visible()
    expect(page.locator("ins")).to_contain_text("louder")
    shot(page, "shared-fork")
    page.goto(f"{app.url}/recipes")
    expect(page.get_by_role("link", name="Tiny talk, louder").first).to_be_visible()


def test_a_self_contained_link_opens_and_runs_nothing(page: Page, app: Running) -> None:
    bring(page, app, RECIPE)
    page.get_by_role("button", name="Share link").click()
    link = page.locator("#carried").text_content() or ""
    assert "/r#" in link
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Tiny talk")
    expect(page.locator("#yaml")).to_contain_text("weavers/tiny-code")
    assert page.url == link
    shot(page, "shared-self-contained")
    page.get_by_role("button", name="Open in the builder").click()
    expect(page.locator("#recipe-name")).to_have_value("Tiny talk")
    page.goto("about:blank")
    page.goto(f"{link[:-9]}")
    expect(page.get_by_role("alert")).to_contain_text("damaged or cut short")


def test_a_card_dropped_on_the_page_is_imported(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.evaluate(
        """card => {
            const carried = new DataTransfer();
            carried.items.add(new File([card], "README.md", { type: "text/markdown" }));
            window.drag = (name) => document.body.dispatchEvent(
                new DragEvent(name, { dataTransfer: carried, bubbles: true, cancelable: true })
            );
        }""",
        CARD,
    )
    target = page.get_by_text("Drop a recipe")
    expect(target).to_be_hidden()
    page.evaluate("drag('dragenter')")
    page.evaluate("customElements.whenDefined('file-import').then(() => true)")
    page.evaluate("drag('dragover')")
    expect(target).to_be_visible()
    shot(page, "import-drop")
    page.evaluate("drag('dragleave')")
    expect(target).to_be_hidden()
    page.evaluate("drag('dragover')")
    page.evaluate("drag('drop')")
    expect(target).to_be_hidden()
    expect(page.locator("file-import [role=status]")).to_have_text("Read from README.md.")
    shot(page, "import-card")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#recipe-name")).to_have_value("Tiny talk")
    expect(page.locator("#estimate")).to_contain_text("on this machine")


def test_what_cannot_be_imported_is_told_in_its_box(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.get_by_label("Or a merge that was published").fill("weavers/tiny-base")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#import-told")).to_contain_text("no mergekit_config.yml")
    expect(page.locator("#import")).to_be_visible()


def test_a_draft_survives_a_reload_and_a_second_tab(page: Page, app: Running, context: BrowserContext) -> None:
    bring(page, app, RECIPE)
    page.locator("#recipe-name").fill("Mine")
    expect(page.locator("#preview")).to_contain_text("Mine")
    expect(page).to_have_url(re.compile(r"/\?draft="))
    page.reload()
    expect(page.locator("#recipe-name")).to_have_value("Mine")
    other = context.new_page()
    other.goto(page.url)
    other.locator("#recipe-name").fill("Theirs")
    expect(other.locator("#preview")).to_contain_text("Theirs")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#draft-remark")).to_contain_text("changed in another tab")
    page.locator("#recipe-name").fill("Mine again")
    expect(page.locator("#draft-remark")).to_contain_text("What you see here has replaced that")
    shot(page, "draft-two-tabs")
    page.get_by_role("button", name="Take the other one back").click()
    expect(page.locator("#recipe-name")).to_have_value("Theirs")


def test_a_finding_is_fixed_by_a_click(page: Page, app: Running) -> None:
    bring(page, app, RECIPE)
    page.get_by_role("tab", name="YAML").click()
    page.locator("#yaml").fill(RECIPE.replace("merge_method: ties", "merge_method: tise"))
    page.get_by_role("button", name="Apply", exact=True).click()
    shot(page, "finding-with-fix")
    page.get_by_role("button", name="Use TIES").click()
    expect(page.locator("#estimate")).to_contain_text("on this machine")
    expect(page.locator("#preview")).to_contain_text("merge_method: ties")


def test_files_that_are_no_recipe_are_told_and_none_is_cut_off(page: Page, app: Running) -> None:
    page.goto(app.url)
    chosen, told = page.locator("#import-file"), page.locator("#import [role=status]")
    chosen.set_input_files({"name": "early.yml", "mimeType": "text/plain", "buffer": b"merge_method: linear\n"})
    page.get_by_role("button", name="Import").click()
    expect(told, "what is chosen before the script has come").to_have_text("Read from early.yml.")
    page.locator("#import-text").fill("")
    for name, body, words in (
        ("empty.safetensors", b"", "damaged"),
        ("broken.safetensors", b"\x10\0\0\0\0\0\0\0no JSON", "damaged"),
        ("long.yml", RECIPE.encode() + b"# and on\n" * 20_000, "too long"),
    ):
        chosen.set_input_files({"name": name, "mimeType": "text/plain", "buffer": body})
        expect(told).to_contain_text(words)
        expect(page.locator("#import-text")).to_have_value("")
    page.locator("#import-text").evaluate("field => { field.value = '#'.repeat(300_000) }")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#import-told")).to_contain_text("too large")


def test_a_draft_is_never_undone_into_another_one(page: Page, app: Running) -> None:
    bring(page, app, RECIPE)
    first = page.url
    page.goto(f"{app.url}/recipes")
    bring(page, app, RECIPE.replace("Tiny talk", "Another"))
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(RECIPE.replace("Tiny talk", "A third"))
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#recipe-name")).to_have_value("A third")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#recipe-name")).to_have_value("Another")
    page.goto(f"{app.url}/recipes")
    page.goto(first)
    page.locator("#recipe-name").fill("First")
    expect(page.locator("#preview")).to_contain_text("First")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#recipe-name")).to_have_value("Tiny talk")
    expect(page.get_by_role("button", name="Undo")).to_have_attribute("aria-disabled", "true")


def test_a_server_that_does_not_answer_is_told_and_gets_the_change_later(context: BrowserContext, app: Running) -> None:
    page = context.new_page()  # whose console may tell of it
    bring(page, app, RECIPE)
    context.set_offline(True)
    page.locator("#recipe-name").fill("Out of reach")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.locator("#preview")).not_to_contain_text("Out of reach")
    context.set_offline(False)
    page.evaluate("htmx.ajax('GET', '/workers', {source: '#workers', target: '#workers', swap: 'innerMorph'})")
    expect(page.locator("#preview")).to_contain_text("Out of reach")
    expect(page.locator("#lost")).to_be_hidden()


def test_a_failure_without_a_place_on_the_page_is_told(page: Page, app: Running) -> None:
    bring(page, app, RECIPE)
    page.get_by_role("tab", name="YAML").click()
    page.locator("#yaml").evaluate("field => { field.value = '#'.repeat(300_000) }")
    page.get_by_role("button", name="Apply", exact=True).click()
    expect(page.locator("#trouble")).to_contain_text("too large")
    page.locator("#yaml").evaluate("(field, text) => { field.value = text }", RECIPE)
    page.get_by_role("button", name="Apply", exact=True).click()
    expect(page.locator("#trouble")).to_be_empty()
