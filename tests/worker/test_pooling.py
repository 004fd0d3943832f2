"""An embedding model merged, from a folder and from the Hub: the folder it gives has what its parents' have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import LocalRoots
from app.storage.local import read_manifest
from tests.support.checkpoints import write_file
from tests.support.hub import StandInHub
from tests.support.tiny_models import make_tiny
from tests.worker.quiet import local, merged

RECIPE = """\
merge_method: linear
models:
- {model: 'WHERE/one', parameters: {weight: 1}}
- {model: 'WHERE/two', parameters: {weight: 1}}
"""
OWN = "sentence_transformers.models."
BESIDE = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{OWN}Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{OWN}Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{OWN}Dense"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_cls_token": True},
    "2_Dense/config.json": {"in_features": 32, "out_features": 8, "activation_function": "torch.nn.Tanh"},
    "config_sentence_transformers.json": {"prompts": {"query": "Find: "}, "similarity_fn_name": "cosine"},
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    base = make_tiny(tmp_path / "models" / "one", seed=1, layers=1)
    make_tiny(tmp_path / "models" / "two", seed=2, base=base)
    for seed, name in enumerate(("one", "two")):
        for file, content in BESIDE.items():
            path = tmp_path / "models" / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
        dense = np.random.default_rng(seed).normal(size=(8, 32)).astype(np.float32)
        write_file(tmp_path / "models" / name / "2_Dense" / "model.safetensors", {"linear.weight": dense}, "float32")
        (tmp_path / "models" / name / "2_Dense" / "run_me.py").write_text("raise SystemExit")
    return tmp_path / "models"


def check(out: Path, models: Path) -> None:
    assert {name: json.loads((out / name).read_text()) for name in BESIDE} == BESIDE
    dense = "2_Dense/model.safetensors"
    assert (out / dense).read_bytes() == (models / "one" / dense).read_bytes()
    assert not list(out.rglob("*.py"))
    manifest = read_manifest(out)
    assert manifest is not None and {*BESIDE, dense} <= {file.name for file in manifest.files}


def test_from_a_folder(models: Path, tmp_path: Path) -> None:
    library = local(models)
    plan = merged(RECIPE.replace("WHERE", "local:models"), library, tmp_path)
    library.close()
    assert [one.code for one in plan.findings if one.level == "warning"] == ["step-not-merged"]
    check(tmp_path / "out", models)


def test_from_the_hub(models: Path, tmp_path: Path) -> None:
    with StandInHub(tmp_path / "hub") as hub:
        for name in ("one", "two"):
            paths = [path for path in (models / name).rglob("*") if path.is_file()]
            hub.add(f"org/{name}", {path.relative_to(models / name).as_posix(): path.read_bytes() for path in paths})
        library = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({}))
        merged(RECIPE.replace("WHERE", "org"), library, tmp_path)
        library.close()
        asked = {entry.url.rpartition("/2_Dense/")[2] for entry in hub.requests("2_Dense")}
    check(tmp_path / "out", models)
    assert "run_me.py" not in asked
