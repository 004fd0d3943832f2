"""The application in this process, as a browser on this machine sees it; and a real Redis where a test asks for one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db import Sessions, make_engine, migrate, sessions
from app.jobs.store import Store
from app.main import create_app
from app.settings import Settings
from app.web.security import allowed_hosts
from tests.support.hub import StandInHub
from tests.support.hub_state import User
from tests.support.redis import RedisServer
from tests.support.tiny_models import make_tiny

NOBODY = "http://127.0.0.1:9"
BASE_URL = "http://127.0.0.1:8300"
TOKEN = "hf_alice0000000000000000000000"


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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to copy: quicker than migrating anew for every test."""
    settings = Settings(data=tmp_path_factory.mktemp("schema"))
    migrate(settings)
    return Path(settings.database.removeprefix("sqlite:///"))


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> Settings:
    """A data folder of the test's own; the Hub is a port nobody listens on."""
    (tmp_path / "data").mkdir()
    shutil.copy(empty_database, tmp_path / "data")
    return Settings(data=tmp_path / "data", port=8300, hub_endpoint=NOBODY)


@pytest.fixture
def with_redis(settings: Settings, redis: RedisServer) -> Settings:
    return replace(settings, redis_url=redis.url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Sessions]:
    """The database of ``settings``, as a worker beside the web would open it."""
    engine = make_engine(settings)
    yield sessions(engine)
    engine.dispose()


@pytest.fixture
def store(database: Sessions) -> Store:
    return Store(database)


_APPLICATIONS: dict[tuple[str, ...], FastAPI] = {}
"""By what they are for, and the names they answer to."""


def application(purpose: str, settings: Settings, add: Callable[[FastAPI], None] = lambda _: None) -> FastAPI:
    """One for all tests of a process with this purpose, as a server has one: with the first requests it makes its
    routes and templates ready, which takes longer than most tests. What it keeps in memory is forgotten. ``add`` gives
    it routes that no other purpose has."""
    key = (purpose, *sorted(allowed_hosts(settings)))
    if key not in _APPLICATIONS:
        _APPLICATIONS[key] = create_app(settings)
        add(_APPLICATIONS[key])
    app = _APPLICATIONS[key]
    app.state.settings, app.state.job_memory = settings, None
    return app


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return application("alone", settings)


def browser(app: FastAPI) -> TestClient:
    """Crashes come back as responses, as they do from a real server."""
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with browser(app) as client:
        yield client


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A Hub with ``loom/base`` and three fine-tunes of it, ``loom/code``, ``loom/prose`` and the private
    ``alice/diary``; an empty cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    base = make_tiny(tmp_path / "hub/loom/base", seed=1)
    for seed, name in enumerate(("loom/code", "loom/prose", "alice/diary"), start=2):
        make_tiny(tmp_path / "hub" / name, seed=seed, base=base)
    with StandInHub(tmp_path / "hub", tokens={TOKEN: User("alice")}) as hub:
        hub.repos.set_meta("alice/diary", private=True)
        hub.repos.set_meta("loom/code", downloads=7, tags=["license:apache-2.0"])
        yield hub


@pytest.fixture
def with_hub(with_redis: Settings, hub: StandInHub, tmp_path: Path) -> Settings:
    """Redis, the Hub, and one folder of models of one's own: ``local:shelf/one``."""
    make_tiny(tmp_path / "shelf/one", seed=9)
    return replace(with_redis, hub_endpoint=hub.endpoint, model_roots={"shelf": tmp_path / "shelf"})


@pytest.fixture
def online(with_hub: Settings) -> Iterator[TestClient]:
    with browser(application("online", with_hub)) as client:
        yield client
