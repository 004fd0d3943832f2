"""Checking a recipe: findings and costs from headers alone, and hostile texts that cost nothing."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.recipe.safe_yaml import MAX_BYTES
from app.settings import Settings
from app.web.limits import MAX_BODY
from tests.support.hub import StandInHub
from tests.web.conftest import browser

TIES = """
merge_method: ties
base_model: loom/base
models:
  - model: loom/code
    parameters: {weight: 0.5, density: 0.6}
  - model: loom/prose
    parameters: {weight: 0.5, density: 0.6}
dtype: bfloat16
"""
COSTS = {"parameters", "output_bytes", "download_bytes", "peak_memory_bytes", "disk_bytes", "seconds", "basis"}


def check(client: TestClient, text: str | bytes, query: str = ""):
    return client.post(f"/api/recipes/check{query}", content=text, headers={"Content-Type": "application/yaml"})


def errors(answer) -> list[str]:
    return [one["code"] for one in answer.json()["findings"] if one["level"] == "error"]


def test_a_good_recipe(online: TestClient, hub: StandInHub) -> None:
    answer = check(online, TIES)
    assert (answer.status_code, errors(answer)) == (200, [])
    costs = answer.json()["estimate"]
    assert set(costs) == COSTS
    weights = (hub.repos.root / "loom/base/model.safetensors").stat().st_size
    assert costs["parameters"] == online.get("/api/models/facts?ref=loom/base").json()["parameters"]
    assert weights <= costs["output_bytes"] < 2 * weights
    assert costs["download_bytes"] >= 3 * weights
    assert costs["disk_bytes"] >= costs["output_bytes"] + costs["download_bytes"]
    assert costs["seconds"] > 0
    assert costs["peak_memory_bytes"] > 0
    assert max(entry.sent for entry in hub.requests("model.safetensors")) < weights


def test_the_content_type_does_not_matter(online: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        answer = online.post("/api/recipes/check", content=TIES, headers={"Content-Type": kind})
        assert errors(answer) == []


def test_json_is_yaml_too(online: TestClient) -> None:
    recipe = {"merge_method": "linear", "models": [{"model": "local:shelf/one", "parameters": {"weight": 1}}]}
    assert errors(check(online, json.dumps(recipe))) == []


@pytest.mark.parametrize(
    ("change", "code_word"),
    [(("ties", "tise"), "ties"), (("density", "densty"), "density"), (("loom/code", "loom/cod"), "loom/cod")],
)
def test_mistakes_are_findings_with_advice(online: TestClient, change: tuple[str, str], code_word: str) -> None:
    answer = check(online, TIES.replace(*change))
    assert answer.status_code == 200
    problems = [one for one in answer.json()["findings"] if one["level"] in ("error", "warning")]
    assert any(code_word in one["text"] + one["fix"] for one in problems), problems


@pytest.mark.parametrize(
    "text", ["", "   \n", "null", "[]", "7", "'text'", "merge_method: ties", "a: b: c", "{", "models: 1"]
)
def test_what_is_no_recipe(online: TestClient, text: str) -> None:
    answer = check(online, text)
    assert (answer.status_code, answer.json()["estimate"]) == (200, None)
    assert errors(answer)


HOSTILE = {
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)),
    "merge key bomb": "a: &a {x: 1}\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{','.join(['*' + chr(97 + n)] * 10)}]}}\n" for n in range(9)),
    "deep list": "models: " + "[" * 30_000,
    "deep map": "models: " + "{a: " * 30_000,
    "deep indent": "\n".join(" " * n + "a:" for n in range(400)),
    "deep dashes": "- " * 60_000,
    "python tag": "!!python/object/apply:os.system ['touch hacked']",
    "any tag": "merge_method: !!binary aGk=",
    "many slices": "merge_method: passthrough\nslices:\n"
    + "".join("- sources: [{model: a/b, layer_range: [0, 1]}]\n" for _ in range(5000)),
    "duplicate keys": "merge_method: ties\nmerge_method: linear\nmodels: []",
    "NUL": "merge_method: ties\0",
    "long scalar": "name: " + "x" * 250_000,
    "long number": "dtype: " + "9" * 100_000,
    "many documents": "---\na: 1\n" * 20_000,
    "long key": "? " + "k" * 200_000 + "\n: 1",
    "sexagesimal": "a: " + "1:" * 25_000 + "1",
    "escapes": 'name: "' + "\\x41" * 50_000 + '"',
    "directive": "%YAML 9.9\n%TAG ! tag:evil,2026:\n---\n!x y",
    "surrogate": 'name: "\\ud800"',
    "infinity": "merge_method: linear\nmodels: [{model: a/b, parameters: {weight: .inf}}]",
    "number bomb": "merge_method: linear\nmodels: [{model: a/b, parameters: {weight: 1e999999999}}]",
    "hostile reference": "merge_method: linear\nmodels: [{model: 'http://169.254.169.254/x', parameters: {weight: 1}}]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_answered_at_once(online: TestClient, hub: StandInHub, name: str) -> None:
    """F30: an error within a second (two on a busy machine), and the server stays up. Nothing is asked of anybody."""
    started = time.process_time()
    answer = check(online, HOSTILE[name])
    assert time.process_time() - started < 2
    assert answer.status_code == 200
    assert errors(answer)
    assert len(answer.content) < 100_000
    handed_in = online.post("/api/jobs", json={"recipe": HOSTILE[name]})
    assert handed_in.status_code == 422
    assert errors(handed_in)
    assert online.get("/api/jobs").json()["total"] == 0
    assert not hub.requests("169.254")


@pytest.mark.parametrize("text", [b"\xff\xfea\x00", b"name: \xe9", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_text_that_is_not_utf_8(online: TestClient, text: bytes) -> None:
    answer = check(online, text)
    assert (answer.status_code, errors(answer)) == (422, ["not-utf-8"])


def test_too_long_a_text(online: TestClient) -> None:
    """What the server takes at all is told to be too long for a recipe; what is longer still is not read."""
    told = check(online, "#" * (MAX_BYTES + 1))
    assert (told.status_code, errors(told)) == (200, ["recipe-too-long"])
    assert check(online, "#" * (MAX_BODY + 1)).status_code == 413


@pytest.mark.parametrize("seed", ["-1", str(2**63), "x", "1.5", "1e3"])
def test_bad_seeds(online: TestClient, seed: str) -> None:
    assert check(online, TIES, f"?seed={seed}").status_code == 422
    assert online.post("/api/jobs", json={"recipe": TIES, "seed": seed}).status_code == 422


def test_a_server_may_refuse_large_results(with_hub: Settings) -> None:
    with browser(create_app(replace(with_hub, max_parameters=1000))) as client:
        answer = check(client, TIES)
        assert errors(answer) == ["too-many-parameters"]
        assert "at most 1K" in answer.json()["findings"][0]["text"]
        assert client.post("/api/jobs", json={"recipe": TIES}).status_code == 422


def test_a_full_disk_is_told_before_anything_is_fetched(online: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    answer = check(online, TIES)
    assert errors(answer) == ["disk-full"]
    assert "1.00 kB are free" in answer.json()["findings"][0]["text"]
    assert online.post("/api/jobs", json={"recipe": TIES}).status_code == 422
