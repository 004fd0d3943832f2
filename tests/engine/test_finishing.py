"""When a shard is published: while the next one is made, and also when that one fails."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

import worker.engine.execute as execute_module
from tests.engine.test_execute import averages
from worker.engine import following
from worker.engine.execute import Written, execute
from worker.engine.methods import METHODS, blends
from worker.engine.work import Work


def test_a_shard_is_published_while_the_next_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = averages(tmp_path, shards=2)
    first, second = case.plan().shards
    published = threading.Event()
    late = {step.name for step in second.steps}

    def linear(work: Work) -> None:
        assert work.step.name not in late or published.wait(60)
        blends.linear(work)

    monkeypatch.setattr(execute_module, "METHODS", {**METHODS, "linear": linear})
    told: list[Written] = []

    def on_shard(written: Written) -> None:
        told.append(written)
        published.set()

    execute(case.plan(), case.folders, tmp_path / "out", on_shard=on_shard)
    assert [one.file for one in told] == [first.file, second.file]


def test_a_file_is_brought_to_the_disk_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = averages(tmp_path)
    (shard,) = case.plan().shards
    last = shard.steps[-1].name
    synced = threading.Event()
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        synced.set()

    def linear(work: Work) -> None:
        assert work.step.name != last or synced.wait(60)
        blends.linear(work)

    monkeypatch.setattr(following, "_SYNC_BYTES", 1)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(execute_module, "METHODS", {**METHODS, "linear": linear})
    execute(case.plan(), case.folders, tmp_path / "out", threads=1)


def test_a_whole_shard_is_kept_when_the_next_one_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = averages(tmp_path, shards=2)
    first, second = case.plan().shards
    late = {step.name for step in second.steps}

    def linear(work: Work) -> None:
        if work.step.name in late:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        blends.linear(work)

    monkeypatch.setattr(execute_module, "METHODS", {**METHODS, "linear": linear})
    told: list[Written] = []
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        execute(case.plan(), case.folders, tmp_path / "out", on_shard=told.append)
    assert [one.file for one in told] == [first.file]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [first.file]
