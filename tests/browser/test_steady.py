"""Nothing on the builder jumps while scripts, style sheets and the models' facts arrive."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Running, eventually
from tests.browser.test_curves import anchor, open_recipe

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]
WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput, sources } of list.getEntries()) {
    if (!hadRecentInput) window.shifts.push({ value, what: sources.map(({ node }) => node?.id || node?.className) });
  }
}).observe({ type: "layout-shift", buffered: true });
"""
SLIGHT = 0.01
"""Of the window's area times the way moved: undo and redo appear beside the other buttons, and what stands below the
findings makes room for them."""


def test_nothing_jumps(page: Page, app: Running) -> None:
    page.add_init_script(WATCH)
    open_recipe(page, app)
    expect(anchor(page, "B", 4, 4)).to_be_visible()
    expect(page.get_by_text("Peak memory")).to_be_visible()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shifts = page.evaluate("() => window.shifts")
    assert sum(one["value"] for one in shifts) < SLIGHT, shifts


def test_the_import_box_stands_still_when_its_script_comes(page: Page, app: Running) -> None:
    """Else the button moves away between press and release, and what was pasted is not opened."""
    held: list[Route] = []
    page.route("**/file-import.js*", lambda route: held.append(route))
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    eventually(page, lambda: len(held), 1)
    button = page.get_by_role("button", name="Open it")
    before = button.bounding_box()
    held[0].continue_()
    page.evaluate("customElements.whenDefined('file-import').then(() => true)")
    assert button.bounding_box() == before
