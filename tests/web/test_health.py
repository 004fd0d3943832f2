"""The health check: true, and bounded in time whatever hangs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from app.db import Sessions, make_engine
from app.jobs.upkeep import Upkeep
from app.main import create_app
from app.settings import Settings
from tests.support.redis import RedisServer
from tests.support.waiting import until
from tests.web.conftest import browser


def beat(database: Sessions, name: str) -> None:
    Upkeep(database).beat(name, host="h", pid=1, queues=["merge"], device="cpu", memory_free=1, disk_free=1)


def test_all_is_well(with_redis: Settings, database: Sessions) -> None:
    with browser(create_app(with_redis)) as client:
        assert client.get("/healthz").json() == {"web": "ok", "database": "ok", "redis": "ok", "workers": 0}
        beat(database, "one")
        beat(database, "two")
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()["workers"]) == (200, 2)


def test_without_redis(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"web": "ok", "database": "ok", "redis": "no answer", "workers": 0}


def test_redis_hangs_and_comes_back(settings: Settings, own_redis: RedisServer) -> None:
    with browser(create_app(replace(settings, redis_url=own_redis.url))) as client:
        assert client.get("/healthz").status_code == 200
        own_redis.freeze()
        try:
            answer = client.get("/healthz")
            assert (answer.status_code, answer.json()["redis"]) == (503, "no answer")
        finally:
            own_redis.thaw()
        until(lambda: client.get("/healthz").status_code == 200)


def test_busy_threads_do_not_make_it_ill(with_redis: Settings) -> None:
    """A hundred requests that wait for a slow Hub take every thread there is, but those of the health check."""
    app = create_app(with_redis)
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> str:
        waiting.release()
        go_on.wait(30)
        return "late"

    app.add_api_route("/api/test/slow", slow)
    with browser(app) as client, ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(client.get, "/api/test/slow") for _ in range(100)]
        try:
            for _ in range(40):
                assert waiting.acquire(timeout=20)
            assert client.get("/healthz").status_code == 200
        finally:
            go_on.set()
        assert {answer.result().status_code for answer in answers} == {200}


def test_the_database_is_broken(with_redis: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with browser(create_app(with_redis)) as client:
        engine = make_engine(with_redis)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE worker")
        engine.dispose()
        answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"web": "ok", "database": "no answer", "redis": "ok", "workers": 0}
    assert "worker" not in answer.text.replace('"workers"', "")
