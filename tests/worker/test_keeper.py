"""Upkeep: what is announced again, what is cleared away, and what is left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.accounts.vault import Vault
from app.db import make_engine, migrate, sessions
from app.hub.cache import UNFINISHED
from app.jobs.models import Job
from app.jobs.queue import Queue
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.redis import RedisServer
from tests.support.waiting import until
from worker.keeper import Keeper


class Place:
    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer(folder / "r")
        self.settings = Settings(data=folder / "data", redis_url=self.redis.url)
        migrate(self.settings)
        self.engine = make_engine(self.settings)
        self.sessions = sessions(self.engine)
        self.store = Store(self.sessions)
        self.queue = Queue(self.settings, self.store)
        self.keeper = Keeper(self.settings, "merge@here", ["merge"], "cpu")

    def submit(self, **values: object) -> Job:
        return self.store.submit(NewJob(**{"kind": "merge", **values}))[0]  # type: ignore[arg-type]

    def end(self, job: Job, state: str, ago: float = 0.0) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE job SET state = ?, finished_at = ? WHERE id = ?", (state, time.time() - ago, job.id)
            )

    def folders(self, name: str) -> list[str]:
        """Make a work folder and an artifact of that name."""
        made = [self.settings.work / name, self.settings.artifacts / name]
        for folder in made:
            folder.mkdir(parents=True)
            (folder / "weights").write_text("x")
        return [str(folder) for folder in made]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.queue.close()
    place.engine.dispose()
    place.redis.stop()


def test_downloads_that_were_broken_off_long_ago_are_removed_at_the_start(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    blobs = tmp_path / "hub" / "models--org--one" / "blobs"
    blobs.mkdir(parents=True)
    old, fresh, whole = (blobs / f"{'a' * 64}{end}" for end in (UNFINISHED, f"1{UNFINISHED}", ""))
    for path in (old, fresh, whole):
        path.write_bytes(b"x" * 5000)
    for path in (old, whole):
        os.utime(path, (1, 1))
    place.keeper.start()
    until(lambda: not old.exists())
    place.keeper.stop()
    assert fresh.exists()
    assert whole.exists()


def test_a_forgotten_job_is_announced_once(place: Place) -> None:
    jobs = [place.submit() for _ in range(3)]
    place.keeper.sweep()
    assert place.queue.waiting("merge") == 3
    place.keeper.sweep()
    assert place.queue.waiting("merge") == 3
    with place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE job SET sent_at = 1")
    place.keeper.sweep()  # while messages wait there is no need for more
    assert place.queue.waiting("merge") == 3
    place.redis.flush()
    place.keeper.sweep()
    assert place.queue.waiting("merge") == 3
    assert all((place.store.get(job.id) or job).sent_at for job in jobs)


def test_without_redis_a_sweep_does_no_harm(place: Place) -> None:
    place.submit()
    place.redis.stop()
    place.keeper.sweep()
    place.keeper.beat()
    assert [worker.name for worker in place.store.workers()] == ["merge@here"]
    place.redis.start()
    place.keeper.sweep()
    assert place.queue.waiting("merge") == 1


def test_folders_of_jobs_that_came_to_nothing_go(place: Place) -> None:
    waiting, done, cancelled, failed, old = (place.submit() for _ in range(5))
    for job, state, ago in (
        (done, "succeeded", 0), (cancelled, "cancelled", 0), (failed, "failed", 60), (old, "failed", 2 * 24 * 3600),
    ):  # fmt: skip
        place.end(job, state, ago)
    folders = {job.id: place.folders(job.id) for job in (waiting, done, cancelled, failed, old)}
    stranger = place.folders("f" * 32)
    place.keeper.sweep()
    for job in (waiting, done, failed):
        assert all(Path(folder).exists() for folder in folders[job.id])
    for job in (cancelled, old):
        assert not any(Path(folder).exists() for folder in folders[job.id])
    assert all(Path(folder).exists() for folder in stranger)  # a job of another database, perhaps


def test_tokens_of_ended_jobs_are_forgotten(place: Place) -> None:
    vault = Vault(place.settings, place.sessions)
    source = place.submit()
    cancelled = place.submit(kind="upload", source_job=source.id, token_id=vault.put("hf_one"))
    waiting = place.submit(kind="upload", source_job=source.id, token_id=vault.put("hf_two"))
    place.store.request_cancel(cancelled.id)
    place.keeper.sweep()
    assert (place.store.get(cancelled.id) or cancelled).token_id is None
    assert vault.get(waiting.token_id or "") == "hf_two"
    with place.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM secret").scalar() == 1
