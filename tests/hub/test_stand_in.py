"""The stand-in Hub answers the official client as the Hub does, and plays its faults."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.conftest import ALICE, BOB, READER, TOKENS, WEIGHTS
from tests.support.hub import StandInHub
from tests.support.hub_faults import limited

Official = Callable[..., HfApi]


def test_who_am_i_tells_name_and_rights(hub: StandInHub, official: Official) -> None:
    assert official(hub.endpoint, ALICE).whoami()["name"] == "alice"
    assert official(hub.endpoint, READER).whoami()["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(HfHubHTTPError) as caught:
        official(hub.endpoint, "hf_nobody").whoami()
    assert caught.value.response.status_code == 401


def test_search_pages_and_expands(hub: StandInHub, official: Official) -> None:
    for number in range(5):
        hub.add(f"alice/llama-{number}", {"model.safetensors": WEIGHTS}, downloads=number)
    hub.add("bob/llama-gguf", {"llama.gguf": "GGUF"})
    hub.add("bob/llama-secret", {"config.json": "{}"}, private=True)
    found = list(
        official(hub.endpoint).list_models(search="alice/llama", limit=2, sort="downloads", expand=["downloads"])
    )
    assert [(model.id, model.downloads, model.likes) for model in found] == [
        ("alice/llama-4", 4, None),
        ("alice/llama-3", 3, None),
    ]
    (weights,) = official(hub.endpoint).list_models(search="llama-3", filter="safetensors", expand=["safetensors"])
    assert weights.safetensors is not None
    assert weights.safetensors.parameters == {"F32": 6, "F16": 5}
    pages = official(hub.endpoint).list_models(search="llama", sort="downloads", limit=100)
    assert len(list(pages)) == 6
    first = httpx2.get(f"{hub.endpoint}/api/models", params={"search": "llama", "limit": 3})
    second = httpx2.get(first.links["next"]["url"])
    assert (len(first.json()), len(second.json())) == (3, 3)
    assert "next" not in second.links


def test_info_and_tree_tell_sizes_and_hashes(hub: StandInHub, official: Official) -> None:
    commit = hub.add("alice/model", {"config.json": "{}", "model.safetensors": WEIGHTS}, tags=["license:mit"])
    info = official(hub.endpoint).model_info("alice/model", files_metadata=True)
    assert info.sha == commit == official(hub.endpoint).model_info("alice/model", revision=commit).sha
    assert info.tags == ["safetensors", "license:mit"]
    files = {file.rfilename: file for file in info.siblings or []}
    assert files["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object of "{}"
    lfs = files["model.safetensors"].lfs
    assert lfs is not None and lfs.size == len(WEIGHTS) == files["model.safetensors"].size
    tree = list(official(hub.endpoint).list_repo_tree("alice/model", revision=commit, recursive=True))
    assert sorted(entry.path for entry in tree) == ["config.json", "model.safetensors"]


def test_safetensors_headers_are_read_by_range(hub: StandInHub, official: Official) -> None:
    hub.add("alice/model", {"model.safetensors": WEIGHTS})
    metadata = official(hub.endpoint).get_safetensors_metadata("alice/model")
    assert metadata.files_metadata["model.safetensors"].tensors["a"].shape == [2, 3]
    assert any(entry.status == 206 for entry in hub.seen)


@pytest.mark.parametrize("cdn", [False, True])
def test_snapshots_arrive_whole(tmp_path: Path, official: Official, cdn: bool) -> None:
    root = tmp_path / "served"
    with StandInHub(root, tokens=TOKENS, cdn=cdn) as hub:
        hub.add("alice/model", {"config.json": "{}", "model.safetensors": WEIGHTS, "sub/x.txt": "x"}, private=True)
        folder = Path(official(hub.endpoint, ALICE).snapshot_download("alice/model", cache_dir=tmp_path / "cache"))
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
        assert (folder / "sub" / "x.txt").read_text() == "x"
        assert bool(hub.requests("/cdn/")) is cdn
        assert all(entry.token is None for entry in hub.requests("/cdn/"))


def test_private_gated_and_missing_models_are_told_apart(hub: StandInHub, official: Official, tmp_path: Path) -> None:
    hub.add("bob/private", {"config.json": "{}"}, private=True)
    hub.add("bob/gated", {"config.json": "{}"}, gated="manual", granted=["alice"])
    for repo in ("bob/private", "bob/nothing"):
        for token in (None, ALICE):
            with pytest.raises(RepositoryNotFoundError):
                official(hub.endpoint, token).model_info(repo)
    assert official(hub.endpoint, BOB).model_info("bob/private").private
    assert official(hub.endpoint).model_info("bob/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        official(hub.endpoint).hf_hub_download("bob/gated", "config.json", cache_dir=tmp_path)
    official(hub.endpoint, ALICE).hf_hub_download("bob/gated", "config.json", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        official(hub.endpoint).model_info("bob/gated", revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        official(hub.endpoint, BOB).hf_hub_download("bob/gated", "absent.txt", cache_dir=tmp_path)


# The official client's own call of httpx2.
@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
def test_a_folder_is_uploaded_to_a_new_private_repository(hub: StandInHub, official: Official, tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A merge\n")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    api = official(hub.endpoint, ALICE)
    assert api.create_repo("alice/new", private=True).repo_id == "alice/new"
    with pytest.raises(HfHubHTTPError):
        api.create_repo("alice/new", private=True)
    done = api.upload_folder(repo_id="alice/new", folder_path=folder, commit_message="Add it")
    info = api.model_info("alice/new")
    assert info.private
    assert info.sha == done.oid
    assert (hub.repos.root / "alice/new/model.safetensors").read_bytes() == WEIGHTS
    puts = hub.requests("/lfs/", "PUT")
    assert len(puts) == 1
    assert puts[0].token is None
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="alice/new")


def test_writing_needs_the_right_to(hub: StandInHub, official: Official) -> None:
    for token, repo in ((READER, "alice/new"), (BOB, "alice/new"), (BOB, "guild/new")):
        with pytest.raises(HfHubHTTPError) as caught:
            official(hub.endpoint, token).create_repo(repo)
        assert caught.value.response.status_code == 403
    assert official(hub.endpoint, ALICE).create_repo("guild/new").repo_id == "guild/new"


def test_a_commit_stays_readable_after_main_has_moved(hub: StandInHub, official: Official, tmp_path: Path) -> None:
    first = hub.add("alice/model", {"model.safetensors": WEIGHTS, "config.json": "{}"})
    second = hub.add("alice/model", {"model.safetensors": WEIGHTS[::-1], "config.json": "[]"})
    assert first != second == hub.commit_of("alice/model")
    for commit, content in ((first, WEIGHTS), (second, WEIGHTS[::-1])):
        path = official(hub.endpoint).hf_hub_download(
            "alice/model", "model.safetensors", revision=commit, cache_dir=tmp_path
        )
        assert Path(path).read_bytes() == content


def test_branches(hub: StandInHub, official: Official) -> None:
    main = hub.add("alice/model", {"config.json": "{}"})
    other = hub.repos.commit("alice/model", {"config.json": b"[]"}, branch="try")
    assert official(hub.endpoint).model_info("alice/model", revision="try").sha == other != main
    assert httpx2.get(f"{hub.endpoint}/alice/model/resolve/try/config.json").text == "[]"
    assert httpx2.get(f"{hub.endpoint}/alice/model/resolve/main/config.json").text == "{}"


def test_scripted_faults(hub: StandInHub) -> None:
    hub.add("alice/model", {"model.safetensors": WEIGHTS})
    url = f"{hub.endpoint}/alice/model/resolve/main/model.safetensors"
    part = {"Range": "bytes=0-9"}
    with httpx2.Client(timeout=5) as client:
        hub.fault("status", "resolve", **limited(42))
        assert client.get(url).headers["RateLimit"] == '"api";r=0;t=42'
        hub.fault("status", "resolve", **limited(7, by="retry-after"))
        assert client.get(url).headers["Retry-After"] == "7"
        hub.fault("ignore-range", "resolve")
        assert client.get(url, headers=part).content == WEIGHTS
        hub.fault("swap", "resolve", skip=1)
        assert client.get(url).content == WEIGHTS
        assert client.get(url).content == bytes(byte ^ 0xFF for byte in WEIGHTS)
        hub.fault("longer", "resolve", after=3)
        assert len(client.get(url, headers=part).content) == 13
        hub.fault("shorter", "resolve", after=3)
        assert len(client.get(url, headers=part).content) == 7
        hub.fault("cut", "resolve", after=5)
        with pytest.raises(httpx2.RemoteProtocolError):
            client.get(url)
        assert hub.seen[-1].sent == 5
        hub.fault("stall", "resolve", after=5)
        with pytest.raises(httpx2.ReadTimeout):
            client.get(url, timeout=0.2)
        hub.fault("slow", "resolve", after=64)
        assert client.get(url).content == WEIGHTS


def test_it_can_be_started_by_hand(tmp_path: Path) -> None:
    (tmp_path / "alice" / "model").mkdir(parents=True)
    (tmp_path / "alice" / "model" / "config.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.support.hub", "--root", str(tmp_path), "--port", str(port)]
    with subprocess.Popen([*command, "--token", "hf_x=carol:read"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        try:
            assert httpx2.get(f"{endpoint}/alice/model/resolve/main/config.json").text == "{}"
            me = httpx2.get(f"{endpoint}/api/whoami-v2", headers={"Authorization": "Bearer hf_x"}).json()
            assert me["name"] == "carol"
        finally:
            process.terminate()
