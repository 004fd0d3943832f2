"""What quick hands do on a slow line counts: typed before a script has come, pressed right after typing, or right after
another button."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Running, eventually
from tests.browser.test_curves import open_recipe, yaml

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]
LATER = "() => new Promise((done) => setTimeout(done, 700))"
"""By then the form has sent what was typed, or has found that it need not."""
REMOVE_WHILE_AN_ANSWER_IS_TAKEN_IN = """() => document.addEventListener(
    "htmx:before:swap", () => document.querySelector('[value="remove:2"]').click(), { once: true })"""


def test_what_was_typed_does_not_cut_off_the_button(page: Page, app: Running) -> None:
    open_recipe(page, app)
    held: list[Route] = []
    holding = True

    def hold(route: Route) -> None:
        if holding:
            held.append(route)
        else:
            route.continue_()

    page.route("**/build", hold)
    page.locator('input.value[name="parent.1.density"]').fill("0.7")
    page.get_by_role("button", name="Actions for local:models/scripture").click()
    page.get_by_role("button", name="Remove").click()
    page.evaluate(LATER)
    holding = False
    held[-1].continue_()
    expect(page.locator(".parent")).to_have_count(2)
    expect(yaml(page)).to_contain_text("density: 0.7")


def test_the_check_of_an_answer_does_not_cut_off_the_next_change(page: Page, app: Running) -> None:
    open_recipe(page, app)
    page.evaluate(REMOVE_WHILE_AN_ANSWER_IS_TAKEN_IN)

    def hold(route: Route) -> None:
        if "remove" in (route.request.post_data or ""):
            page.evaluate(LATER)
        route.continue_()

    page.route("**/build", hold)
    page.locator('input.value[name="parent.1.density"]').fill("0.7")
    expect(page.locator(".parent")).to_have_count(2)
    expect(yaml(page)).to_contain_text("density: 0.7")


def test_what_was_typed_before_htmx_came_is_sent_when_it_has(page: Page, app: Running) -> None:
    open_recipe(page, app)
    held: list[Route] = []
    page.route("**/htmx.min.js*", lambda route: held.append(route))
    page.reload(wait_until="commit")
    page.locator('[name="parent.1.weight"]').fill("0.7")
    page.locator("#method-select").select_option("linear")
    page.get_by_role("searchbox", name="Search models").focus()
    eventually(page, lambda: len(held), 1)
    held[0].continue_()
    expect(yaml(page)).to_contain_text("merge_method: linear")
    expect(yaml(page)).to_contain_text("weight: 0.7")


def test_what_a_button_changes_cannot_be_pressed_before_it_has_changed(page: Page, app: Running) -> None:
    """Its answer would take no notice of that, and a second button would cut off the first."""
    open_recipe(page, app)
    held: list[Route] = []
    page.route("**/build", lambda route: held.append(route))
    box = page.locator('[name="parent.1.weight"]')
    page.get_by_role("button", name="Actions for local:models/scripture").click()
    page.get_by_role("button", name="Remove").click()
    for place in (box, page.get_by_role("button", name="Merge", exact=True)):
        expect(place).to_have_css("pointer-events", "none")
    eventually(page, lambda: len(held), 1)
    held[0].continue_()
    page.unroute("**/build")
    box.click()
    expect(page.locator(".parent")).to_have_count(2)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("0.7")
    expect(yaml(page)).to_contain_text("weight: 0.7")
