"""The application in this process, as a browser on this machine sees it; and a real Redis where a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Sessions, make_engine, migrate, sessions
from app.jobs.store import Store
from app.main import create_app
from app.settings import Settings
from tests.support.redis import RedisServer

BASE_URL = "http://127.0.0.1:8300"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """Empty, and shared by the tests: whoever stops or freezes one takes ``own_redis``."""
    redis_server.flush()
    return redis_server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", port=8300)


@pytest.fixture
def with_redis(settings: Settings, redis: RedisServer) -> Settings:
    return settings.model_copy(update={"redis_url": redis.url})


@pytest.fixture
def database(settings: Settings) -> Iterator[Sessions]:
    """The database of ``settings``, as a worker beside the web would open it."""
    migrate(settings)
    engine = make_engine(settings)
    yield sessions(engine)
    engine.dispose()


@pytest.fixture
def store(database: Sessions) -> Store:
    return Store(database)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


def browser(app: FastAPI) -> TestClient:
    """Crashes come back as responses, as they do from a real server."""
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with browser(app) as client:
        yield client
