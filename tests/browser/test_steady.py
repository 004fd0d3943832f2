"""Nothing on the builder jumps while scripts, style sheets and the models' facts arrive."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
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
