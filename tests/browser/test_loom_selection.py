"""What the curves change, chosen on the loom: layers, modules, rows outside the layers; by pointer, by keys, typed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Running, shot
from tests.browser.test_curves import cell, open_recipe, yaml

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]


def modules(page: Page) -> Locator:
    """The choice of what the curves change."""
    return page.get_by_role("combobox", name="For which modules").locator("option:checked")


def plot_row(page: Page, layer: int) -> tuple[float, float]:
    """The middle of a layer's row in the loom, on the screen."""
    plot = page.locator(".plot")
    plot.scroll_into_view_if_needed()
    box, told = plot.bounding_box(), plot.evaluate("({ dataset }) => ({ ...dataset })")
    assert box is not None
    row = int(told["layers"]) - 1 - layer
    return box["x"] + box["width"] / 2, box["y"] + float(told["top"]) + (row + 0.4) * float(told["pitch"])


def test_layers_are_selected_by_their_rows_and_edited_alone(page: Page, app: Running) -> None:
    open_recipe(page, app)

    def press(layer: int, *modifiers: str) -> None:
        for key in modifiers:
            page.keyboard.down(key)
        page.mouse.click(*plot_row(page, layer))
        for key in modifiers:
            page.keyboard.up(key)

    press(4)
    expect(modules(page)).to_have_text("layer 4")
    press(6, "Shift")
    expect(modules(page)).to_have_text("layers 4–6")
    shot(page, "curves-layers")
    before = cell(page, 7, "q").text_content()
    page.locator(".curve-values > input").fill("0.9")
    page.locator(".curve-values > input").press("Enter")
    for layer in (4, 5, 6):
        expect(yaml(page)).to_contain_text(f"filter: layers.{layer}.")
    expect(cell(page, 5, "q")).to_contain_text("A")
    assert cell(page, 7, "q").text_content() == before
    press(6, "Shift")
    expect(modules(page)).to_have_text("all modules")


def test_a_layer_is_told_while_the_pointer_is_over_one_and_not_beside(page: Page, app: Running) -> None:
    open_recipe(page, app)
    said = page.locator(".curve-told output")
    page.mouse.move(*plot_row(page, 3))
    expect(said).to_contain_text("layer 3 ·")
    page.locator(".curve-values > input").hover()
    expect(said).to_be_empty()


def boxes(page: Page) -> list[tuple[float, ...]]:
    """What the line around the selection goes around: x, y, width, height; x and width in thousandths of the loom."""
    path = page.locator(".selection .outline").get_attribute("d") or ""
    return [tuple(map(float, found)) for found in re.findall(r"M(\S+) (\S+)h(\S+)v([^h]+)h", path)]


def test_what_is_selected_is_shown_told_and_let_go_by_escape(page: Page, app: Running) -> None:
    open_recipe(page, app)
    veil, told = page.locator(".selection .veil"), page.locator("#told")
    rows = page.get_by_role("slider", name="Layers and modules that the curves change")
    top, bottom = plot_row(page, 9), plot_row(page, 4)
    page.mouse.move(*bottom)
    page.mouse.down()
    page.mouse.move(*top, steps=4)
    page.mouse.up()
    expect(modules(page)).to_have_text("layers 4–9")
    expect(told).to_have_text("The curves are for layers 4–9.")
    expect(rows).to_have_attribute("aria-valuetext", "layers 4–9")
    ((x, _, width, height),) = boxes(page)
    pitch = float(page.locator(".plot").get_attribute("data-pitch") or 0)
    assert (x <= 0, width >= 1000, round(height)) == (True, True, round(6 * pitch))
    expect(veil).to_have_attribute("d", re.compile("M"))

    expect(rows).to_be_focused()
    page.keyboard.press("Shift+ArrowUp")
    expect(modules(page)).to_have_text("layers 4–10")
    page.keyboard.press("ArrowDown")
    expect(modules(page)).to_have_text("layer 9")
    page.keyboard.press("Escape")
    expect(modules(page)).to_have_text("all modules")
    expect(told).to_have_text("The curves are for all modules.")
    expect(veil).to_have_attribute("d", "")

    page.locator(".plot > text", has_text="up").click()
    expect(rows).to_have_attribute("aria-valuetext", "up")
    ((_, _, one, height),) = boxes(page)
    assert round(height) == round(30 * pitch)
    page.get_by_label("For which modules").select_option(label="MLP")
    ((_, _, three, _),) = boxes(page)
    assert 3 * one < three + 40
    page.get_by_role("button", name="All modules and layers again").click()
    assert boxes(page) == []
    expect(page.get_by_role("button", name="All modules and layers again")).to_be_hidden()


def test_a_row_outside_the_layers_is_selected_too(page: Page, app: Running) -> None:
    open_recipe(page, app)
    x, _ = plot_row(page, 0)
    plot = page.locator(".plot").bounding_box()
    assert plot is not None
    page.mouse.click(x, plot["y"] + plot["height"] - 5)
    expect(modules(page)).to_have_text("embed")
    page.locator(".curve-values > input").fill("0.9")
    page.locator(".curve-values > input").press("Enter")
    expect(yaml(page)).to_contain_text("filter: embed_tokens")


def test_layers_are_selected_by_typing(page: Page, app: Running) -> None:
    open_recipe(page, app)
    page.get_by_label("For which modules").select_option(label="layers or a part of the name…")
    page.get_by_label("Layers, or a part of the names of tensors").fill("2-3")
    page.keyboard.press("Enter")
    expect(modules(page)).to_have_text("layers 2–3")
