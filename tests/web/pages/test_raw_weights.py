"""Weights without a config on the pages: found, told what they are, checked and shared like other models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from tests.support.raw_weights import unet, write
from tests.web.pages.html import elements

DAY, NIGHT = "local:nets/day.safetensors", "local:nets/night.safetensors"
RECIPE = (
    f"merge_method: linear\nparameters: {{weight: [0.2, 0.8]}}\nmodels: [{{model: '{DAY}'}}, {{model: '{NIGHT}'}}]\n"
)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a folder of two files of weights."""
    base = unet(1)
    for name, tensors in (("day", base), ("night", unet(2, base))):
        write(tmp_path / "nets" / f"{name}.safetensors", tensors, "float16")
    return replace(settings, model_roots={"nets": tmp_path / "nets"})


def test_they_are_offered_by_file(client: TestClient) -> None:
    offered = client.get("/models/suggest", params={"q": "nets night"}).text
    refs = [one.attributes["data-ref"] for one in elements(offered) if "data-ref" in one.attributes]
    assert refs == [NIGHT]
    assert {one.attributes["value"] for one in elements(client.get("/models").text, "input", name="add")} == {
        DAY,
        NIGHT,
    }


def test_a_page_of_one_says_what_is_not_known(client: TestClient) -> None:
    page = client.get("/models/view", params={"ref": DAY}).text
    assert "Weights without a config.json" in page
    assert "<dt>layers</dt><dd>3</dd>" in page, "blocks are counted"
    told = client.get("/api/models/facts", params={"ref": DAY}).json()
    assert (told["layers"], told["config"], [file["name"] for file in told["files"]]) == (3, {}, ["day.safetensors"])


def test_the_builder_checks_and_draws_them(client: TestClient) -> None:
    page = client.post("/build", data={"action": "text", "recipe": RECIPE, "text": RECIPE}).text
    assert "no config" in page
    assert "The parents have no config.json" in page
    assert "day × night" in page
    heads = [one.attributes["data-name"] for one in elements(page, "text") if "data-name" in one.attributes]
    assert heads == ["q", "conv1", "norm"]
    assert not elements(page, "svg", **{"data-layers": "2"})
    checked = client.post("/api/recipes/check", content=RECIPE).json()
    assert "weights-only" in {one["code"] for one in checked["findings"]}
    assert checked["estimate"]["output_bytes"] > 0


def test_every_stack_is_drawn_layer_by_layer(client: TestClient, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {f"encoder.block.{at}.attn.to_{one}.weight": (8, 8) for at in range(2) for one in "qkv"}
    shapes |= {f"decoder.block.{at}.attn.to_{one}.weight": (8, 8) for at in range(3) for one in "qkv"}
    for name in ("day", "night"):
        write(tmp_path / "nets" / f"{name}.safetensors", {one: rng.normal(size=it) for one, it in shapes.items()})
    page = client.post("/build", data={"action": "text", "recipe": RECIPE, "text": RECIPE}).text
    drawn = [
        one for one in elements(page, "svg") if one.attributes.get("role") == "img" and "data-layers" in one.attributes
    ]
    assert [one.attributes["data-layers"] for one in drawn] == ["3", "2"]
    assert "encoder.block" in drawn[1].attributes["aria-label"]
    assert "encoder.block: 2 layers" in [one.text.strip() for one in elements(page, "summary")]
    masks = [one.attributes["id"] for one in elements(page, "mask")]
    assert len(masks) == len(set(masks)) == 2
