"""Downloads land in the Hub cache as the official tools expect, and the token stays where it belongs."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from app.hub import partial
from app.planning.facts import FileFacts
from app.recipe.findings import Refused
from tests.hub.conftest import ALICE, BOB, TOKENS
from tests.hub.served_model import BIG, NAME, REPO, ServedModel
from tests.support.hub import StandInHub

Official = Callable[..., HfApi]


def test_a_file_lands_where_the_official_tools_look(model: ServedModel, official: Official, hub: StandInHub) -> None:
    model.fetch_whole()
    assert model.pointer.is_symlink()
    assert str(model.pointer.readlink()) == f"../../blobs/{model.file.sha256}"
    assert try_to_load_from_cache(REPO, NAME, model.cache, revision=model.commit) == str(model.pointer)
    hub.forget()
    found = official(hub.endpoint).hf_hub_download(REPO, NAME, cache_dir=model.cache)
    assert Path(found) == model.pointer
    assert not hub.requests(NAME, "GET")


def test_what_the_official_tools_fetched_is_not_fetched_again(
    single: ServedModel, official: Official, hub: StandInHub
) -> None:
    official(hub.endpoint).hf_hub_download(REPO, NAME, cache_dir=single.cache)
    hub.forget()
    single.fetch_whole()
    assert not hub.seen


def test_a_second_time_costs_nothing(model: ServedModel, hub: StandInHub) -> None:
    model.fetch_whole()
    hub.forget()
    model.fetch_whole()
    assert not hub.seen


def test_the_same_content_in_another_commit_is_only_linked(single: ServedModel, hub: StandInHub) -> None:
    single.fetch_whole()
    single.commit = hub.add(REPO, {"config.json": "{}"})
    hub.forget()
    single.fetch_whole()
    assert not hub.seen


@pytest.mark.parametrize(("name", "content"), [("config.json", b"{}"), ("empty.txt", b""), ("sub/a b#?.json", b"[]")])
def test_small_files_are_checked_by_their_git_hash(
    make: Callable[..., ServedModel], hub: StandInHub, name: str, content: bytes
) -> None:
    model = make(content, name)
    assert model.file.sha256 is None
    if content:
        hub.fault("swap", "resolve")
    model.fetch_whole()
    assert len(hub.requests("/resolve/")) == (2 if content else 0)
    assert Path(hf_hub_download(REPO, name, revision=model.commit, cache_dir=model.cache)) == model.pointer


def test_segments_are_fetched_side_by_side(
    make: Callable[..., ServedModel], hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "WHOLE", 1000)
    model = make()
    model.fetch_whole()
    ranges = sorted(entry.range or "" for entry in hub.requests(NAME))
    assert len(ranges) == 4
    assert hub.sent == len(BIG)
    assert "bytes=0-750000" in ranges


def test_a_filesystem_without_links_gets_copies(single: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", unsupported)
    single.fetch_whole()
    assert not single.pointer.is_symlink()


def test_a_file_without_a_hash_is_not_fetched(single: ServedModel, hub: StandInHub) -> None:
    for file in (FileFacts(NAME, 5), FileFacts(NAME, 5, sha256="../../x"), FileFacts(NAME, 5, oid="A" * 40)):
        single.file = file
        assert single.refusal() == "download-failed"
    assert not hub.seen


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\0b"])
def test_nothing_is_written_outside_the_snapshot(single: ServedModel, name: str) -> None:
    single.file = replace(single.file, name=name)
    with pytest.raises(ValueError, match="not a file of a model"):
        single.fetch()


def test_a_link_out_of_the_cache_is_not_taken_for_the_file(
    single: ServedModel, hub: StandInHub, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(len(BIG)))
    single.pointer.parent.mkdir(parents=True)
    single.pointer.symlink_to(tmp_path / "elsewhere")
    single.fetch_whole()
    assert (tmp_path / "elsewhere").read_bytes() == bytes(len(BIG))


def test_branches_are_noted_for_tools_that_run_offline(single: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    single.client.download(REPO, single.commit, single.file, branch="main")
    refs = single.cache / "models--alice--model" / "refs"
    assert (refs / "main").read_text() == single.commit
    assert try_to_load_from_cache(REPO, NAME, single.cache) == str(single.pointer)
    single.client.download(REPO, single.commit, single.file, branch=single.commit)
    single.client.download(REPO, single.commit, single.file, branch="../../evil")
    assert [path.name for path in refs.iterdir()] == ["main"]


@pytest.fixture
def behind_cdn(make: Callable[..., ServedModel], tmp_path: Path) -> Iterator[ServedModel]:
    with StandInHub(tmp_path / "cdn-hub", tokens=TOKENS, cdn=True) as server:
        yield make(server=server)


def test_the_token_stays_with_the_hub(behind_cdn: ServedModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hub = behind_cdn.hub
    hub.repos.set_meta(REPO, private=True)
    hub.fault("cut", "/cdn/", after=1000)
    behind_cdn.fetch(ALICE)
    assert behind_cdn.pointer.read_bytes() == BIG
    assert {entry.token for entry in hub.requests("/resolve/")} == {ALICE}
    assert {entry.token for entry in hub.requests("/cdn/")} == {None}
    assert {entry.host.split(":")[0] for entry in hub.requests("/cdn/")} == {"localhost"}
    assert ALICE not in caplog.text
    for path in behind_cdn.cache.rglob("*"):
        assert ALICE not in path.name
        assert not path.is_file() or ALICE.encode() not in path.read_bytes()


def test_the_token_is_in_no_error(single: ServedModel, hub: StandInHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    single.client.fetching = replace(single.client.fetching, attempts=1, silence=0.5)
    for kind in ("status", "cut", "stall", "shorter"):
        hub.heal()
        hub.fault(kind, NAME, after=10, times=None)  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused:
            single.fetch(BOB)
        error: BaseException | None = refused.value
        while error is not None:
            assert BOB not in f"{error!s} {error!r} {vars(error)}"
            error = error.__cause__ or error.__context__
    assert BOB not in caplog.text
