"""A database and, where asked for, a Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db import Sessions, make_engine, migrate, sessions
from app.jobs.store import Store
from app.settings import Settings
from tests.support.redis import RedisServer


class Clock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def database(settings: Settings) -> Iterator[Sessions]:
    migrate(settings)
    engine = make_engine(settings)
    yield sessions(engine)
    engine.dispose()


@pytest.fixture
def store(database: Sessions, clock: Clock) -> Store:
    return Store(database, clock)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "r")
    yield server
    server.stop()
