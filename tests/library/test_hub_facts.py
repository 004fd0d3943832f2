"""Facts of models on the Hub: the same as of a folder, for a few kilobytes and a few requests; who may see what."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from app.hub.client import HubClient
from app.library.facts import ASK_AGAIN, Library
from app.library.local import LocalRoots
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef
from tests.library.conftest import ALICE, BOB
from tests.support.hub import StandInHub
from tests.support.tiny_models import make_tiny

MODEL = ModelRef("alice/model")


def code(library: Library, ref: ModelRef, token: str | None = None) -> str:
    with pytest.raises(Refused) as refused:
        library.facts(ref, token)
    (finding,) = refused.value.findings
    assert finding.text
    assert finding.fix
    assert ref.name in finding.where
    return finding.code


@pytest.mark.parametrize("shards", [1, 4])
def test_facts_are_those_of_the_folder(library: Library, hub: StandInHub, tmp_path: Path, shards: int) -> None:
    folder = make_tiny(hub.repos.root / "alice/model", seed=1, shards=shards)
    shutil.copytree(folder, tmp_path / "models" / "model")
    hub.repos.set_meta("alice/model", tags=["license:mit", "base_model:a/b", "base_model:finetune:a/b"], downloads=7)
    remote, local = library.facts(MODEL), library.facts(ModelRef("local:disk/model"))
    assert (remote.config, remote.tensors, remote.texts) == (local.config, local.tensors, local.texts)
    assert {file.name: file.size for file in remote.files} == {file.name: file.size for file in local.files}
    assert (remote.ref, remote.commit) == ("alice/model", hub.commit_of("alice/model"))
    assert (remote.licence, remote.base_models, remote.downloads) == ("mit", ("a/b",), 7)
    assert not any(file.present for file in remote.files)
    for file in remote.files:
        if file.name.endswith(".safetensors"):
            assert file.sha256 == hashlib.sha256((folder / file.name).read_bytes()).hexdigest()


def test_only_headers_travel(library: Library, hub: StandInHub) -> None:
    """A model of eight shards of 2.5 MB: one request for the list, and one a file that is read."""
    folder = hub.repos.root / "alice/model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(" " * 300_000)
    names = [f"model-{number:05}-of-00008.safetensors" for number in range(1, 9)]
    for number, name in enumerate(names):
        weights = {f"layers.{number}.{index}": np.zeros((512, 512), np.float32) for index in range(10)}
        (folder / name).write_bytes(save(weights))
    weight_map = {f"layers.{number}.{index}": names[number] for number in range(8) for index in range(10)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    facts = library.facts(MODEL)
    assert facts.parameters == 8 * 10 * 512 * 512
    assert len(hub.seen) == 1 + 2 + 8
    assert hub.sent < 300_000
    assert not hub.requests("tokenizer.json")
    hub.forget()
    library.facts(MODEL)
    assert not hub.seen


def test_a_long_header_takes_a_second_request(library: Library, hub: StandInHub) -> None:
    tensors = {f"model.layers.{n}.some.rather.long.name.weight": np.zeros((1, 1), np.float32) for n in range(900)}
    hub.add("alice/model", {"config.json": "{}", "model.safetensors": save(tensors)})
    assert set(library.facts(MODEL).tensors) == set(tensors)
    assert [entry.status for entry in hub.requests("model.safetensors")] == [206, 206]


def test_a_reference_is_pinned_to_what_was_read(library: Library, hub: StandInHub) -> None:
    make_tiny(hub.repos.root / "alice/model", seed=1, layers=1)
    first = library.facts(MODEL)
    pinned = library.pin(MODEL, first)
    assert str(pinned) == f"alice/model@{first.commit}"
    hub.add("alice/model", {"config.json": '{"moved": true}'})
    assert "moved" not in library.facts(pinned).config
    adapted = ModelRef("alice/model", adapter=ModelRef("alice/lora"))
    assert library.pin(adapted, first).adapter == ModelRef("alice/lora")


def test_a_moved_branch_is_noticed_after_a_while(
    library: Library, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.hub.fading.time.monotonic", lambda: clock[0])
    make_tiny(hub.repos.root / "alice/model", seed=1, layers=1)
    before = library.facts(MODEL).commit
    after = hub.add("alice/model", {"config.json": '{"moved": true}'})
    assert library.facts(MODEL).commit == before != after
    clock[0] = ASK_AGAIN + 1
    assert library.facts(MODEL).commit == after


def test_branches_and_commits_are_read(library: Library, hub: StandInHub) -> None:
    make_tiny(hub.repos.root / "alice/model", seed=1, layers=1)
    other = hub.repos.commit("alice/model", {"config.json": b'{"branch": 1}'}, branch="try")
    assert library.facts(parse_reference("alice/model@try")).config == {"branch": 1}
    assert library.facts(parse_reference(f"alice/model@{other}")).config == {"branch": 1}
    assert code(library, parse_reference("alice/model@nowhere")) == "revision-not-found"


def test_what_the_cache_holds_is_not_fetched(library: Library, hub: StandInHub) -> None:
    make_tiny(hub.repos.root / "alice/model", seed=1, shards=2)
    facts = library.facts(MODEL)
    assert library.hub is not None
    assert facts.commit is not None
    for file in facts.files:
        library.hub.download("alice/model", facts.commit, file)
    assert all(file.present for file in library.facts(MODEL).files)
    another = Library(HubClient(hub.endpoint, library.hub.cache.root), LocalRoots({}))
    hub.forget()
    assert another.facts(MODEL).tensors == facts.tensors
    assert [entry.path for entry in hub.seen] == ["/api/models/alice/model/revision/main"]
    another.close()


def test_the_folder_shows_what_came_with_another_commit(library: Library, hub: StandInHub) -> None:
    make_tiny(hub.repos.root / "alice/model", seed=1, layers=1)
    first = library.facts(MODEL)
    assert library.hub is not None
    assert first.commit is not None
    for file in first.files:
        library.hub.download("alice/model", first.commit, file)
    commit = hub.add("alice/model", {"config.json": '{"new": 1}'})
    second = library.facts(ModelRef("alice/model", commit))
    assert {file.name for file in second.files if not file.present} == {"config.json"}
    folder = library.folder(second)
    assert folder.name == commit
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "config.json").exists()
    assert library.folder(library.pin(MODEL, first)) == library.folder(first)
    with pytest.raises(Refused) as refused:
        library.folder(MODEL)
    assert refused.value.findings[0].code == "not-pinned"


def test_refusals_say_what_to_do(library: Library, hub: StandInHub) -> None:
    hub.add("bob/private", {"config.json": "{}"}, private=True)
    hub.add("bob/gated", {"config.json": "{}", "model.safetensors": save({"a": np.zeros(1)})}, gated="manual")
    hub.add("bob/pickled", {"config.json": "{}", "pytorch_model.bin": pickle.dumps([1])})
    hub.add("bob/gguf", {"config.json": "{}", "x-Q4_K_M.gguf": b"GGUF" + bytes(99)})
    hub.add("bob/broken", {"config.json": "{}", "model.safetensors": b"\xff" * 64})
    assert code(library, ModelRef("bob/nothing")) == "repo-not-found"
    assert code(library, ModelRef("bob/private")) == "repo-not-found"
    assert code(library, ModelRef("bob/private"), ALICE) == "repo-not-found"
    assert code(library, ModelRef("bob/gated")) == "gated"
    assert code(library, ModelRef("bob/gated"), ALICE) == "gated"
    assert code(library, ModelRef("bob/gated"), "hf_wrong") == "token-refused"
    assert code(library, ModelRef("bob/pickled")) == "pickle-weights"
    assert code(library, ModelRef("bob/gguf")) == "gguf-weights"
    assert code(library, ModelRef("bob/broken")) == "bad-header"
    with pytest.raises(Refused) as refused:
        library.facts(ModelRef("bob/gated"))
    assert f"{hub.endpoint}/bob/gated" in refused.value.findings[0].fix


@pytest.mark.parametrize("meta", [{"private": True}, {"gated": "auto"}])
def test_what_one_person_read_is_not_shown_to_another(
    library: Library, hub: StandInHub, meta: dict[str, object]
) -> None:
    make_tiny(hub.repos.root / "bob/secret", seed=1, layers=1)
    hub.repos.set_meta("bob/secret", **meta)
    ref = ModelRef("bob/secret")
    facts = library.facts(ref, BOB)
    assert library.hub is not None
    assert facts.commit is not None
    for file in facts.files:
        library.hub.download(ref.name, facts.commit, file, BOB)
    for stranger in (None, ALICE):
        assert code(library, ref, stranger) in ("repo-not-found", "gated")
        assert code(library, ModelRef("bob/secret", facts.commit), stranger) in ("repo-not-found", "gated")
    assert library.facts(ref, BOB).tensors == facts.tensors


def test_the_token_is_nowhere_to_be_found(
    library: Library, hub: StandInHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    make_tiny(hub.repos.root / "bob/secret", seed=1, layers=1)
    hub.repos.set_meta("bob/secret", private=True)
    ref = ModelRef("bob/secret")
    library.facts(ref, BOB)
    hub.fault("status", "/api/", status=403, times=None)
    with pytest.raises(Refused) as refused:
        library.facts(ModelRef("bob/secret", "main"), BOB)
    library.search("secret", token=BOB)
    assert BOB not in caplog.text + str(refused.value) + repr(refused.value.__cause__)
    assert BOB not in str(vars(library._infos)) + str(vars(library._contents))
    assert any(entry.token == BOB for entry in hub.seen)


def test_search_merges_disk_and_hub(library: Library, hub: StandInHub, tmp_path: Path) -> None:
    make_tiny(tmp_path / "models" / "tiny-llama", seed=1, layers=1)
    make_tiny(hub.repos.root / "alice/tiny-llama", seed=1, layers=1)
    hub.repos.set_meta("alice/tiny-llama", downloads=3, likes=2, tags=["license:mit"], gated="auto")
    found = library.search("LLAMA  tiny")
    assert [model.id for model in found.models] == ["local:disk/tiny-llama", "alice/tiny-llama"]
    assert found.findings == ()
    hit = found.models[1]
    assert (hit.downloads, hit.likes, hit.licence, hit.gated, hit.dtype) == (3, 2, "mit", True, "BF16")
    assert hit.parameters == library.facts(ModelRef("local:disk/tiny-llama")).parameters
    page = f"{hub.endpoint}/alice/tiny-llama/tree/main"
    assert [model.id for model in library.search(page).models] == ["alice/tiny-llama"]
    assert [model.id for model in library.search("").models] == ["local:disk/tiny-llama"]
    hub.fault("status", "/api/models", times=None)
    broken = library.search("llama")
    assert [model.id for model in broken.models] == ["local:disk/tiny-llama"]
    assert [(finding.level, finding.code) for finding in broken.findings] == [("warning", "hub-unreachable")]


def test_a_folder_of_the_server_never_stands_in_for_a_hub_model(
    library: Library, hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny(tmp_path / "alice" / "model", seed=1, layers=1)
    monkeypatch.chdir(tmp_path)
    assert code(library, MODEL) == "repo-not-found"
    for name in ("./alice/model", str(tmp_path / "alice" / "model"), "~/model", "..", "alice", "hf://alice/model"):
        assert code(library, ModelRef(name)) == "bad-reference"


def test_on_the_command_line_a_folder_wins(hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    make_tiny(here / "alice" / "model", seed=1, layers=1)
    make_tiny(hub.repos.root / "alice" / "model", seed=2, layers=2)
    make_tiny(hub.repos.root / "alice" / "other", seed=2, layers=2)
    monkeypatch.setenv("HOME", str(here))
    library = Library(HubClient(hub.endpoint, tmp_path / "cache"), LocalRoots({}), folder=here)
    for name in ("alice/model", "./alice/model", "alice/../alice/model", str(here / "alice/model"), "~/alice/model"):
        assert library.facts(ModelRef(name)).commit is None
        assert library.folder(ModelRef(name)) == here / "alice" / "model"
    assert library.facts(ModelRef("alice/other")).commit == hub.commit_of("alice/other")
    assert code(library, ModelRef("./absent")) == "model-not-found"
    assert code(library, ModelRef("alice/model", "main")) == "no-revisions"
    library.close()


def test_without_a_hub_only_local_models_are_known(tmp_path: Path) -> None:
    assert code(Library(None, LocalRoots({})), MODEL) == "no-hub"


@pytest.mark.parametrize(
    "name",
    [
        "http://169.254.169.254/latest", "//evil.test/x", "hf://a/b", "file:///etc/passwd", "a/b/c", "a/..", "../b",
        "a", "a／b", "a/b．．", "a/b?x=1", "a/b#x", "a/b%2e%2e", "user:pass@host/x", "a/b\n", "",
    ],
)  # fmt: skip
def test_only_model_ids_are_ever_asked_for(library: Library, hub: StandInHub, name: str) -> None:
    with pytest.raises(Refused) as refused:
        library.facts(ModelRef(name))
    assert refused.value.findings[0].code == "bad-reference"
    assert not hub.seen


def test_a_revision_cannot_leave_its_place_in_the_address(library: Library, hub: StandInHub) -> None:
    hub.add("alice/model", {"config.json": "{}"})
    for revision in ("../../../whoami-v2", "main?x=1", "main#x", "a/../../b"):
        assert code(library, ModelRef("alice/model", revision)) == "revision-not-found"
    assert {entry.query for entry in hub.seen} == {"blobs=true"}


def test_what_the_cache_holds_is_merged_when_the_hub_is_out_of_reach(hub: StandInHub, tmp_path: Path) -> None:
    ref = parse_reference("alice/model")
    client = HubClient(hub.endpoint, tmp_path / "cache")
    online = Library(client, LocalRoots({}))
    model = make_tiny(tmp_path / "model", seed=1, layers=1, shards=2)
    hub.add("alice/model", {path.name: path.read_bytes() for path in model.iterdir()})
    known = online.facts(ref)
    for file in known.files:
        client.download(ref.name, known.commit or "", file, branch="main")
    online.close()

    def library(offline: bool, cache: str = "cache") -> Library:
        return Library(HubClient("http://127.0.0.1:1", tmp_path / cache), LocalRoots({}), offline=offline)

    away = library(offline=True)
    for one in (ref, parse_reference(f"alice/model@{known.commit}")):
        found = away.facts(one)
        assert (found.tensors, found.config, found.texts) == (known.tensors, known.config, known.texts)
        assert {(file.name, file.size, file.sha256) for file in found.files} == {
            (file.name, file.size, file.sha256) for file in known.files
        }
        assert all(file.present for file in found.files)
        assert [remark.code for remark in found.remarks] == ["from-cache"]
        assert (known.commit or "")[:12] in found.remarks[0].text
    for missing in ("alice/model@dev", "alice/other"):
        with pytest.raises(Refused) as refused:
            away.facts(parse_reference(missing))
        assert refused.value.findings[0].code == "hub-unreachable"
    away.close()
    for without in (library(offline=False), library(offline=True, cache="empty")):
        with pytest.raises(Refused) as refused:
            without.facts(ref)
        assert refused.value.findings[0].code == "hub-unreachable"
        without.close()


def test_half_a_model_in_the_cache_is_none(hub: StandInHub, tmp_path: Path) -> None:
    ref = parse_reference("alice/model")
    client = HubClient(hub.endpoint, tmp_path / "cache")
    model = make_tiny(tmp_path / "model", seed=1, layers=1, shards=2)
    hub.add("alice/model", {path.name: path.read_bytes() for path in model.iterdir()})
    info = client.info(ref.name)
    for file in info.files:
        if not file.name.startswith("model-00002"):
            client.download(ref.name, info.commit, file, branch="main")
    client.close()
    away = Library(HubClient("http://127.0.0.1:1", tmp_path / "cache"), LocalRoots({}), offline=True)
    with pytest.raises(Refused) as refused:
        away.facts(ref)
    assert "00002" in str(refused.value)
    away.close()
