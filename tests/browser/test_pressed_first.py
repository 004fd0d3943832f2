"""A button pressed right after typing does what it says, and what was typed goes along."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Running
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
