"""Models on disk: what is listed, what a reference reaches, and what it never does."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from app.recipe.findings import Refused
from app.recipe.schema import ModelRef
from tests.support.tiny_models import make_tiny


@pytest.fixture
def roots(tmp_path: Path) -> LocalRoots:
    make_tiny(tmp_path / "models" / "family" / "small", seed=1, layers=1)
    make_tiny(tmp_path / "models" / "big", seed=2, layers=1)
    (tmp_path / "models" / "notes").mkdir()
    (tmp_path / "models" / "notes" / "config.json").write_text("{}")
    (tmp_path / "secret").mkdir()
    make_tiny(tmp_path / "secret" / "model", seed=3, layers=1)
    make_tiny(tmp_path / "single", seed=4, layers=1)
    return LocalRoots({"disk": tmp_path / "models", "one": tmp_path / "single", "gone": tmp_path / "absent"})


def code(refused: pytest.ExceptionInfo[Refused]) -> str:
    return refused.value.findings[0].code


def test_models_are_listed_with_their_references(roots: LocalRoots) -> None:
    assert tuple(roots.models()) == ("local:disk/big", "local:disk/family/small", "local:one")


@pytest.mark.parametrize(
    ("files", "is_adapter"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], True),
        (["adapter_config.json", "adapter_model.safetensors", "config.json"], True),
        (["adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors"], False),
        (["config.json", "model-00001-of-00002.safetensors"], False),
    ],
)
def test_models_and_adapters_are_told_apart(tmp_path: Path, files: list[str], is_adapter: bool) -> None:
    (tmp_path / "one").mkdir()
    for name in files:
        (tmp_path / "one" / name).touch()
    library = Library(None, LocalRoots({"disk": tmp_path}))
    assert [(hit.id, hit.adapter) for hit in library.search("one").models] == [("local:disk/one", is_adapter)]
    assert len(library.search("one", adapters=is_adapter).models) == 1
    assert library.search("one", adapters=not is_adapter).models == ()


def test_a_listing_survives_links_in_circles_and_out(roots: LocalRoots, tmp_path: Path) -> None:
    (tmp_path / "models" / "loop").symlink_to(tmp_path / "models")
    (tmp_path / "models" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "models" / "unreadable").mkdir(mode=0)
    deep = tmp_path / "models" / "/".join(f"d{n}" for n in range(9))
    make_tiny(deep / "model", seed=5, layers=1)
    assert tuple(roots.models()) == ("local:disk/big", "local:disk/family/small", "local:one")


def test_references_reach_their_folder(roots: LocalRoots, tmp_path: Path) -> None:
    assert roots.resolve("local:disk/family/small") == tmp_path / "models" / "family" / "small"
    assert roots.resolve("local:one") == tmp_path / "single"


def test_a_link_inside_the_root_is_fine(roots: LocalRoots, tmp_path: Path) -> None:
    (tmp_path / "models" / "alias").symlink_to("family/small")
    assert roots.resolve("local:disk/alias") == tmp_path / "models" / "family" / "small"


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("../secret/model", "bad-local-path"),
        ("family/../../secret/model", "bad-local-path"),
        ("./big", "bad-local-path"),
        ("/etc", "bad-local-path"),
        ("big/", "bad-local-path"),
        ("big//x", "bad-local-path"),
        ("..", "bad-local-path"),
        ("big\0", "bad-local-path"),
        ("big\nx", "bad-local-path"),
        ("..\\secret", "bad-local-path"),
        ("C:\\Windows", "bad-local-path"),
        ("\u202egib", "bad-local-path"),
        ("out/model", "outside-root"),
        ("sly", "outside-root"),
        ("absent", "model-not-found"),
        ("notes/config.json", "model-not-found"),
        ("~", "model-not-found"),
    ],
)
def test_nothing_outside_the_root_is_reached(roots: LocalRoots, tmp_path: Path, inside: str, expected: str) -> None:
    (tmp_path / "models" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "models" / "sly").symlink_to("../secret/model")
    with pytest.raises(Refused) as refused:
        roots.resolve(f"local:disk/{inside}")
    assert code(refused) == expected
    assert str(tmp_path) not in str(refused.value)


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models-private").mkdir()
    (tmp_path / "models" / "out").symlink_to("../models-private")
    with pytest.raises(Refused) as refused:
        LocalRoots({"disk": tmp_path / "models"}).resolve("local:disk/out")
    assert code(refused) == "outside-root"


def test_a_root_may_itself_be_a_link(tmp_path: Path) -> None:
    make_tiny(tmp_path / "really" / "model", seed=1, layers=1)
    (tmp_path / "link").symlink_to("really")
    roots = LocalRoots({"disk": tmp_path / "link"})
    assert tuple(roots.models()) == ("local:disk/model",)
    assert roots.resolve("local:disk/model") == tmp_path / "really" / "model"


def test_typos_get_a_suggestion(roots: LocalRoots) -> None:
    with pytest.raises(Refused) as refused:
        roots.resolve("local:dsk/big")
    assert (code(refused), refused.value.findings[0].fix) == ("unknown-root", 'Did you mean "disk"?')
    with pytest.raises(Refused) as refused:
        roots.resolve("local:disk/bigg")
    assert refused.value.findings[0].fix == 'Did you mean "local:disk/big"?'
    with pytest.raises(Refused) as refused:
        LocalRoots({}).resolve("local:disk/big")
    assert "WEIGHTLOOM_MODEL_ROOTS" in refused.value.findings[0].fix


def test_a_new_model_shows_up_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.hub.fading.time.monotonic", lambda: clock[0])
    roots = LocalRoots({"disk": tmp_path})
    assert tuple(roots.models()) == ()
    make_tiny(tmp_path / "fresh", seed=1, layers=1)
    clock[0] = 6.0
    assert tuple(roots.models()) == ("local:disk/fresh",)
    (tmp_path / "fresh").rename(tmp_path / "renamed")
    assert tuple(roots.models()) == ("local:disk/fresh",)
    clock[0] = 12.0
    assert tuple(roots.models()) == ("local:disk/renamed",)


def test_tokenizers_of_two_folders_can_be_compared(tmp_path: Path) -> None:
    one = make_tiny(tmp_path / "one", seed=1)
    make_tiny(tmp_path / "two", seed=2, base=one)
    library = Library(None, LocalRoots({"models": tmp_path}))
    facts = [library.facts(ModelRef(f"local:models/{name}")) for name in ("one", "two")]
    ids = [{file.name: (file.sha256, file.oid) for file in each.files}["tokenizer.json"] for each in facts]
    content = (one / "tokenizer.json").read_bytes()
    assert ids[0] == ids[1]
    assert ids[0][0] == hashlib.sha256(content).hexdigest()
    described = subprocess.run(
        ["git", "hash-object", one / "tokenizer.json"], capture_output=True, text=True, check=True
    )
    assert ids[0][1] == described.stdout.strip()


def test_unlisted_roots_are_found_by_name_alone(tmp_path: Path) -> None:
    for name in ("mine", "made"):
        (tmp_path / name / "x").mkdir(parents=True)
        (tmp_path / name / "x" / "config.json").write_text("{}")
        (tmp_path / name / "x" / "model.safetensors").write_text("")
    roots = LocalRoots({"disk": tmp_path / "mine"}, {"results": tmp_path / "made"})
    assert tuple(roots.models()) == ("local:disk/x",)
    assert roots.resolve("local:results/x") == tmp_path / "made/x"
    with pytest.raises(Refused) as caught:
        roots.resolve("local:resluts/x")
    assert "results" not in caught.value.findings[0].fix
    with pytest.raises(Refused):
        roots.resolve("local:results/../mine/x")
    both = LocalRoots({"results": tmp_path / "mine"}, {"results": tmp_path / "made"})
    assert both.resolve("local:results/x") == tmp_path / "mine/x"
