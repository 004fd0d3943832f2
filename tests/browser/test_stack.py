"""The Stack view: blocks moved, split, trimmed and blended by keys, buttons and pointer; the recipe follows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Running, eventually, shot
from tests.browser.test_access import AXE, RULES

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(300)]
SELF_STACK = """\
merge_method: passthrough
slices:
  - sources:
      - model: local:models/base
        layer_range: [0, 20]
  - sources:
      - model: local:models/base
        layer_range: [10, 30]
dtype: bfloat16
"""
BLENDS = """\
merge_method: linear
slices:
  - sources:
      - {model: local:models/base, layer_range: [0, 16], parameters: {weight: [1, 0.2]}}
      - {model: local:models/python, layer_range: [0, 16], parameters: {weight: [0.2, 1]}}
  - sources:
      - {model: local:models/python, layer_range: [20, 30], parameters: {weight: 1}}
tokenizer: {source: base, pad_to_multiple_of: 8}
"""


def open_recipe(page: Page, app: Running, text: str) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.locator("#import-text").fill(text)
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#stack-facts")).to_contain_text("parameters", timeout=60_000)
    expect(page.get_by_role("tab", name="Stack")).to_have_attribute("aria-selected", "true")
    expect(page.locator("stack-editor:defined")).to_have_count(1)


def yaml(page: Page) -> Locator:
    return page.locator("#preview-text")


def ranges(page: Page) -> list[list[int]]:
    """The layers of the first source of each block, by its fields, from the lowest block."""
    found: list[list[int]] = page.evaluate(
        """[...document.querySelectorAll('.block')].reverse().map((block) =>
        [...block.querySelectorAll("[name$='.0.first'], [name$='.0.last']")].map((field) => Number(field.value)))"""
    )
    return found


def expect_blocks(page: Page, *wanted: list[int]) -> None:
    """The fields, and the recipe beside them, say the same."""
    for first, last in wanted:
        expect(yaml(page)).to_contain_text(f"layer_range: [{first}, {last + 1}]")
    expect(page.locator(".block")).to_have_count(len(wanted))
    eventually(page, lambda: ranges(page), list(wanted))


def block(page: Page, number: int) -> Locator:
    return page.locator(f'.block[data-block="{number - 1}"]')


def grip(page: Page, number: int) -> Locator:
    return block(page, number).locator(".grip")


def drag(page: Page, what: Locator, by: float, steps: int = 12) -> None:
    what.hover()  # waits until it stands still
    box = what.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + by, steps=steps)


def wrong(page: Page) -> list[str]:
    page.evaluate(AXE)
    report: dict[str, Any] = page.evaluate(f"axe.run({{runOnly: {json.dumps(RULES)}}})")
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in report["violations"]]


def test_reordered_by_keys_split_and_undone(page: Page, app: Running) -> None:
    open_recipe(page, app, SELF_STACK)
    expect(page.locator(".block .joint.twice")).to_have_text("layers 10–19 twice")
    expect(page.locator("#stack-facts")).to_contain_text("40 layers")
    shot(page, "stack")
    grip(page, 1).focus()
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator(".block .joint")).to_have_text("goes back from 29 to 0: layers 10–19 twice")
    expect_blocks(page, [10, 29], [0, 19])
    expect(grip(page, 2)).to_be_focused()
    expect(page.locator("#told")).to_have_text("Block moved. 40 layers.")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.locator(".block .joint.twice")).to_be_visible()
    expect(grip(page, 1)).to_be_focused()
    page.get_by_role("button", name="Split block 2").click()
    expect_blocks(page, [0, 19], [10, 19], [20, 29])
    expect(page.get_by_role("button", name="Split block 2")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".block")).to_have_count(2)
    expect(yaml(page)).to_have_text(SELF_STACK)
    expect(page.locator("#findings .error")).to_have_count(0)
    expect(page.locator("#stack-facts")).to_contain_text("169.9M parameters")
    page.get_by_role("button", name="Redo").click()
    expect(page.locator(".block")).to_have_count(3)
    grip(page, 1).focus()
    for _ in range(2):  # quicker than the answer to the first
        page.keyboard.press("Alt+ArrowUp")
    expect(grip(page, 3)).to_be_focused()
    expect_blocks(page, [10, 19], [20, 29], [0, 19])


def test_a_block_is_dragged_and_its_edge_too(page: Page, app: Running) -> None:
    open_recipe(page, app, SELF_STACK.replace("[10, 30]", "[20, 30]"))
    expect(page.locator(".block .joint")).to_have_text("goes on with layer 20")
    drag(page, grip(page, 2), 260)
    expect(page.locator("[data-held]")).to_have_count(1)
    shot(page, "stack-dragged")
    page.mouse.up()
    expect_blocks(page, [20, 29], [0, 19])
    drag(page, grip(page, 1), -400)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(page.locator("[data-held]")).to_have_count(0)
    eventually(page, lambda: ranges(page), [[20, 29], [0, 19]])
    pitch = float(block(page, 2).locator(".bars").get_attribute("data-pitch") or 0)
    drag(page, block(page, 2).locator('[data-edge="last"]'), 5 * pitch)
    page.mouse.up()
    expect_blocks(page, [20, 29], [0, 14])
    expect(page.locator("#stack-facts")).to_contain_text("25 layers")
    drag(page, block(page, 1).locator('[data-edge="first"]'), 400)
    page.mouse.up()
    expect_blocks(page, [0, 29], [0, 14])
    expect(page.locator("#stack-facts")).to_contain_text("45 layers")
    bars = block(page, 2).locator(".bars")
    pitch = float(bars.get_attribute("data-pitch") or 0)
    bars.dblclick(position={"x": 40, "y": 4 * pitch})
    expect_blocks(page, [0, 29], [0, 10], [11, 14])


def test_a_blend_in_a_block(page: Page, app: Running) -> None:
    open_recipe(page, app, BLENDS)
    expect(page.locator(".block .joint.jump")).to_have_text("jumps from 15 to 20: layers 16–19 left out")
    block(page, 2).get_by_role("button", name="More for block 2").click()
    page.get_by_role("button", name="Blend in A").click()
    expect(block(page, 2).locator(".source")).to_have_count(2)
    page.get_by_label("First layer of A in block 2").fill("16")
    expect(yaml(page)).to_contain_text("model: local:models/base\n        layer_range: [16, 26]")
    page.get_by_role("button", name="Move block 1 up").click()
    expect(page.get_by_label("First layer of A in block 1")).to_have_value("16")
    expect(page.locator("#parents .role")).to_have_text(["A", "B"])
    expect(yaml(page)).to_contain_text("weight: [1, 0.2]")
    expect(yaml(page)).to_contain_text("pad_to_multiple_of: 8")
    shot(page, "stack-blend")
    page.get_by_role("tab", name="Blend").click()
    expect(page.locator(".plot")).to_be_visible()


def test_from_a_blend_to_a_pattern_and_back(page: Page, app: Running) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    names = ("base", "python")
    models = ", ".join(f"{{model: 'local:models/{name}', parameters: {{weight: 1}}}}" for name in names)
    page.locator("#import-text").fill(f"merge_method: linear\nmodels: [{models}]\n")
    page.get_by_role("button", name="Open it").click()
    expect(page.locator("#facts-1")).to_contain_text("30 layers", timeout=60_000)
    page.get_by_role("tab", name="Stack").click()
    assert page.evaluate("customElements.get('stack-editor') === undefined")
    page.get_by_role("button", name="Make it a stack").click()
    expect_blocks(page, [0, 29])
    page.get_by_role("button", name="Back to a plain blend").click()
    expect(yaml(page)).to_contain_text("models:")
    page.get_by_role("button", name="Interleave two").click()
    expect(page.locator(".block")).to_have_count(9)
    expect(page.locator("#stack-facts")).to_contain_text("54 layers")
    expect(page.locator("#findings .error")).to_have_count(0)
    shot(page, "stack-pattern", full=True)


def test_some_modules_of_a_block_get_a_value_of_their_own(page: Page, app: Running) -> None:
    """The classic self-stack: the second copy's output projections begin at zero."""
    open_recipe(page, app, SELF_STACK)
    expect(page.locator("#name-parts option[value=down_proj]")).to_have_count(1)
    upper = block(page, 2)
    upper.get_by_text("Other values for some modules").click()
    for name in ("down_proj", "o_proj"):
        upper.get_by_label("Where the tensor's name has").fill(name)
        upper.get_by_label("Value", exact=True).fill("0")
        upper.get_by_role("button", name="Add").press("Enter")
        expect(upper.get_by_label(f"scale for {name}")).to_have_value("0")
        expect(upper.get_by_role("button", name="Add")).to_be_focused()
        expect(upper.get_by_label("Where the tensor's name has")).to_have_value("")
    expect(yaml(page)).to_contain_text("- filter: o_proj\n              value: 0.0")
    upper.get_by_role("button", name="Ask later for o_proj").click()
    expect(page.locator("#told")).to_have_text("Values for some modules changed.")
    expect(page.locator("#findings .error")).to_have_count(0)
    shot(page, "stack-values-of-modules")
    upper.get_by_role("button", name="Remove the value for o_proj").click()
    expect(upper.get_by_label("scale for o_proj")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(upper.get_by_label("scale for o_proj")).to_have_value("0")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")])
def test_the_stack_fits_and_everybody_can_use_it(browser: Browser, app: Running, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True
    )  # type: ignore[arg-type]
    page = context.new_page()
    open_recipe(page, app, BLENDS)
    for place in page.locator("#stack details summary").all():
        place.click()
    page.evaluate("scrollTo(0, 0)")  # what the bar that stays above half covers would count as too small
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert wrong(page) == []
    shot(page, f"stack-{width}-{scheme}", full=True)
    context.close()


def test_without_scripts_buttons_and_fields_work(browser: Browser, app: Running) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(app.url)
    page.locator("textarea[name=yaml]").fill(SELF_STACK)
    page.locator("#panel-yaml button").click()
    expect(page.locator(".block")).to_have_count(2)
    page.get_by_role("button", name="Move block 1 up").click()
    expect(page.locator(".block .joint")).to_have_text("goes back from 29 to 0: layers 10–19 twice")
    page.get_by_label("Last layer of A in block 2").fill("9")
    page.keyboard.press("Enter")
    expect(yaml(page)).to_contain_text("layer_range: [0, 10]")
    page.get_by_role("button", name="Add a block of A").click()
    expect(page.locator(".block")).to_have_count(3)
    page.close()
