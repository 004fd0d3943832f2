"""Search, facts of repositories, accounts, ranges: what is asked of the Hub, and what its troubles become."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.hub import ranges
from app.hub.client import Account, HubClient
from app.hub.transport import LOOKING, TYPING
from app.recipe.findings import Finding, Refused
from tests.hub.conftest import ALICE, BOB, READER, TOKENS, WEIGHTS
from tests.support.hub import StandInHub
from tests.support.hub_faults import limited
from tests.support.hub_state import User
from tests.support.waiting import PATIENCE


@pytest.fixture
def client(hub: StandInHub, tmp_path: Path) -> Iterator[HubClient]:
    made = HubClient(hub.endpoint, tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def hurried(client: HubClient) -> None:
    """The same number of attempts in a hundredth of the time."""
    hurry(client)


def hurry(client: HubClient, silence: float = 3) -> None:
    client.looking = replace(LOOKING, first=0.003, longest=0.02, silence=silence)
    client.typing = replace(TYPING, first=0.002, longest=0.005, silence=silence)


def finding(refused: pytest.ExceptionInfo[Refused]) -> Finding:
    (one,) = refused.value.findings
    assert one.text
    assert one.fix
    return one


def test_search_asks_once_for_the_same_words(client: HubClient, hub: StandInHub) -> None:
    hub.add("alice/llama", {"model.safetensors": WEIGHTS}, likes=4, gated="manual", lastModified="2026-05-01T00:00:00Z")
    hub.add("alice/llama-2", {"model.safetensors": WEIGHTS}, downloads=9, tags=["license:mit"])
    hub.add("alice/llama-gguf", {"llama.gguf": "GGUF"})
    hub.add("bob/llama-own", {"model.safetensors": WEIGHTS}, private=True)
    first = client.search("llama")
    assert [model.id for model in first] == ["alice/llama-2", "alice/llama"]
    assert (first[0].downloads, first[0].licence, first[0].parameters, first[0].dtype) == (9, "mit", 11, "F32")
    assert (first[1].likes, first[1].gated, first[1].updated) == (4, True, "2026-05-01T00:00:00Z")
    assert client.search("  LLAMA ") == first
    assert len(hub.seen) == 1
    assert [model.id for model in client.search("llama", 1)] == ["alice/llama-2"]
    assert [model.id for model in client.search("llama", token=BOB)][-1] == "bob/llama-own"
    assert [model.id for model in client.search("llama")] == ["alice/llama-2", "alice/llama"]


def test_adapters_are_those_that_the_hub_lists_as_such(client: HubClient, hub: StandInHub) -> None:
    hub.add("bob/llama", {"model.safetensors": WEIGHTS}, tags=["lora", "base_model:finetune:alice/llama"])
    hub.add("bob/llama-lora", {"adapter_config.json": "{}", "adapter_model.safetensors": WEIGHTS}, downloads=3)
    hub.add("bob/llama-drawn", {"x.safetensors": WEIGHTS}, downloads=2, tags=["base_model:adapter:alice/llama"])
    every = client.search("llama")
    assert [(hit.id, hit.adapter) for hit in every] == [
        ("bob/llama-lora", True),
        ("bob/llama-drawn", True),
        ("bob/llama", False),
    ]
    assert [hit.id for hit in client.search("llama", 2, adapters=False)] == ["bob/llama"]
    assert [hit.id for hit in client.search("llama", adapters=True)] == ["bob/llama-lora"]


def test_info_tells_commit_files_and_where_it_comes_from(client: HubClient, hub: StandInHub) -> None:
    commit = hub.add(
        "alice/model",
        {"config.json": "{}", "model.safetensors": WEIGHTS, "deep/er.txt": "x"},
        tags=["base_model:a/b", "base_model:merge:a/b", "base_model:c/d", "license:other"],
        cardData={"license": "other", "license_name": "my-licence"},
        downloads=3,
    )
    info = client.info("alice/model", None, None)
    assert (info.id, info.commit, info.downloads) == ("alice/model", commit, 3)
    assert (info.licence, info.base_models) == ("my-licence", ("a/b", "c/d"))
    files = {file.name: file for file in info.files}
    assert set(files) == {"config.json", "model.safetensors", "deep/er.txt"}
    assert files["config.json"].sha256 is None
    assert files["config.json"].oid == "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object of "{}"
    assert client.info("alice/model", commit, None).commit == commit


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", "a\\b", "a\nb", ".", ""])
def test_file_names_that_lead_elsewhere_are_not_even_listed(client: HubClient, hub: StandInHub, name: str) -> None:
    hub.add("alice/model", {"config.json": "{}"})
    told = {"id": "alice/model", "sha": "a" * 40, "siblings": [{"rfilename": name, "size": 1, "blobId": "b" * 40}]}
    hub.fault("status", status=200, body=json.dumps(told))
    assert client.info("alice/model").files == ()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "body",
    [
        "<html>Sign in to the network</html>",
        "[]",
        "{}",
        '{"id": "alice/model", "sha": "main", "siblings": []}',
        '{"id": "../../etc", "sha": "' + "a" * 40 + '", "siblings": []}',
        '{"id": "alice/model", "sha": "' + "a" * 40 + '", "siblings": null}',
        '{"id": "alice/model", "sha": "' + "a" * 40 + '", "siblings": [{"rfilename": "x"}]}',
        "[" * 100_000,
    ],
)
def test_nonsense_is_not_taken_for_an_answer(client: HubClient, hub: StandInHub, body: str) -> None:
    hub.fault("status", status=200, body=body, times=None)
    with pytest.raises(Refused) as refused:
        client.info("alice/model")
    assert finding(refused).code == "hub-unreachable"


def test_accounts(client: HubClient, hub: StandInHub) -> None:
    hub.state.tokens["hf_fine1"] = User("carol", "fineGrained", permissions=("repo.content.read", "repo.write"))
    hub.state.tokens["hf_fine2"] = User("carol", "fineGrained", permissions=("repo.content.read",))
    assert client.whoami(ALICE) == Account("alice", True, ("alice", "guild"))
    assert client.whoami(READER) == Account("alice", False, ("alice",))
    assert [client.whoami(token).can_write for token in ("hf_fine1", "hf_fine2")] == [True, False]
    with pytest.raises(Refused) as refused:
        client.whoami("hf_wrong")
    assert finding(refused).code == "token-refused"


def test_missing_private_gated(client: HubClient, hub: StandInHub) -> None:
    hub.add("bob/private", {"config.json": "{}"}, private=True)
    hub.add("bob/gated", {"config.json": "{}"}, gated="manual")
    cases = [
        ("bob/nothing", None, None, "repo-not-found"),
        ("bob/nothing", None, ALICE, "repo-not-found"),
        ("bob/private", None, None, "repo-not-found"),
        ("bob/private", None, ALICE, "repo-not-found"),
        ("bob/private", None, "hf_wrong", "token-refused"),
        ("bob/gated", "nowhere", None, "revision-not-found"),
    ]
    for repo, revision, token, code in cases:
        with pytest.raises(Refused) as refused:
            client.info(repo, revision, token)
        assert finding(refused).code == code, (repo, token)
        assert repo in finding(refused).where
    commit = client.info("bob/gated").commit
    for token in (None, ALICE):
        with pytest.raises(Refused) as refused:
            client.read_range("bob/gated", commit, "config.json", 0, 2, token)
        assert finding(refused).code == "gated"
        assert finding(refused).fix.endswith(f"{hub.endpoint}/bob/gated")
        assert ("token" in finding(refused).fix) is (token is None)
    assert client.read_range("bob/gated", commit, "config.json", 0, 2, BOB) == b"{}"
    with pytest.raises(Refused) as refused:
        client.read_range("bob/gated", commit, "absent", 0, 2, BOB)
    assert finding(refused).code == "file-not-found"


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_passing_troubles_are_waited_out(client: HubClient, hub: StandInHub, status: int) -> None:
    hub.add("alice/model", {"config.json": "{}"})
    hub.fault("status", "/api/", status=status, times=2)
    assert client.info("alice/model").id == "alice/model"
    hub.fault("status", "/api/", status=status, times=None)
    with pytest.raises(Refused) as refused:
        client.info("alice/model")
    assert finding(refused).code == "hub-unreachable"
    assert str(status) in finding(refused).text
    assert len(hub.seen) == 3 + 3


@pytest.mark.parametrize("by", ["ratelimit", "retry-after"])
def test_a_long_pause_is_told_and_not_waited_for(client: HubClient, hub: StandInHub, by: str) -> None:
    hub.fault("status", **limited(42, by=by), times=None)  # type: ignore[arg-type]
    began = time.monotonic()
    for ask in (lambda: client.info("alice/model"), lambda: client.search("x"), lambda: client.whoami(ALICE)):
        with pytest.raises(Refused) as refused:
            ask()
        assert finding(refused).code == "rate-limited"
        assert "42 seconds" in finding(refused).fix
    assert time.monotonic() - began < PATIENCE
    assert len(hub.seen) == 3


@pytest.mark.usefixtures("hurried")
def test_a_short_pause_is_kept(client: HubClient, hub: StandInHub) -> None:
    hub.add("alice/model", {"config.json": "{}"})
    hub.fault("status", **limited(1))
    began = time.monotonic()
    client.info("alice/model")
    assert time.monotonic() - began >= 1


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    client = HubClient(f"http://127.0.0.1:{port}", tmp_path)
    hurry(client)
    for ask in (lambda: client.info("alice/model"), lambda: client.search("x")):
        with pytest.raises(Refused) as refused:
            ask()
        assert finding(refused).code == "hub-unreachable"
        assert f"http://127.0.0.1:{port}" in finding(refused).text
    client.close()


def test_silence_is_bounded(client: HubClient, hub: StandInHub) -> None:
    hurry(client, silence=0.2)
    hub.fault("stall", times=None)
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        client.search("x")
    assert finding(refused).code == "hub-unreachable"
    assert time.monotonic() - began < PATIENCE


def test_dripping_is_bounded(client: HubClient, hub: StandInHub) -> None:
    hurry(client, silence=0.1)
    hub.add("alice/model", {f"{number}.txt": "x" for number in range(100)})
    hub.fault("slow", after=20, times=None)
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        client.info("alice/model")
    assert finding(refused).code == "hub-unreachable"
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_is_kept(client: HubClient, hub: StandInHub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Refused) as refused:
        client.info("alice/model")
    assert finding(refused).code == "hub-unreachable"
    assert name in finding(refused).text
    assert not hub.seen


@pytest.mark.parametrize("cdn", [False, True])
def test_ranges(tmp_path: Path, cdn: bool) -> None:
    with StandInHub(tmp_path / "hub", tokens=TOKENS, cdn=cdn) as hub:
        repo = "alice/a-model.x"
        commit = hub.add(repo, {"model.safetensors": WEIGHTS, "s p#?.txt": "hello"})
        client = HubClient(hub.endpoint, tmp_path / "cache")
        assert client.read_range(repo, commit, "model.safetensors", 3, 20, ALICE) == WEIGHTS[3:20]
        assert client.read_range(repo, commit, "model.safetensors", len(WEIGHTS) - 1, len(WEIGHTS)) == WEIGHTS[-1:]
        assert client.read_range(repo, commit, "model.safetensors", 5, 5) == b""
        assert client.read_range(repo, commit, "s p#?.txt", 1, 3) == b"el"
        assert [entry.token for entry in hub.requests("/resolve/") if entry.token] == [ALICE]
        assert len(hub.requests("/cdn/")) == (2 if cdn else 0)
        assert all(entry.token is None for entry in hub.requests("/cdn/"))
        client.close()


def test_ranges_are_exact_or_not_at_all(client: HubClient, hub: StandInHub) -> None:
    hurry(client, silence=0.5)
    commit = hub.add("alice/model", {"model.safetensors": WEIGHTS})

    def read() -> bytes:
        return client.read_range("alice/model", commit, "model.safetensors", 3, 20)

    for kind in ("ignore-range", "longer", "shorter", "cut", "stall"):
        hub.fault(kind, "resolve", after=4)  # type: ignore[arg-type]
        assert read() == WEIGHTS[3:20], kind
    for kind in ("shorter", "cut", "stall"):
        hub.heal()
        hub.fault(kind, "resolve", after=4, times=None)  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused:
            read()
        assert finding(refused).code == "hub-unreachable", kind


@pytest.mark.usefixtures("hurried")
def test_a_range_is_not_dug_out_of_a_whole_large_file(
    client: HubClient, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "FARTHEST_SKIP", 1000)
    commit = hub.add("alice/model", {"model.safetensors": bytes(3_000_000)})
    hub.fault("ignore-range", "resolve", times=None)
    with pytest.raises(Refused):
        client.read_range("alice/model", commit, "model.safetensors", 2_999_000, 3_000_000)
    assert client.read_range("alice/model", commit, "model.safetensors", 900, 910) == bytes(10)
