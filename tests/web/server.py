"""The web process as it runs for real: uvicorn in a process of its own, on a free port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from app.settings import Settings


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
        deadline = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/api/methods", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> float:
        """Ask it to stop as a service manager does. Returns the seconds it took."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return time.monotonic() - started

    def log(self) -> str:
        return self._log.read_text()
