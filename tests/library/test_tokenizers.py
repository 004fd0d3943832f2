"""tokenizer.json is read for recipes that join vocabularies, and for no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.headers import MAX_TEXT
from app.preflight import gather_facts
from app.recipe.findings import Refused
from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, Recipe
from tests.support.hub import StandInHub
from tests.support.tiny_models import make_tiny

MODELS = "models: [{model: alice/one}, {model: alice/two}]\n"
LINEAR = f"merge_method: linear\nparameters: {{weight: 1}}\n{MODELS}"


def recipe(more: str) -> Recipe:
    reading = read_recipe(LINEAR + more)
    assert reading.recipe is not None
    return reading.recipe


@pytest.fixture
def models(hub: StandInHub) -> Path:
    make_tiny(hub.repos.root / "alice/one", seed=1, layers=2)
    make_tiny(hub.repos.root / "alice/two", seed=2, layers=2, vocab=400)
    return hub.repos.root / "alice"


@pytest.mark.parametrize("more", ["", "tokenizer_source: union\n"])
def test_read_only_when_vocabularies_are_joined(library: Library, models: Path, more: str) -> None:
    facts, problems = gather_facts(recipe(more), library, None)
    assert not problems
    for ref, known in facts.items():
        text = (models / ref.name.removeprefix("alice/") / "tokenizer.json").read_text()
        assert known.texts.get("tokenizer.json") == (text if more else None)


def test_not_read_when_all_are_the_same(library: Library, models: Path) -> None:
    shutil.rmtree(models / "two")
    make_tiny(models / "two", seed=2, layers=2)
    facts, _ = gather_facts(recipe("tokenizer_source: union\n"), library, None)
    assert not any("tokenizer.json" in known.texts for known in facts.values())


def test_a_tokenizer_that_changed_on_disk_is_read_again(library: Library, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "models" / "one", seed=1, layers=2)
    ref = ModelRef("local:disk/one")
    before = library.with_tokenizer(ref, library.facts(ref)).texts["tokenizer.json"]
    (folder / "tokenizer.json").write_text("{}\n")
    assert before != library.with_tokenizer(ref, library.facts(ref)).texts["tokenizer.json"] == "{}\n"


def test_a_model_without_one_stays_as_it_is(library: Library, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "models" / "one", seed=1, layers=2)
    (folder / "tokenizer.json").unlink()
    facts = library.facts(ModelRef("local:disk/one"))
    assert library.with_tokenizer(ModelRef("local:disk/one"), facts) is facts


@pytest.mark.parametrize(("content", "code"), [(b"\xff\xfe", "bad-config"), (None, "file-too-large")])
def test_a_tokenizer_that_cannot_be_one_is_refused(
    library: Library, tmp_path: Path, content: bytes | None, code: str
) -> None:
    path = make_tiny(tmp_path / "models" / "one", seed=1, layers=2) / "tokenizer.json"
    path.write_bytes(content or b"")
    if content is None:
        with path.open("r+b") as file:
            file.truncate(MAX_TEXT + 1)
    ref = ModelRef("local:disk/one")
    with pytest.raises(Refused) as refused:
        library.with_tokenizer(ref, library.facts(ref))
    assert refused.value.findings[0].code == code
    assert "local:disk/one" in refused.value.findings[0].where
