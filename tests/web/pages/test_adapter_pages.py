"""A model with an adapter on it: in the API, on its page, and on its card in the builder."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.jobs.models import Job
from app.recipe.reading import read_recipe
from app.web.pages.job_parents import job_parents
from tests.support.adapters import factors, write_adapter
from tests.support.hub import StandInHub
from tests.web.pages.html import elements, one

Q = "model.layers.1.self_attn.q_proj"
REF = "loom/base+local:shelf/lora"
LIVE = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def lora(online: TestClient, tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "shelf/lora", factors(Q, 32, 32, rank=3), r=3)


def test_the_api_tells_of_model_and_adapter(online: TestClient, hub: StandInHub) -> None:
    facts = online.get("/api/models/facts", params={"ref": REF}).json()
    assert facts["commit"] == hub.commit_of("loom/base")
    about = {"ref": "local:shelf/lora", "commit": None, "licence": None, "about": "LoRA of rank 3 on q"}
    assert facts["adapter"] == about
    assert online.get("/api/models/facts", params={"ref": "loom/base"}).json()["adapter"] is None


def test_the_models_page_names_the_adapter(online: TestClient) -> None:
    page = online.get("/models/view", params={"ref": REF}).text
    assert "LoRA of rank 3 on q" in page
    assert elements(page, "a", href="/models/view?ref=local%3Ashelf/lora")


def test_an_adapters_own_page_says_what_it_is_and_shows_its_settings(online: TestClient) -> None:
    page = online.get("/models/view", params={"ref": "local:shelf/lora"}).text
    assert "not a model by itself" in one(page, "main", id="main").text
    assert {"peft_type", "r", "lora_alpha"} <= {head.text for head in elements(page, "th", scope="row")}


def test_an_adapter_whose_settings_cannot_be_read_has_a_page_without_them(online: TestClient, lora: Path) -> None:
    (lora / "adapter_config.json").write_text("{nothing")
    page = online.get("/models/view", params={"ref": "local:shelf/lora"}).text
    assert not elements(page, "section", **{"aria-labelledby": "config"})


def test_a_card_keeps_the_reference_and_tells_what_the_adapter_touches(online: TestClient) -> None:
    recipe = f"merge_method: linear\nmodels:\n- {{model: {REF}, parameters: {{weight: 1}}}}\n"
    page = online.post("/build", data={"action": "add", "add": REF}).text
    assert one(page, "input", name="parent.0").attributes["value"] == REF
    answer = online.post("/build/check", data={"recipe": recipe}, headers=LIVE).text
    assert "LoRA of rank 3 on q" in answer


def test_a_job_names_both(online: TestClient) -> None:
    recipe = f"merge_method: passthrough\nmodels: [{{model: {REF}}}]\n"
    assert read_recipe(recipe).recipe is not None
    assert [parent.name for parent in job_parents(Job(recipe=recipe))] == ["loom/base + local:shelf/lora"]
