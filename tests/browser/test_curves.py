"""Curves beside the loom: dragged, moved by keys, typed, for all modules or some, undone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import Running, eventually, shot

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]
RECIPE = """\
merge_method: ties
base_model: local:models/base
models:
  - model: local:models/python
    parameters: {weight: [0.25, 0.8, 0.4, 0.25], density: 0.5}
  - model: local:models/scripture
    parameters: {weight: [0.2, 0.3, 0.85, 0.3], density: 0.45}
"""


def open_recipe(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(RECIPE)
    page.get_by_role("button", name="Open it").click()
    expect(anchor(page, "A", 1, 4)).to_be_visible(timeout=60_000)


def anchor(page: Page, letter: str, index: int, count: int, parameter: str = "weight") -> Locator:
    return page.get_by_role("slider", name=f"{letter} {parameter}, anchor {index} of {count}", exact=True)


def line(page: Page, letter: str) -> Locator:
    """The button in the legend that calls a parent's line."""
    return page.locator(f'.legend [data-line="{letter}"]')


def yaml(page: Page) -> Locator:
    return page.locator("#preview-text")


def cell(page: Page, layer: int, module: str) -> Locator:
    """The loom's numbers of one cell."""
    expect(page.locator(".as-table thead th").first).to_be_attached()
    heads = page.locator(".as-table thead th").all_text_contents()
    return page.locator(f'.as-table tr[data-layer="{layer}"] > *').nth(heads.index(module))


def middle(place: Locator) -> tuple[float, float]:
    place.hover()  # waits until it stands still
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_an_anchor_is_dragged(page: Page, app: Running) -> None:
    open_recipe(page, app)
    before = cell(page, 10, "q").text_content()
    x, y = middle(anchor(page, "A", 2, 4))
    frame = page.locator(".curve-figure svg").bounding_box()
    assert frame is not None
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - frame["width"] / 4, y, steps=8)
    expect(anchor(page, "A", 2, 4)).to_have_attribute("aria-valuetext", "A weight at layer 10: 0.3")
    expect(yaml(page)).to_contain_text("[0.25, 0.8, 0.4, 0.25]")
    page.mouse.up()
    expect(yaml(page)).to_contain_text("weight: [0.25, 0.3, 0.4, 0.25]")
    expect(page.locator('[name="parent.1.weight"]')).to_have_value("0.25, 0.3, 0.4, 0.25")
    expect(cell(page, 10, "q")).not_to_have_text(before or "")
    expect(cell(page, 10, "weight A")).to_have_text("0.303")
    shot(page, "curves")


def test_anchors_are_moved_added_and_removed_by_keys(page: Page, app: Running) -> None:
    open_recipe(page, app)
    anchor(page, "A", 1, 4).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    expect(yaml(page)).to_contain_text("weight: [0.55, 0.8, 0.4, 0.25]")
    expect(anchor(page, "A", 1, 4)).to_be_focused()
    page.keyboard.press("Home")
    expect(yaml(page)).to_contain_text("weight: [-0.5, 0.8, 0.4, 0.25]")
    page.keyboard.press("Delete")
    expect(yaml(page)).to_contain_text("weight: [0.8, 0.6, 0.25]")
    expect(anchor(page, "A", 1, 3)).to_be_focused()
    page.keyboard.press("+")
    expect(anchor(page, "A", 2, 4)).to_be_focused()
    expect(yaml(page)).to_contain_text("weight: [0.8, 0.665, 0.485, 0.25]")
    for _ in range(3):
        page.keyboard.press("Backspace")
    expect(yaml(page)).to_contain_text(re.compile(r"models/python\n    parameters:\n      weight: 0\.\d+\n"))
    page.keyboard.press("Delete")
    expect(anchor(page, "A", 1, 1)).to_have_attribute("aria-valuetext", re.compile("A weight at every layer: 0."))


def test_a_click_on_a_line_adds_an_anchor_and_a_double_click_takes_it_away(page: Page, app: Running) -> None:
    open_recipe(page, app)
    line(page, "B").click()
    (x0, y0), (x1, y1) = middle(anchor(page, "B", 1, 4)), middle(anchor(page, "B", 2, 4))
    page.mouse.click((x0 + x1) / 2, (y0 + y1) / 2)
    expect(anchor(page, "B", 2, 5)).to_be_focused()
    expect(page.locator('[name="parent.2.weight"]')).to_have_value(re.compile(r"^([\d.]+, ){4}[\d.]+$"))
    anchor(page, "B", 2, 5).dblclick()
    expect(anchor(page, "B", 2, 4)).to_be_visible()
    expect(page.locator('[name="parent.2.weight"]')).to_have_value(re.compile(r"^([\d.]+, ){3}[\d.]+$"))


def test_a_curve_for_the_mlp_alone(page: Page, app: Running) -> None:
    open_recipe(page, app)
    others = cell(page, 20, "q").text_content() or ""
    expect(cell(page, 20, "up")).to_have_text(others)
    page.get_by_label("For which modules").select_option(label="MLP")
    line(page, "B").click()
    page.get_by_role("button", name="Rising").click()
    expect(yaml(page)).to_contain_text("- filter: mlp\n          value: [0.2, 0.85]")
    expect(page.get_by_label("weight for mlp", exact=True)).to_have_value("0.2, 0.85")
    expect(cell(page, 20, "up")).not_to_have_text(others)
    expect(cell(page, 20, "q")).to_have_text(others)
    expect(page.locator("#facts-1")).to_contain_text("30 layers")
    shot(page, "curves-mlp")
    page.locator(".plot > text", has_text="down").click()
    expect(page.get_by_label("For which modules")).to_have_value("down_proj")
    page.get_by_label("For which modules").select_option("mlp")
    numbers = page.get_by_label("B weight for MLP")
    numbers.fill("")
    numbers.press("Tab")
    expect(yaml(page)).not_to_contain_text("filter")


def test_a_part_of_a_name_is_typed(page: Page, app: Running) -> None:
    open_recipe(page, app)
    page.get_by_text("The same in numbers").click()
    page.get_by_label("For which modules").select_option(label="layers or a part of the name…")
    page.get_by_label("Part of the names of tensors").fill("layers.3.")
    page.get_by_label("Part of the names of tensors").press("Tab")
    page.get_by_label("A weight for layer 3").fill("1.5")
    page.get_by_label("A weight for layer 3").press("Tab")
    expect(yaml(page)).to_contain_text("- filter: layers.3.\n          value: 1.5")
    expect(cell(page, 3, "weight A")).to_have_text("1.5")
    expect(cell(page, 3, "weight A")).to_be_visible()  # what was opened stays so


def test_tab_goes_through_the_anchors_of_every_line(page: Page, app: Running) -> None:
    open_recipe(page, app)
    page.get_by_role("slider", name="Layers and modules that the curves change").focus()
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.locator(":focus").get_attribute("aria-label"))
    assert sorted(seen) == [f"{who} weight, anchor {index} of 4" for who in "AB" for index in (1, 2, 3, 4)]


def test_lines_and_numbers_stay_in_step(page: Page, app: Running) -> None:
    open_recipe(page, app)
    page.locator('[name="parent.1.weight"]').fill("0, 1")
    expect(anchor(page, "A", 2, 2)).to_have_attribute("aria-valuenow", "1")
    expect(yaml(page)).to_contain_text("weight: [0.0, 1.0]")
    page.get_by_role("button", name="all together").click()
    anchor(page, "A", 1, 2).focus()
    page.keyboard.press("ArrowRight")
    expect(yaml(page)).to_contain_text("weight: [0.05, 1.0]")
    expect(yaml(page)).to_contain_text("weight: [0.25, 0.3]")
    page.get_by_label("Parameter drawn").select_option("density")
    expect(anchor(page, "B", 1, 1, "density")).to_have_attribute("aria-valuenow", "0.45")


def test_numbers_with_decimal_commas_are_what_their_writer_means(page: Page, app: Running) -> None:
    open_recipe(page, app)
    box = page.locator('[name="parent.1.weight"]')
    box.fill("0,5")
    expect(anchor(page, "A", 1, 1)).to_have_attribute("aria-valuenow", "0.5")
    expect(yaml(page)).to_contain_text("weight: 0.5")
    expect(page.locator("slider-field[for=f-parent-1-weight] input")).to_have_js_property("value", "0.5")
    expect(page.locator("#told")).to_have_text("0,5 is read as 0.5.")
    numbers = page.get_by_label("A weight: a number")
    numbers.fill("0,2 0,8")
    numbers.press("Tab")
    expect(yaml(page)).to_contain_text("weight: [0.2, 0.8]")
    expect(numbers).to_have_value("0.2, 0.8")
    expect(anchor(page, "A", 2, 2)).to_have_attribute("aria-valuenow", "0.8")


def test_undo_and_redo(page: Page, app: Running) -> None:
    open_recipe(page, app)
    anchor(page, "A", 1, 4).focus()
    page.keyboard.press("ArrowLeft")
    expect(yaml(page)).to_contain_text("weight: [0.2, 0.8, 0.4, 0.25]")
    page.keyboard.press("Control+z")
    expect(yaml(page)).to_have_text(RECIPE)
    expect(anchor(page, "A", 1, 4)).to_have_attribute("aria-valuenow", "0.25")
    page.keyboard.press("Control+Shift+Z")
    expect(yaml(page)).to_contain_text("weight: [0.2, 0.8, 0.4, 0.25]")
    page.get_by_role("button", name="Undo").click()
    expect(yaml(page)).to_have_text(RECIPE)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Pick the first model")).to_be_visible()
    page.get_by_role("button", name="Redo").click()
    expect(yaml(page)).to_have_text(RECIPE)


@pytest.mark.parametrize(("name", "width", "scheme"), [("dark", 1440, "dark"), ("phone", 360, "light")])
def test_the_desk_fits(browser: Browser, app: Running, name: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    open_recipe(page, app)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    anchor(page, "A", 3, 4).focus()
    shot(page, f"curves-{name}")
    page.close()


def test_without_scripts_the_lists_work(browser: Browser, app: Running) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(app.url)
    page.locator("textarea[name=yaml]").fill(RECIPE)
    page.locator("#panel-yaml button").click()
    expect(page.locator(".curve-figure .line")).to_have_count(2)
    expect(page.locator(".curve-values")).to_be_hidden()
    page.locator('[name="parent.1.weight"]').fill("0, 1")
    page.keyboard.press("Enter")
    expect(yaml(page)).to_contain_text("weight: [0.0, 1.0]")
    page.close()


def test_the_line_that_is_called_lies_above_the_others(page: Page, app: Running) -> None:
    """Where lines meet, the anchor of the one that was called is the one that is grabbed."""
    open_recipe(page, app)
    page.locator('[name="parent.1.weight"]').fill("0.5, 1")
    page.locator('[name="parent.2.weight"]').fill("0.5, 0")
    expect(yaml(page)).to_contain_text("weight: [0.5, 0.0]")
    for letter, other in (("A", "B"), ("B", "A")):
        line(page, letter).click()
        expect(line(page, letter)).to_have_attribute("aria-pressed", "true")
        expect(line(page, other)).to_have_attribute("aria-pressed", "false")
        page.mouse.move(*middle(anchor(page, letter, 1, 2)))
        page.mouse.down()
        page.mouse.up()
        expect(anchor(page, letter, 1, 2)).to_be_focused()
    page.locator('[name="parent.2.weight"]').focus()
    expect(line(page, "B")).to_have_attribute("aria-pressed", "true")
    page.locator('[name="parent.1.weight"]').focus()
    expect(line(page, "A")).to_have_attribute("aria-pressed", "true")
    page.mouse.click(*middle(anchor(page, "A", 1, 2)))
    expect(anchor(page, "A", 1, 2)).to_be_focused()


def test_an_answer_to_an_older_edit_leaves_a_newer_one_alone(page: Page, app: Running) -> None:
    open_recipe(page, app)
    box = page.locator('[name="parent.2.weight"]')
    held: list[Route] = []
    page.route("**/build", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/build"):
        anchor(page, "B", 1, 4).focus()
        page.keyboard.press("+")
    eventually(page, lambda: len(held), 1)
    page.keyboard.press("+")
    held[0].continue_()
    expect(anchor(page, "B", 1, 6)).to_be_visible()
    expect(yaml(page)).to_contain_text(re.compile(r"weight: \[([\d.]+, ){5}[\d.]+\]"))
    expect(box).to_have_value(re.compile(r"^([\d.]+, ){5}[\d.]+$"))
