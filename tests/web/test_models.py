"""Finding models and their facts, over the stand-in Hub and a local folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.planning.facts import ModelFacts
from app.web.model_summary import config_summary, layer_count, summary
from tests.support.checkpoints import read_tensors
from tests.support.hub import StandInHub


def test_search(online: TestClient) -> None:
    found = online.get("/api/models/search", params={"q": "loom"}).json()
    assert {model["id"] for model in found["models"]} == {"loom/base", "loom/code", "loom/prose"}
    assert found["findings"] == []
    (code,) = online.get("/api/models/search", params={"q": "code"}).json()["models"]
    assert (code["downloads"], code["licence"], code["gated"], code["private"]) == (7, "apache-2.0", False, False)


def test_a_search_for_one_kind(online: TestClient, hub: StandInHub) -> None:
    hub.add("loom/lora", {"adapter_config.json": "{}", "adapter_model.safetensors": b"12345678{}"})
    found = {
        kind: {one["id"] for one in online.get("/api/models/search", params={"q": "loom"} | kind_of).json()["models"]}
        for kind, kind_of in {"both": {}, "model": {"kind": "model"}, "adapter": {"kind": "adapter"}}.items()
    }
    assert found["adapter"] == {"loom/lora"}
    assert found["model"] == {"loom/base", "loom/code", "loom/prose"}
    assert found["both"] == found["model"] | found["adapter"]


def test_local_models_come_first(online: TestClient) -> None:
    found = online.get("/api/models/search", params={"q": "o"}).json()["models"]
    assert found[0]["id"] == "local:shelf/one"
    assert len(online.get("/api/models/search", params={"q": "o", "limit": 2}).json()["models"]) <= 3


def test_private_models_are_not_found_without_a_token(online: TestClient) -> None:
    assert online.get("/api/models/search", params={"q": "diary"}).json()["models"] == []
    answer = online.get("/api/models/facts", params={"ref": "alice/diary"})
    assert answer.status_code == 422
    assert answer.json()["findings"][0]["level"] == "error"


def test_a_hub_that_is_down_is_a_finding(online: TestClient, hub: StandInHub) -> None:
    hub.fault("status", status=503, times=None)
    answer = online.get("/api/models/search", params={"q": "one"})
    assert answer.status_code == 200
    assert [model["id"] for model in answer.json()["models"]] == ["local:shelf/one"]
    assert answer.json()["findings"][0]["level"] == "warning"


def test_facts_of_a_hub_model(online: TestClient, hub: StandInHub) -> None:
    facts = online.get("/api/models/facts", params={"ref": "loom/code"}).json()
    tensors = read_tensors(hub.repos.root / "loom/code")
    config = json.loads((hub.repos.root / "loom/code/config.json").read_text())
    assert facts["ref"] == "loom/code"
    assert facts["commit"] == hub.commit_of("loom/code")
    assert facts["parameters"] == sum(int(np.prod(one.shape)) for one in tensors.values())
    assert facts["tensors"] == len(tensors)
    assert facts["dtypes"] == ["BF16"]
    assert facts["layers"] == config["num_hidden_layers"]
    assert facts["config"]["hidden_size"] == config["hidden_size"]
    assert (facts["licence"], facts["gated"], facts["private"], facts["downloads"]) == ("apache-2.0", False, False, 7)
    sizes = {path.name: path.stat().st_size for path in (hub.repos.root / "loom/code").iterdir() if path.name[0] != "."}
    assert {file["name"]: file["size"] for file in facts["files"] if not file["name"].startswith(".")} == sizes
    fetched = max(entry.sent for entry in hub.requests("model.safetensors"))
    assert fetched < sizes["model.safetensors"]


def test_facts_of_a_local_model(online: TestClient) -> None:
    facts = online.get("/api/models/facts", params={"ref": "local:shelf/one"}).json()
    assert (facts["commit"], facts["layers"], facts["licence"]) == (None, 4, None)
    assert all(file["present"] for file in facts["files"])


@pytest.mark.parametrize(
    "ref",
    ["", "x", "nobody/nothing", "loom/code@nowhere", "http://evil.test/x", "//evil.test/x", "evil.test@x/y",
     "hf://loom/code", "file:///etc", "/etc", "~", "..", "../..", "local:", "local:nowhere/x", "local:shelf/../..",
     "local:shelf//etc", "local:/etc/passwd", "loom/code@../..", "loom\u2044code", "loom/..", "lo\x00om/code",
     "loom/code+", "a/b+c/d+e/f", "loom/co\u202ede", "x" * 500],
)  # fmt: skip
def test_bad_references_are_told_and_reach_nothing(online: TestClient, hub: StandInHub, ref: str) -> None:
    hub.forget()
    answer = online.get("/api/models/facts", params={"ref": ref})
    assert answer.status_code == 422
    (finding, *_) = answer.json()["findings"]
    assert finding["level"] == "error"
    assert finding["text"]
    assert all(
        entry.url.startswith(("/api/models/nobody/nothing", "/api/models/loom/code", "/api/models/loom/"))
        for entry in hub.seen
    )


@pytest.mark.parametrize("query", ["", "q=" + "x" * 201, "q=a&limit=0", "q=a&limit=51", "q=a&limit=x"])
def test_bad_searches(online: TestClient, query: str) -> None:
    assert online.get(f"/api/models/search?{query}").status_code == 422


def test_a_config_is_told_only_in_the_kinds_it_should_have() -> None:
    hostile = {
        "model_type": "x" * 201, "architectures": ["A"] * 9, "hidden_size": {"a": 1}, "vocab_size": 7,
        "num_hidden_layers": True, "dtype": None, "auto_map": {"AutoModel": "evil.py"}, "tie_word_embeddings": False,
    }  # fmt: skip
    assert config_summary(hostile) == {"vocab_size": 7, "num_hidden_layers": True, "tie_word_embeddings": False}
    assert layer_count(hostile) is None
    nested = {
        "model_type": "gemma3",
        "text_config": {"num_hidden_layers": 34, "hidden_size": 2560, "model_type": "inner"},
    }
    assert config_summary(nested) == {"model_type": "gemma3", "num_hidden_layers": 34, "hidden_size": 2560}
    assert layer_count(nested) == 34
    assert config_summary({"text_config": [1]}) == {}


def test_a_summary_is_json() -> None:
    assert json.loads(json.dumps(summary(ModelFacts("a/b", {}, {}, ()))))["parameters"] == 0
