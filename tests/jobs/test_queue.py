"""Sending: what a message holds, and how long it can take when Redis is away."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs.queue import Queue
from app.jobs.redis_urls import broker_url
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE


@pytest.fixture
def queue(settings: Settings, store: Store, redis: RedisServer) -> Iterator[Queue]:
    queue = Queue(replace(settings, redis_url=redis.url), store)
    yield queue
    queue.close()


def test_a_message_holds_the_job_id_and_nothing_else(queue: Queue, store: Store, redis: RedisServer) -> None:
    job, _ = store.submit(NewJob("merge", recipe="merge_method: linear # the secret sauce", title="Secret"))
    assert queue.send(job.id, "merge") is True
    with redis.client() as client:
        raw = client.lrange("merge", 0, -1)
        everything = b"".join(client.dump(key) for key in client.keys("*"))
    assert len(raw) == 1
    message = json.loads(raw[0])
    assert json.loads(b64decode(message["body"]))[:2] == [[job.id], {}]
    assert message["content-type"] == "application/json"
    assert (message["headers"]["task"], message["headers"]["argsrepr"]) == ("merge", f"['{job.id}']")
    assert b"sauce" not in everything
    assert b"Secret" not in everything
    assert queue.waiting("merge") == 1
    sent = store.get(job.id)
    assert sent is not None
    assert sent.sent_at is not None


def test_uploads_have_a_queue_of_their_own(queue: Queue, store: Store) -> None:
    source, _ = store.submit(NewJob("merge"))
    job, _ = store.submit(NewJob("upload", source_job=source.id))
    assert queue.send(job.id, "upload") is True
    assert (queue.waiting("merge"), queue.waiting("upload")) == (0, 1)


def test_redis_down_is_quick_and_harmless(queue: Queue, store: Store, redis: RedisServer) -> None:
    job, _ = store.submit(NewJob("merge"))
    redis.stop()
    started = time.monotonic()
    assert queue.send(job.id, "merge") is False
    assert queue.waiting("merge") is None
    assert time.monotonic() - started < PATIENCE
    waiting = store.get(job.id)
    assert waiting is not None
    assert (waiting.state, waiting.sent_at) == ("queued", None)
    redis.start()
    assert queue.send(job.id, "merge") is True


def test_redis_frozen_is_bounded(queue: Queue, store: Store, redis: RedisServer) -> None:
    job, _ = store.submit(NewJob("merge"))
    assert queue.send(job.id, "merge") is True  # connections are open now: the harder case
    redis.freeze()
    started = time.monotonic()
    assert queue.send(job.id, "merge") is False
    assert time.monotonic() - started < PATIENCE
    redis.thaw()
    assert queue.send(job.id, "merge") is True


@pytest.mark.parametrize(
    ("ours", "celerys"),
    [
        ("redis://:word@host:6379/2", "redis://:word@host:6379/2"),
        ("rediss://host/0", "rediss://host/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
    ],
)
def test_addresses(ours: str, celerys: str) -> None:
    assert broker_url(ours) == celerys


def test_both_clients_reach_a_socket_in_an_odd_folder(tmp_path: Path, store: Store) -> None:
    odd = Settings(data=tmp_path / "a b%20c ü")
    server = RedisServer(odd.redis_socket.parent)
    try:
        queue = Queue(odd, store)
        job, _ = store.submit(NewJob("merge"))
        assert queue.send(job.id, "merge") is True
        assert queue.waiting("merge") == 1
        queue.close()
    finally:
        server.stop()


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    deep = Settings(data=tmp_path / ("d" * 60) / ("e" * 60))
    assert len(str(deep.redis_socket)) < 100
    assert deep.redis_socket == Settings(data=deep.data).redis_socket
    assert deep.redis_socket != Settings(data=deep.data / "x").redis_socket
    assert Settings(data=tmp_path).redis_socket.is_relative_to(tmp_path)
