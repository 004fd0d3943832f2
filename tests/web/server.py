"""The web process as it runs for real: uvicorn in a process of its own, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2

from app.settings import Settings
from tests.support.waiting import PATIENCE, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WebServer:
    """Starts at once and waits until it answers. ``grace``: seconds uvicorn leaves open connections at the end; None
    lets it wait for ever, so that a test sees who keeps it."""

    def __init__(self, settings: Settings, log: Path, port: int | None = None, grace: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        environment = {
            **os.environ,
            "WEIGHTLOOM_DATA": str(settings.data),
            "WEIGHTLOOM_PORT": str(self.port),
            "WEIGHTLOOM_REDIS_URL": settings.redis,
            "WEIGHTLOOM_HUB_ENDPOINT": settings.hub_endpoint,
        }
        command = [sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", str(self.port)]
        if grace is not None:
            command += ["--timeout-graceful-shutdown", str(grace)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        until(lambda: self._answers() or self._process.poll() is not None, what=log.read_text)
        assert self._process.poll() is None, log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/api/methods", timeout=PATIENCE).status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        """Ask it to stop as a service manager does. Fails when it waits for somebody, who would keep it for ever."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"it did not stop:\n{self.log()}") from None

    def log(self) -> str:
        return self._log.read_text()
