"""Downloads into the Hub cache: whole and checked or not at all, whatever the Hub, the line or the process does."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from app.hub import partial
from app.hub.client import HubClient
from app.hub.transport import FETCHING
from app.planning.facts import FileFacts
from app.recipe.findings import Refused
from tests.hub.conftest import ALICE, BOB, TOKENS
from tests.support.hub import StandInHub
from tests.support.hub_faults import limited

REPO = "alice/model"
NAME = "model.safetensors"
BIG = np.random.default_rng(0).bytes(3_000_003)
Official = Callable[..., HfApi]


class Stop(Exception):
    """What a caller raises to cancel."""


class Model:
    """One file of the stand-in Hub, and a client that fetches it."""

    def __init__(self, hub: StandInHub, cache: Path, content: bytes = BIG, name: str = NAME) -> None:
        self.commit = hub.add(REPO, {name: content})
        self.hub, self.cache, self.content = hub, cache, content
        self.client = HubClient(hub.endpoint, cache)
        self.client.fetching = replace(FETCHING, first=0.01, longest=0.05, silence=0.3)
        (self.file,) = [file for file in self.client.info(REPO, self.commit).files if file.name == name]
        self.told: list[int] = []
        self.waits: list[tuple[float, str]] = []
        hub.forget()

    @property
    def pointer(self) -> Path:
        return self.cache / "models--alice--model" / "snapshots" / self.commit / self.file.name

    @property
    def blobs(self) -> set[str]:
        folder = self.cache / "models--alice--model" / "blobs"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def fetch(self, token: str | None = None, check: Callable[[], None] = lambda: None) -> Path:
        self.told.clear()
        return self.client.download(
            REPO, self.commit, self.file, token,
            on_bytes=self.told.append, check=check, on_wait=lambda *wait: self.waits.append(wait),
        )  # fmt: skip

    def fetch_whole(self) -> None:
        """Fetch, and see that the file is right and in its place."""
        assert self.fetch() == self.pointer
        assert self.pointer.read_bytes() == self.content
        assert sum(self.told) == len(self.content)
        assert self.blobs == {self.file.sha256 or self.file.oid}

    def refusal(self, token: str | None = None) -> str:
        with pytest.raises(Refused) as refused:
            self.fetch(token)
        assert refused.value.findings[0].fix
        assert not self.pointer.exists()
        return refused.value.findings[0].code

    def after(self, count: int) -> Callable[[], None]:
        """A check that cancels once so many bytes have come."""

        def check() -> None:
            if sum(self.told) >= count:
                raise Stop

        return check


@pytest.fixture
def make(hub: StandInHub, tmp_path: Path) -> Iterator[Callable[..., Model]]:
    made: list[Model] = []

    def one(content: bytes = BIG, name: str = NAME, server: StandInHub = hub) -> Model:
        made.append(Model(server, tmp_path / "cache", content, name))
        return made[-1]

    yield one
    for model in made:
        model.client.close()


@pytest.fixture(params=[1, 4], ids=["one-segment", "four-segments"])
def model(make: Callable[..., Model], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(partial, "WHOLE", 32 << 20 if request.param == 1 else 1000)
    return make()


@pytest.fixture
def single(make: Callable[..., Model]) -> Model:
    return make()


def test_a_file_lands_where_the_official_tools_look(model: Model, official: Official, hub: StandInHub) -> None:
    model.fetch_whole()
    assert model.pointer.is_symlink()
    assert str(model.pointer.readlink()) == f"../../blobs/{model.file.sha256}"
    assert try_to_load_from_cache(REPO, NAME, model.cache, revision=model.commit) == str(model.pointer)
    hub.forget()
    found = official(hub.endpoint).hf_hub_download(REPO, NAME, cache_dir=model.cache)
    assert Path(found) == model.pointer
    assert not hub.requests(NAME, "GET")


def test_what_the_official_tools_fetched_is_not_fetched_again(
    single: Model, official: Official, hub: StandInHub
) -> None:
    official(hub.endpoint).hf_hub_download(REPO, NAME, cache_dir=single.cache)
    hub.forget()
    single.fetch_whole()
    assert not hub.seen


def test_a_second_time_costs_nothing(model: Model, hub: StandInHub) -> None:
    model.fetch_whole()
    hub.forget()
    model.fetch_whole()
    assert not hub.seen


def test_the_same_content_in_another_commit_is_only_linked(single: Model, hub: StandInHub) -> None:
    single.fetch_whole()
    single.commit = hub.add(REPO, {"config.json": "{}"})
    hub.forget()
    single.fetch_whole()
    assert not hub.seen


@pytest.mark.parametrize(("name", "content"), [("config.json", b"{}"), ("empty.txt", b""), ("sub/a b#?.json", b"[]")])
def test_small_files_are_checked_by_their_git_hash(
    make: Callable[..., Model], hub: StandInHub, name: str, content: bytes
) -> None:
    model = make(content, name)
    assert model.file.sha256 is None
    if content:
        hub.fault("swap", "resolve")
    model.fetch_whole()
    assert len(hub.requests("/resolve/")) == (2 if content else 0)
    assert Path(hf_hub_download(REPO, name, revision=model.commit, cache_dir=model.cache)) == model.pointer


def test_segments_are_fetched_side_by_side(
    make: Callable[..., Model], hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "WHOLE", 1000)
    model = make()
    model.fetch_whole()
    ranges = sorted(entry.range or "" for entry in hub.requests(NAME))
    assert len(ranges) == 4
    assert hub.sent == len(BIG)
    assert "bytes=0-750000" in ranges


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_hub_is_tried_again(model: Model, hub: StandInHub, status: int) -> None:
    hub.fault("status", NAME, status=status, times=2)
    model.fetch_whole()
    assert len(model.waits) == 2
    assert all(text for _, text in model.waits)


def test_a_hub_that_stays_broken_is_given_up(single: Model, hub: StandInHub) -> None:
    hub.fault("status", NAME, status=503, times=None)
    assert single.refusal() == "download-failed"
    assert len(hub.seen) == FETCHING.attempts
    hub.heal()
    single.fetch_whole()


@pytest.mark.parametrize("by", ["ratelimit", "retry-after"])
def test_a_pause_that_the_hub_asks_for_is_kept(single: Model, hub: StandInHub, by: str) -> None:
    hub.fault("status", NAME, **limited(1, by=by))  # type: ignore[arg-type]
    began = time.monotonic()
    single.fetch_whole()
    assert time.monotonic() - began >= 1
    ((seconds, why),) = single.waits
    assert 1 <= seconds < 1.1
    assert "pause" in why


def test_a_pause_of_hours_is_told_instead(single: Model, hub: StandInHub) -> None:
    hub.fault("status", NAME, **limited(7200), times=None)
    assert single.refusal() == "rate-limited"
    assert len(hub.seen) == 1


@pytest.mark.parametrize(
    ("kind", "after"), [("cut", 0), ("cut", 1), ("cut", 375_000), ("cut", 749_999), ("stall", 0), ("stall", 375_000)]
)
def test_a_broken_line_goes_on_where_it_broke(model: Model, hub: StandInHub, kind: str, after: int) -> None:
    hub.fault(kind, NAME, after=after, times=3)  # type: ignore[arg-type]
    model.fetch_whole()
    assert len(BIG) <= hub.sent <= len(BIG) + 2 * 65_536 * 3
    assert model.waits


def test_a_line_that_always_breaks_but_moves_on_gets_there(single: Model, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_100_000, times=None)
    single.client.fetching = replace(single.client.fetching, attempts=2)
    single.fetch_whole()


@pytest.mark.parametrize("kind", ["ignore-range", "longer", "shorter", "swap"])
def test_odd_answers_do_not_harm(model: Model, hub: StandInHub, kind: str) -> None:
    hub.fault(kind, NAME, after=1000)  # type: ignore[arg-type]
    model.fetch_whole()


def test_a_server_without_ranges_can_be_resumed_from(single: Model, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("ignore-range", NAME)
    single.fetch_whole()
    assert [entry.status for entry in hub.seen] == [206, 200]


def test_content_that_stays_wrong_is_never_shown(model: Model, hub: StandInHub) -> None:
    hub.fault("swap", NAME, times=None)
    assert model.refusal() == "checksum-mismatch"
    assert model.blobs == set()
    assert sum(model.told) == 0
    hub.heal()
    model.fetch_whole()


def test_a_file_that_changed_its_size_is_refused(single: Model, hub: StandInHub) -> None:
    single.file = replace(single.file, size=len(BIG) + 10)
    assert single.refusal() == "download-failed"


def test_a_moved_branch_does_not_matter(single: Model, hub: StandInHub) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("status", NAME, status=503)
    moved = threading.Event()

    def check() -> None:
        if single.waits and not moved.is_set():
            moved.set()
            hub.add(REPO, {NAME: BIG[::-1]})

    single.fetch(check=check)
    assert moved.is_set()
    assert single.pointer.read_bytes() == BIG


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (401, {"X-Error-Code": "RepoNotFound"}, "repo-not-found"),
        (401, {"X-Error-Code": "GatedRepo"}, "gated"),
        (403, {"X-Error-Code": "GatedRepo"}, "gated"),
        (403, {}, "token-refused"),
        (404, {"X-Error-Code": "RepoNotFound"}, "repo-not-found"),
        (404, {"X-Error-Code": "EntryNotFound"}, "file-not-found"),
    ],
)
def test_lost_access_ends_at_once(
    single: Model, hub: StandInHub, status: int, headers: dict[str, str], code: str
) -> None:
    hub.fault("cut", NAME, after=1_000_000)
    hub.fault("status", NAME, status=status, headers=headers, times=None)
    assert single.refusal(ALICE) == code
    assert len(hub.seen) == 2


def test_a_cancel_keeps_what_came(model: Model, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=500_000, times=None)
    with pytest.raises(Stop):
        model.fetch(check=model.after(500_000))
    assert not model.pointer.exists()
    came = sum(model.told)
    hub.heal()
    hub.forget()
    model.fetch_whole()
    assert model.told[0] == came
    assert hub.sent == len(BIG) - came


def test_a_cancel_does_not_wait_for_the_hub(single: Model, hub: StandInHub) -> None:
    single.client.fetching = replace(FETCHING, silence=60)
    hub.fault("stall", NAME, after=10)
    began = time.monotonic()
    with pytest.raises(Stop):
        single.fetch(check=single.after(10))
    assert time.monotonic() - began < 5


def test_check_is_called_all_the_time(single: Model, hub: StandInHub) -> None:
    hub.fault("slow", NAME, after=30_000)
    calls: list[float] = []
    single.fetch(check=lambda: calls.append(time.monotonic()))
    gaps = np.diff(calls)
    assert calls[-1] - calls[0] > 0.9
    assert np.median(gaps) < 0.25


CHILD = """
import sys
from pathlib import Path
from app.hub.client import HubClient
from app.hub import partial
endpoint, cache, repo, commit, name, whole = sys.argv[1:]
partial.WHOLE = int(whole)
client = HubClient(endpoint, Path(cache))
(file,) = [file for file in client.info(repo, commit).files if file.name == name]
print("begin", flush=True)
print(client.download(repo, commit, file), flush=True)
"""


def child(model: Model, whole: int = 32 << 20) -> subprocess.Popen[str]:
    arguments = [model.hub.endpoint, str(model.cache), REPO, model.commit, model.file.name, str(whole)]
    process = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("whole", [32 << 20, 1000])
def test_another_process_goes_on_after_a_kill(
    make: Callable[..., Model], hub: StandInHub, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(partial, "WHOLE", whole)
    model = make()
    hub.fault("slow", NAME, after=20_000, times=None)
    process = child(model, whole)
    wait_for(lambda: hub.sent > 1_000_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    wait_for(lambda: all(entry.status for entry in hub.seen))
    assert not model.pointer.exists()
    hub.heal()
    hub.forget()
    model.fetch_whole()
    assert model.told[0] > 500_000
    assert hub.sent == len(BIG) - model.told[0]


def test_two_processes_fetch_a_file_once(single: Model, hub: StandInHub) -> None:
    hub.fault("slow", NAME, after=60_000, times=None)
    processes = [child(single), child(single)]
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == f"{single.pointer}\n"
    assert single.pointer.read_bytes() == BIG
    assert sum(entry.sent for entry in hub.requests(NAME)) == len(BIG)


def test_waiting_for_another_process_can_be_cancelled(single: Model, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=10, times=None)
    process = child(single)
    wait_for(lambda: bool(hub.requests(NAME)))
    with pytest.raises(Stop):
        calls = iter(range(100))
        single.fetch(check=lambda: _stop_at(next(calls), 5))
    assert len(hub.requests(NAME)) == 1
    process.kill()
    process.communicate()


def _stop_at(call: int, last: int) -> None:
    if call == last:
        raise Stop


@pytest.mark.parametrize("damage", ["other-size", "boastful", "wrong-bytes", "complete-but-wrong"])
def test_a_damaged_partial_file_is_not_trusted(single: Model, hub: StandInHub, damage: str) -> None:
    assert single.file.sha256 is not None
    path = single.cache / "models--alice--model" / "blobs" / f"{single.file.sha256}.weightloom.incomplete"
    path.parent.mkdir(parents=True)
    half = (len(BIG) // 2).to_bytes(8, "little")
    path.write_bytes(
        {
            "other-size": b"x" * 100,
            "boastful": bytes(len(BIG)) + (len(BIG) + 1).to_bytes(8, "little"),
            "wrong-bytes": bytes(len(BIG)) + half,
            "complete-but-wrong": bytes(len(BIG)) + len(BIG).to_bytes(8, "little"),
        }[damage]
    )
    single.fetch_whole()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_full_disk_is_told_with_numbers(
    single: Model, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(Refused) as refused:
            single.fetch()
    assert refused.value.findings[0].code == "disk-full"
    assert f"{len(BIG):,} bytes" in refused.value.findings[0].text
    assert refused.value.findings[0].where == NAME
    single.fetch_whole()


def test_a_real_limit_of_the_filesystem_is_met_before_the_download(single: Model, hub: StandInHub) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        assert single.refusal() == "disk-full"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not hub.seen


def test_another_failure_of_the_disk_is_not_hidden(single: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        with pytest.raises(OSError, match="Input/output"):
            single.fetch()


def test_a_cache_that_cannot_be_written_is_told(single: Model, hub: StandInHub) -> None:
    single.cache.write_text("not a folder")
    assert single.refusal() == "cache-not-writable"


def test_what_nobody_went_on_with_is_forgotten_in_the_end(single: Model, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=500_000, times=None)
    with pytest.raises(Stop):
        single.fetch(check=single.after(500_000))
    (unfinished,) = (single.cache / "models--alice--model" / "blobs").iterdir()
    cache = single.client.cache
    assert cache.forget_unfinished(3600) == 0
    os.utime(unfinished, (time.time() - 7200, time.time() - 7200))
    assert cache.forget_unfinished(3600) >= len(BIG)
    assert single.blobs == set()
    hub.heal()
    single.fetch_whole()
    assert cache.forget_unfinished(-3600) == 0
    assert single.pointer.is_file()


def test_a_filesystem_without_preallocation_works(single: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    single.fetch_whole()
    single.commit = single.hub.add(REPO, {NAME: BIG + b"x"})
    single.content = BIG + b"x"
    monkeypatch.delattr(os, "posix_fallocate")
    single.file = next(file for file in single.client.info(REPO, single.commit).files if file.name == NAME)
    single.fetch()
    assert single.pointer.read_bytes() == BIG + b"x"


def test_a_filesystem_without_links_gets_copies(single: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", unsupported)
    single.fetch_whole()
    assert not single.pointer.is_symlink()


def test_a_file_without_a_hash_is_not_fetched(single: Model, hub: StandInHub) -> None:
    for file in (FileFacts(NAME, 5), FileFacts(NAME, 5, sha256="../../x"), FileFacts(NAME, 5, oid="A" * 40)):
        single.file = file
        assert single.refusal() == "download-failed"
    assert not hub.seen


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\0b"])
def test_nothing_is_written_outside_the_snapshot(single: Model, name: str) -> None:
    single.file = replace(single.file, name=name)
    with pytest.raises(ValueError, match="not a file of a model"):
        single.fetch()


def test_a_link_out_of_the_cache_is_not_taken_for_the_file(single: Model, hub: StandInHub, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(len(BIG)))
    single.pointer.parent.mkdir(parents=True)
    single.pointer.symlink_to(tmp_path / "elsewhere")
    single.fetch_whole()
    assert (tmp_path / "elsewhere").read_bytes() == bytes(len(BIG))


def test_branches_are_noted_for_tools_that_run_offline(single: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    single.client.download(REPO, single.commit, single.file, branch="main")
    refs = single.cache / "models--alice--model" / "refs"
    assert (refs / "main").read_text() == single.commit
    assert try_to_load_from_cache(REPO, NAME, single.cache) == str(single.pointer)
    single.client.download(REPO, single.commit, single.file, branch=single.commit)
    single.client.download(REPO, single.commit, single.file, branch="../../evil")
    assert [path.name for path in refs.iterdir()] == ["main"]


@pytest.fixture
def behind_cdn(make: Callable[..., Model], tmp_path: Path) -> Iterator[Model]:
    with StandInHub(tmp_path / "cdn-hub", tokens=TOKENS, cdn=True) as server:
        yield make(server=server)


def test_the_token_stays_with_the_hub(behind_cdn: Model, caplog: pytest.LogCaptureFixture) -> None:
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


def test_the_token_is_in_no_error(single: Model, hub: StandInHub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    single.client.fetching = replace(single.client.fetching, attempts=1)
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
