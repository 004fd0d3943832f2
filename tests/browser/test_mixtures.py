"""A mixture of experts made as a user does: from the models' page to a checkpoint with every expert in its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Running, arrived, eventually, shot
from tests.support.checkpoints import read_tensors
from tests.support.hub import StandInHub

pytestmark = pytest.mark.browser

EXPERTS = {"tiny-chat": "How are you today?\nTell me a story", "tiny-code": "def main():\nimport os"}


def test_from_an_empty_page_to_a_mixture(page: Page, app: Running, hub: StandInHub, tmp_path: Path) -> None:
    page.goto(f"{app.url}/models")
    page.get_by_role("link", name="Mix experts").click()
    arrived(page, "/mixtures$")
    _take(page, "Base model", "weavers/tiny-base")
    for at, (name, prompts) in enumerate(EXPERTS.items(), start=1):
        _take(page, "Add an expert", f"weavers/{name}")
        field = page.get_by_role("textbox", name=re.compile(f"^Prompts for it.*expert {at}, .*{name}"))
        field.fill(prompts)
    checks = page.locator("#checks")
    expect(checks).to_contain_text("attention, norms, embeddings, head")
    _its_link_waits_for_what_was_typed(page, field, prompts)
    page.get_by_label("Normal noise").check()
    expect(page.get_by_label("Seed")).to_be_visible()
    expect(checks).to_contain_text("useless without")
    expect(field).to_be_hidden()
    page.get_by_label("Token embeddings").check()
    expect(field).to_have_value(prompts)
    expect(checks).to_contain_text("parameters, a Mixtral")
    kept = re.compile("positive=.*gate_mode=cheap_embed|gate_mode=cheap_embed.*positive")
    expect(checks.get_by_role("link")).to_have_attribute("href", kept)
    shot(page, "mixture-form", full=True)
    checks.get_by_role("link").click()
    arrived(page, "gate_mode=cheap_embed")
    page.get_by_role("button", name=re.compile("Move up.*expert 2")).press("Enter")
    expect(page.locator(".expert-list li").first).to_contain_text("weavers/tiny-code")
    page.get_by_role("button", name="Make the mixture").click()
    expect(page.get_by_role("heading", name="Mixture of 2 on tiny-base")).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("Done", timeout=60_000)
    expect(page.get_by_role("img", name="attention from weavers/tiny-base")).to_be_visible()
    shot(page, "mixture-made", full=True)
    _adds_up(page, hub.repos.root, tmp_path)


def test_a_mixtures_recipe_in_the_builder_leads_to_its_form(page: Page, app: Running) -> None:
    recipe = "base_model: weavers/tiny-base\nexperts:\n" + "".join(
        f"- source_model: weavers/{name}\n  positive_prompts: [{json.dumps(prompts * 300)}]\n"
        for name, prompts in EXPERTS.items()
    )
    page.goto(app.url)
    page.get_by_role("tab", name="YAML").click()
    page.get_by_label("The recipe as YAML").fill(recipe)
    page.get_by_role("button", name="Apply", exact=True).last.click()
    expect(page.get_by_role("button", name="Open the mixture")).to_be_in_viewport()
    shot(page, "mixture-in-yaml")
    page.goto(app.url)
    page.get_by_role("button", name="Import").click()
    page.get_by_label("YAML, or a model card").fill(recipe)
    page.get_by_role("button", name="Open it").click()
    page.get_by_role("button", name="Open the mixture").click()
    expect(page.get_by_role("combobox", name="Base model")).to_have_value("weavers/tiny-base")
    expect(page.locator("#checks")).to_contain_text("too long for a link")
    expect(page.get_by_role("textbox", name=re.compile("^Prompts for it.*expert 2"))).to_have_value(
        EXPERTS["tiny-code"].replace("\n", "⏎") * 300
    )


def _its_link_waits_for_what_was_typed(page: Page, field: Locator, prompts: str) -> None:
    """Pressed right after typing, it would lead to the form without that."""
    link = page.locator("#checks").get_by_role("link")
    expect(link).to_be_visible()
    held: list[Route] = []
    page.route("**/mixtures/check", lambda route: held.append(route))
    field.fill("def typed(): ...")
    where = link.bounding_box()
    assert where is not None
    page.mouse.click(where["x"] + where["width"] / 2, where["y"] + where["height"] / 2)
    eventually(page, lambda: len(held), 1)
    expect(link).to_be_hidden()
    held[0].continue_()
    page.unroute("**/mixtures/check")
    expect(link).to_have_attribute("href", re.compile(r"def\+typed"))
    field.fill(prompts)


def _take(page: Page, field: str, name: str) -> None:
    """Type a model's name and choose it from the list."""
    page.get_by_role("combobox", name=field).fill(name)
    page.get_by_role("option", name=name).click()
    arrived(page, re.escape(name.replace("/", "%2F")))


def _adds_up(page: Page, hub: Path, folder: Path) -> None:
    """Attention is the base's, the MLPs are those of the experts in their order."""
    for name in ("config.json", "model.safetensors"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {name}").click()
        download.value.save_as(folder / name)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_local_experts"], config["num_experts_per_tok"]) == ("mixtral", 2, 2)
    made, base = read_tensors(folder), read_tensors(hub / "weavers/tiny-base")
    layer = "model.layers.3"
    np.testing.assert_array_equal(made[f"{layer}.self_attn.q_proj.weight"], base[f"{layer}.self_attn.q_proj.weight"])
    for at, name in enumerate(("tiny-code", "tiny-chat")):
        theirs = read_tensors(hub / "weavers" / name)[f"{layer}.mlp.down_proj.weight"]
        np.testing.assert_array_equal(made[f"{layer}.block_sparse_moe.experts.{at}.w2.weight"], theirs)
    gate = made[f"{layer}.block_sparse_moe.gate.weight"]
    assert gate.shape == (2, theirs.shape[0])
    assert not np.array_equal(gate[0], gate[1])
