"""The picture in the README: the builder with a recipe whose weights follow curves."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running, shot

pytestmark = [pytest.mark.browser, pytest.mark.real]
RECIPE = """
name: Python × Scripture
merge_method: ties
base_model: local:models/base
models:
- model: local:models/python
  parameters: {weight: [0.25, 0.85, 0.4, 0.25], density: 0.5}
- model: local:models/scripture
  parameters: {weight: [0.1, 0.2, 0.7, 0.5], density: 0.45}
dtype: bfloat16
"""


def test_an_imported_recipe_is_drawn_and_checked(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(RECIPE)
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#estimate")).to_contain_text("269 MB")
    expect(page.locator("#findings")).to_contain_text("272 of 272 tensors line up")
    expect(page.locator("#blend table tbody tr").nth(29)).to_be_attached()
    shot(page, "readme-builder")
