"""The health check: true, and bounded in time whatever hangs."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from app.db import Sessions, make_engine
from app.jobs.upkeep import Upkeep
from app.main import create_app
from app.settings import Settings
from tests.support.redis import RedisServer
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
    with browser(create_app(settings.model_copy(update={"redis_url": own_redis.url}))) as client:
        assert client.get("/healthz").status_code == 200
        own_redis.freeze()
        try:
            started = time.monotonic()
            answer = client.get("/healthz")
            assert time.monotonic() - started < 3
            assert (answer.status_code, answer.json()["redis"]) == (503, "no answer")
        finally:
            own_redis.thaw()
        deadline = time.monotonic() + 10
        while client.get("/healthz").status_code != 200:
            assert time.monotonic() < deadline


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
