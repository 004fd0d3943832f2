"""The worker's health check: this host's heartbeat in the database, and nothing else, makes it healthy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.db import make_engine, migrate, sessions
from app.jobs.store import FRESH_SECONDS
from app.jobs.upkeep import Upkeep
from app.settings import Settings
from worker.health import is_alive


def beat(settings: Settings, host: str, age: float = 0.0) -> None:
    import time

    engine = make_engine(settings)
    upkeep = Upkeep(sessions(engine), clock=lambda: time.time() - age)
    upkeep.beat(f"celery@{host}", host=host, pid=1, queues=["merge"], device="cpu", memory_free=1, disk_free=1)
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data=tmp_path)
    migrate(settings)
    return settings


def test_a_fresh_heartbeat_of_this_host_is_health(settings: Settings):
    assert not is_alive(settings, "here")
    beat(settings, "here")
    assert is_alive(settings, "here")


def test_an_old_heartbeat_or_that_of_another_host_is_not(settings: Settings):
    beat(settings, "here", age=FRESH_SECONDS + 1)
    beat(settings, "there")
    assert not is_alive(settings, "here")
    assert is_alive(settings, "there")


def test_a_database_without_tables_is_not_health(tmp_path: Path):
    assert not is_alive(Settings(data=tmp_path), "here")


def test_the_command_tells_by_its_exit_status(settings: Settings):
    import socket

    def status() -> int:
        environment = {**os.environ, "WEIGHTLOOM_DATA": str(settings.data)}
        return subprocess.run([sys.executable, "-m", "worker.health"], env=environment, timeout=60).returncode

    assert status() == 1
    beat(settings, socket.gethostname())
    assert status() == 0
