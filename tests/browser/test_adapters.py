"""Two real adapters made into one as a user does: from the models' page to files that add up."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running, shot
from tests.support.adapters import product
from tests.support.checkpoints import read_tensors
from tests.support.real_models import ADAPTERS

pytestmark = [pytest.mark.browser, pytest.mark.real]

MODULE = "base_model.model.model.layers.12.self_attn.q_proj"
SCALE = 2
"""alpha 16 / rank 8, of both."""


def test_two_adapters_become_one(page: Page, app: Running, tmp_path: Path) -> None:
    page.goto(f"{app.url}/models")
    page.get_by_role("link", name="Merge adapters").click()
    for name in ("python", "scripture"):
        page.get_by_role("combobox").fill(f"adapters/{name}")
        page.get_by_role("option", name=f"local:adapters/{name}").click()
        expect(page.locator(".compare-models")).to_contain_text(name)
    checks = page.locator("#checks")
    expect(checks).to_contain_text("All adapters say they were made for HuggingFaceTB/SmolLM2-135M-Instruct.")
    expect(page.get_by_label("Density")).to_be_hidden()
    page.get_by_label("TIES", exact=False).first.check()
    expect(page.get_by_label("Density")).to_be_visible()
    page.get_by_label("Exact sum").check()
    expect(page.get_by_label("Rank of the result")).to_be_hidden()
    page.get_by_label("weight of local:adapters/scripture").fill("0.5")
    page.get_by_label("weight of local:adapters/scripture").press("Tab")
    expect(checks.get_by_role("link")).to_have_attribute("href", re.compile("weight=0.5&method=cat"))
    shot(page, "adapters", full=True)
    checks.get_by_role("link").click()
    expect(page.get_by_label("weight of local:adapters/scripture")).to_have_value("0.5")
    page.get_by_role("button", name="Merge the adapters").click()
    expect(page.get_by_role("heading", name="python and scripture by cat")).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=60_000)
    expect(page.locator("#log")).to_contain_text("210 modules of rank 16")
    _files_add_up(page, tmp_path)
    page.get_by_text("Load it with PEFT").click()
    expect(page.locator("#snippet-load")).to_contain_text("PeftModel.from_pretrained")
    shot(page, "adapter-made", full=True)


def test_a_fine_tune_gives_its_adapter_back(page: Page, app: Running, tmp_path: Path) -> None:
    """The Python specialist is the base with an adapter of rank 8 in bfloat16, so rank 8 holds nearly all of it."""
    page.goto(f"{app.url}/adapters")
    page.get_by_role("link", name="Make one out of a fine-tune").click()
    for field, name in (("Fine-tune", "python"), ("Its base", "base")):
        page.get_by_role("combobox", name=field).fill(f"models/{name}")
        page.get_by_role("option", name=f"local:models/{name}").click()
        expect(page.get_by_role("combobox", name=field)).to_have_value(f"local:models/{name}")
    expect(page.locator("#checks")).to_contain_text("saved whole where they changed")
    page.get_by_label("Only these layers").fill("q_proj")
    page.get_by_label("Rank, at most").fill("8")
    page.get_by_label("What no low rank fits").select_option("leave it out")
    expect(page.locator("#checks")).to_contain_text("8 on 30")
    shot(page, "extract", full=True)
    page.get_by_role("button", name="Make the adapter").click()
    expect(page.get_by_role("heading", name="LoRA of python on base")).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=60_000)
    expect(page.locator("#outcome")).to_contain_text("LoRA on 30 modules.")
    got, wanted = _downloaded(page, tmp_path), SCALE * product(read_tensors(ADAPTERS / "python"), MODULE)
    assert np.linalg.norm(got - wanted) < 0.1 * np.linalg.norm(wanted), "but for the rounding of the weights"


def _files_add_up(page: Page, folder: Path) -> None:
    python, scripture = (SCALE * product(read_tensors(ADAPTERS / name), MODULE) for name in ("python", "scripture"))
    wanted = python + 0.5 * scripture
    np.testing.assert_allclose(_downloaded(page, folder), wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def _downloaded(page: Page, folder: Path) -> np.ndarray:
    """What the result adds to one module."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Download adapter_model.safetensors").click()
    download.value.save_as(folder / "adapter_model.safetensors")
    return product(read_tensors(folder), MODULE)
