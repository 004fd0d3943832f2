"""What is told of a fine-tune and its base before an adapter is extracted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.adapting.wanted import read_extract
from app.library.facts import Library
from app.preadapt import Preextract, preextract
from app.recipe.findings import Refused
from tests.support.adapters import factors, write_adapter
from tests.support.tiny_models import make_tiny
from worker.lora.extracting import extract
from worker.lora.making import opened


@pytest.fixture(autouse=True)
def models(tmp_path: Path) -> None:
    base = make_tiny(tmp_path / "base", seed=1, layers=2)
    make_tiny(tmp_path / "tuned", seed=2, base=base)
    make_tiny(tmp_path / "deep", seed=3, layers=6)
    make_tiny(tmp_path / "wide", seed=3, layers=2, hidden=64)
    write_adapter(tmp_path / "lora", factors("model.layers.0.self_attn.q_proj", 32, 32, 2), r=2)


def look(library: Library, tuned: str = "tuned", base: str = "base", **wish: Any) -> Preextract:
    names = [f"local:d/{one}".replace("+", "+local:d/") for one in (tuned, base)]
    return preextract(read_extract(*names, **{"rank": 4, **wish}), library)


@pytest.mark.parametrize("wish", [{}, {"modules": ["q_proj", "up_proj"]}, {"whole": False, "rank": 100}])
def test_the_outline_is_what_the_extraction_gives(wish: dict[str, Any], library: Library) -> None:
    """Everything changed, so what is said to be the most comes true."""
    looked = look(library, **wish)
    with opened(looked.parents, [library.folder(one) for one in looked.parents.with_adapters]) as sources:
        made = extract(*looked.parents.facts, sources, looked.wanted.wish, lambda *_: None)
    assert looked.outline.ranks == made.ranks
    assert looked.outline.output_bytes == pytest.approx(len(made.files["adapter_model.safetensors"]), rel=0.25)
    settings = json.loads(made.files["adapter_config.json"])
    assert bool(settings["modules_to_save"]) == bool(made.saved) == wish.get("whole", True)
    assert settings["target_modules"] == sorted(wish.get("modules", settings["target_modules"]))


def test_what_is_worth_knowing(library: Library) -> None:
    told = {one.code: one.text for one in look(library, modules=["q_proj"]).findings}
    assert "down_proj, gate_proj, k_proj" in told["modules-left-out"]
    assert "embed_tokens" in told["saved-whole"]
    assert {one.code for one in look(library, whole=False).findings} == {"whole-left-out"}
    assert look(library, tuned="base+lora", whole=False).outline.ranks


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"tuned": "gone"}, "model-not-found"),
        ({"tuned": "lora"}, "adapter-alone"),
        ({"tuned": "base"}, "model-twice"),
        ({"tuned": "deep"}, "different-architecture"),
        ({"tuned": "wide"}, "shape-mismatch"),
        ({"modules": ["q_porj"]}, "no-such-module"),
        ({"rank": 0}, "bad-rank"),
        ({"max_error": 2}, "bad-error"),
        ({"dtype": "int4"}, "bad-dtype"),
    ],
)
def test_what_cannot_be_extracted(words: dict[str, Any], code: str, library: Library) -> None:
    with pytest.raises(Refused) as caught:
        look(library, **words)
    assert {one.code for one in caught.value.findings} == {code}
    assert all(one.fix for one in caught.value.findings)


def test_both_models_must_be_named() -> None:
    for names in (("", "a/b"), ("a/b", " ")):
        with pytest.raises(Refused, match="needs a fine-tune and the model"):
            read_extract(*names, rank=4)


def test_what_is_wanted_survives_the_jobs_row() -> None:
    wanted = read_extract("a/b+c/d", "a/b", rank=4, max_error=0.1, modules=["q_proj", ""], whole=False, seed=3)
    assert type(wanted).of_params(json.loads(json.dumps(wanted.as_params()))) == wanted
    assert wanted.wish.modules == ("q_proj",)
