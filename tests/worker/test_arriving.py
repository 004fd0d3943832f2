"""Merges that begin while their parents are still on their way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from app.hub.transport import FETCHING
from app.recipe.findings import Refused
from app.storage.base import Manifest
from tests.support.quiet import Quiet
from tests.worker.far import LINEAR, WEIGHTS, Bench
from tests.worker.quiet import plan_of
from worker.engine import execute
from worker.steps.checkpoint import Order, make_checkpoint


def test_a_merge_begins_with_the_files_that_are_here(
    bench: Bench, from_stored: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three files of a parent come; the third only once tensors were made of the others."""
    made: list[str] = []
    go_on = threading.Event()
    original = execute._Ledger.tensor_done

    def tensor_done(self: object, name: str) -> None:
        made.append(name)
        if len(made) == 10:
            go_on.set()
        original(self, name)  # type: ignore[arg-type]

    monkeypatch.setattr(execute._Ledger, "tensor_done", tensor_done)
    download = bench.client.download

    def held(repo: str, commit: str, file, *rest, **more) -> Path:
        if file.name.endswith("00003-of-00003.safetensors"):
            assert go_on.wait(60), "no tensor was made before the last file came"
        return download(repo, commit, file, *rest, **more)

    monkeypatch.setattr(bench.client, "download", held)
    assert bench.merge(LINEAR, stream=False) == from_stored[LINEAR]
    assert bench.watch.stages == ["checking", "downloading", "merging", "verifying", "finalising"]
    assert any("begins with the files that are here" in line for line in bench.watch.lines)


def test_a_merge_that_has_begun_ends_with_a_file_that_cannot_be_had(bench: Bench) -> None:
    plan_of(bench.library, LINEAR)
    bench.hub.fault("status", r"resolve/.*00003-of-00003\.safetensors$", times=None, status=404)
    with pytest.raises(Refused):
        bench.merge(LINEAR, stream=False)
    assert not (bench.folder / "out").exists()


def test_a_merge_that_waits_for_a_file_stops_when_told(bench: Bench) -> None:
    plan_of(bench.library, LINEAR)
    bench.hub.fault("stall", WEIGHTS, after=10, times=None)
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        bench.merge(LINEAR, stream=False, watch=Quiet(stop_at="downloading"))
    assert time.monotonic() - began < FETCHING.silence


def test_what_was_fetched_is_found_by_its_branch_offline(bench: Bench) -> None:
    """Also by a job, whose recipe is pinned; and nothing is promised of what was only streamed."""
    pinned = plan_of(bench.library, LINEAR).texts["mergekit_config.yml"]
    refs = bench.folder / "cache"
    for streamed in (True, False):
        order = Order(pinned, bench.folder / "w", bench.folder / str(streamed), "t", stream=streamed, asked=LINEAR)
        make_checkpoint(order, bench.library, Quiet())
        found = {path.parts[-3]: path.read_text() for path in refs.glob("*/refs/main")}
        here = {f"models--org--{name}": bench.hub.commit_of(f"org/{name}") for name in ("one", "two")}
        assert found == ({} if streamed else here)
