"""A first merge of real models: from an empty page to a downloaded checkpoint that speaks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running, shot
from tests.support import asking
from tests.support.real_models import RealModels

pytestmark = [pytest.mark.browser, pytest.mark.real, pytest.mark.timeout(900)]
MERGE_SECONDS = 180


def add(page: Page, reference: str) -> None:
    field = page.get_by_role("combobox", name=re.compile("Add a model|Pick the first model"))
    field.fill(reference)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name=reference)).to_be_visible()


def fill(page: Page, field: str, value: str) -> None:
    box = page.locator(f'input.value[name="{field}"]')
    box.fill(value)
    box.press("Tab")


def merge(page: Page, app: Running, name: str) -> None:
    expect(page.locator("#estimate")).to_contain_text("result", timeout=60_000)
    shot(page, f"builder-{name}")
    page.get_by_role("button", name="Merge", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]{32}"))
    expect(page.get_by_role("heading", name=re.compile("Files|Result"))).to_be_visible(timeout=MERGE_SECONDS * 1000)
    shot(page, f"job-{name}")


def download_all(page: Page, folder: Path) -> Path:
    """Every file of the finished job, by its link, as a person would click it."""
    folder.mkdir()
    links = page.locator("a[download]")
    assert links.count() >= 4
    for index in range(links.count()):
        with page.expect_download() as waiting:
            links.nth(index).click()
        waiting.value.save_as(folder / waiting.value.suggested_filename)
    return folder


def check_speaks(folder: Path) -> None:
    assert "Paris" in asking.answer(asking.load(folder), "What is the capital of France?")


def check_kept_both(merged: Path, real: RealModels, name: str) -> None:
    """Close to both specialists on their own kinds of text, and better than the base on both."""
    before, found = asking.known(real), asking.perplexities(merged)
    record(name, found, before)
    for kind in ("python", "scripture"):
        assert before[kind][kind] * 0.95 < found[kind] < before["base"][kind]
        assert found[kind] < before[kind][kind] * 1.15


def test_ties(page: Page, app: Running, real: RealModels, tmp_path: Path) -> None:
    page.goto(app.url)
    shot(page, "builder-empty")
    page.get_by_role("combobox", name="Method", exact=True).select_option("ties")
    for reference in ("local:models/base", "local:models/python", "local:models/scripture"):
        add(page, reference)
    for index in (1, 2):
        fill(page, f"parent.{index}.weight", "1")
        fill(page, f"parent.{index}.density", "0.5")
    page.get_by_role("switch", name="normalize").uncheck()
    expect(page.locator("#preview")).to_contain_text("normalize: false")
    merge(page, app, "ties")
    merged = download_all(page, tmp_path / "ties")
    check_speaks(merged)
    check_kept_both(merged, real, "TIES, density 0.5, weights 1.0, normalize false")


def test_slerp(page: Page, app: Running, real: RealModels, tmp_path: Path) -> None:
    page.goto(app.url)
    page.get_by_role("combobox", name="Method", exact=True).select_option("slerp")
    for reference in ("local:models/python", "local:models/scripture"):
        add(page, reference)
    fill(page, "shared.t", "0.5")
    merge(page, app, "slerp")
    merged = download_all(page, tmp_path / "slerp")
    check_speaks(merged)
    check_kept_both(merged, real, "SLERP of the two specialists, t 0.5")


def record(name: str, found: dict[str, float], measured: dict[str, dict[str, float]]) -> None:
    """Leave the numbers beside the pictures, for the README."""
    from tests.browser.conftest import SHOTS

    SHOTS.mkdir(exist_ok=True)
    path = SHOTS / "perplexities.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**kept, **measured, name: found}, indent=1, sort_keys=True))
