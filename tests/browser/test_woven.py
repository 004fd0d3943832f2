"""A job's loom before one's eyes: woven as tensors are written, then drawn by what the merge found in the weights."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running, shot

pytestmark = pytest.mark.browser
SLERP = """\
merge_method: slerp
base_model: weavers/tiny-chat
models: [{model: weavers/tiny-chat}, {model: weavers/tiny-code}]
parameters: {t: [0.2, 0.8]}
"""


def test_the_finished_loom_tells_coefficients_and_angles(page: Page, app: Running) -> None:
    job = httpx2.post(f"{app.url}/api/jobs", json={"recipe": SLERP}, timeout=60).json()["id"]
    page.goto(f"{app.url}/jobs/{job}")
    loom = page.locator("#loom")
    expect(loom).to_contain_text("Drawn by what SLERP found in the weights", timeout=60_000)
    expect(loom).to_contain_text(re.compile(r"The parents are \d\.\d° apart on average"))
    expect(page.locator("#woven-cover path")).to_have_attribute("d", "")
    plot = loom.locator(".plot")
    plot.hover(position={"x": 12, "y": float(plot.get_attribute("data-top") or 0) + 5})
    cell = re.compile(r"layer 3 · q: A 0\.\d\d, B 0\.\d\d, \d\.\d°")
    expect(loom.locator("[data-reading]")).to_have_text(cell)
    loom.get_by_text("The same in numbers").click()
    first = loom.get_by_role("row", name=re.compile("^3 ")).get_by_role("cell").first
    expect(first).to_have_text(re.compile(r"A 0\.2\d, B 0\.8\d, \d\.\d°"))
    shot(page, "job-woven", full=True)
    with page.expect_download() as waiting:
        loom.get_by_role("link", name="coefficients.json").click()
    assert waiting.value.suggested_filename == "coefficients.json"
