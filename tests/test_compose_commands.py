"""The commands of docker-compose.yml, run here without containers: they start, get healthy, and stop when told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.test_compose import ROOT, SERVICES


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The services' own environment, with a Redis, a data folder and a port of the test's."""
    server = RedisServer(tmp_path / "redis")
    given = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in SERVICES["web"]["environment"].items()}
    yield {
        **os.environ,
        **given,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WEIGHTLOOM_REDIS_URL": server.url,
        "WEIGHTLOOM_DATA": str(tmp_path / "data"),
        "WEIGHTLOOM_PORT": str(free_port()),
    }
    server.stop()


def command(words: list[str], environment: dict[str, str]) -> list[str]:
    """A command of the file, for this test's port and on the loopback address alone; without the installed script."""
    port = environment["WEIGHTLOOM_PORT"]
    first, *others = [word.replace("8300", port).replace("0.0.0.0", "127.0.0.1") for word in words]
    return ["python", "-m", "worker.cli", *others] if first == "weightloom" else [first, *others]


@contextmanager
def running(service: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(SERVICES[service]["command"], environment), env=environment, cwd=ROOT, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def healthy(service: str, environment: dict[str, str]) -> bool:
    words = command(SERVICES[service]["healthcheck"]["test"][1:], environment)
    return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, timeout=60).returncode == 0


def wait_until_healthy(service: str, process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + 90
    while not healthy(service, environment):
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.2)


def test_web_and_worker_start_get_healthy_and_stop(environment: dict[str, str], tmp_path: Path):
    web_log, worker_log = tmp_path / "web.log", tmp_path / "worker.log"
    assert not healthy("web", environment)
    with running("web", environment, web_log) as web:
        wait_until_healthy("web", web, environment, web_log)
        assert not healthy("worker", environment)
        with running("worker", environment, worker_log) as worker:
            wait_until_healthy("worker", worker, environment, worker_log)
            worker.send_signal(signal.Signals[SERVICES["worker"]["stop_signal"]])
            assert worker.wait(60) == 0, worker_log.read_text()[-4000:]
        assert not healthy("worker", environment)
        web.send_signal(signal.SIGTERM)
        assert web.wait(30) in (0, -signal.SIGTERM), web_log.read_text()[-4000:]
