"""``weightloom up``: Redis, workers and web, started together, watched, and stopped together."""

from __future__ import annotations

import errno
import fcntl
import http.client
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from redis import Redis, RedisError

from app.db import make_engine, migrate, sessions
from app.jobs.queue import QUEUES
from app.jobs.store import Store
from app.recipe.findings import Refused, refuse
from app.settings import ROOT, Settings
from worker.children import Child
from worker.redis_server import find_redis_server, redis_command

START_SECONDS = 90.0
"""How long everything together may take to answer. Two seconds is usual; a machine that wakes up needs longer."""
WEB_SECONDS = 4
"""How long the web server waits for open connections when it stops."""
STOP_SECONDS = 30.0
"""How long a stopping worker may take: it hands its job back first."""
MOST_DEATHS = 5
"""A part that dies more often within a minute will not get better by itself."""
LOOPBACK = "127.0.0.1"

Say = Callable[[str], None]


def up(settings: Settings, say: Say, warn: Say) -> None:
    """Run everything until Ctrl-C or SIGTERM. ``say`` is told once that it is ready, ``warn`` of parts that died.

    Raises Refused when it cannot start or go on.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no memory with tokens in it on the disk
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(settings.data / "up.lock") as tell:
        settings = _with_port(settings)
        tell(address(settings))
        migrate(settings)
        house = House(settings, warn)
        with house.signals():
            try:
                house.start()
                say(f"Weightloom is ready at {address(settings)}")
                house.watch()
            except Stopped:
                return
            finally:
                house.stop()


def address(settings: Settings) -> str:
    """Where a browser on this machine finds it."""
    host = LOOPBACK if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


class Stopped(Exception):
    """Somebody asked us to stop."""


class House:
    """The parts and their order: Redis first in, last out."""

    def __init__(self, settings: Settings, warn: Say) -> None:
        self._settings = settings
        self._warn = warn
        self._stop = threading.Event()
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        logs, env = settings.data / "logs", _environment(settings)
        python = [sys.executable, "-P", "-m"]
        self.redis = None if settings.redis_url else self._private_redis(logs, env)
        web = [
            "uvicorn", "app.main:create_app", "--factory", "--host", settings.host, "--port", str(settings.port),
            "--timeout-graceful-shutdown", str(WEB_SECONDS), "--no-server-header",
        ]  # fmt: skip
        self.web = Child("web", [*python, *web], logs / "web.log", env)
        self.workers = tuple(
            Child(f"worker {queue}", [*python, "worker.cli", "worker", "--queues", queue], logs / f"{queue}.log", env)
            for queue in dict.fromkeys(QUEUES.values())
        )

    @property
    def parts(self) -> tuple[Child, ...]:
        return (*([self.redis] if self.redis else []), *self.workers, self.web)

    def start(self) -> None:
        """Returns when everything answers. Raises Refused, Stopped."""
        if self.redis is not None:
            self.redis.start()
            self._wait_for(self._redis_answers)
        elif not self._redis_answers():
            raise refuse(
                "no-redis", "WEIGHTLOOM_REDIS_URL", "The Redis that WEIGHTLOOM_REDIS_URL names does not answer.",
                "Start it, correct the address, or unset it: then a private Redis is started.",
            )  # fmt: skip
        for part in (*self.workers, self.web):
            part.start()
        self._wait_for(lambda: self._web_answers() and self._workers_listen())

    def watch(self) -> None:
        """Start again whatever dies, until told to stop (Stopped), or one dies all the time (Refused)."""
        while not self._stop.wait(0.25):
            for part in self.parts:
                if part.ended:
                    self._again(part)
        raise Stopped

    def stop(self) -> None:
        """Stop everything; what does not is ended. Nothing is left behind."""
        self._stop.clear()
        for part in (self.web, *self.workers):
            part.send(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for part in (self.web, *self.workers):
            while not part.wait(min(deadline, time.monotonic() + 0.1)):
                if self._stop.is_set() or time.monotonic() >= deadline:  # asked a second time, or out of patience
                    part.kill()
        if self.redis is not None:
            self.redis.send(signal.SIGTERM)
            self.redis.wait(time.monotonic() + 3)
        for part in self.parts:
            part.kill()
        if self.redis is not None and not self._settings.redis_socket.is_relative_to(self._settings.data):
            with suppress(OSError):
                self._settings.redis_socket.parent.rmdir()

    @contextmanager
    def signals(self) -> Iterator[None]:
        def asked(_number: int, _frame: FrameType | None) -> None:
            self._stop.set()

        before = {one: signal.signal(one, asked) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _private_redis(self, logs: Path, env: Mapping[str, str]) -> Child:
        socket_path = self._settings.redis_socket
        socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if socket_path.parent.stat().st_uid != os.getuid():
            raise refuse(
                "foreign-folder", str(socket_path.parent), "This folder belongs to somebody else.",
                "Use a data folder with a shorter path (WEIGHTLOOM_DATA).",
            )  # fmt: skip
        socket_path.parent.chmod(0o700)
        command = redis_command(find_redis_server(), socket_path, socket_path.parent)
        return Child("Redis", command, logs / "redis.log", env)

    def _again(self, part: Child) -> None:
        self._deaths.append(time.monotonic())
        if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < 60:
            raise _died(part, "keeps dying")
        self._warn(f"The {part.name} process ended; starting it again. Its log: {part.log}")
        part.kill()
        part.start()

    def _wait_for(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            for part in self.parts:
                if part.ended:
                    raise _died(part, "did not start")
            if self._stop.wait(0.1):
                raise Stopped
            if time.monotonic() > deadline:
                raise refuse(
                    "slow-start", "", f"Not everything answered within {START_SECONDS:.0f} s.",
                    f"Look into the logs in {self._settings.data / 'logs'}.",
                )  # fmt: skip

    def _redis_answers(self) -> bool:
        with suppress(RedisError, OSError), Redis.from_url(self._settings.redis, socket_timeout=1) as client:
            return bool(client.ping())
        return False

    def _web_answers(self) -> bool:
        host = address(self._settings).removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _workers_listen(self) -> bool:
        engine = make_engine(self._settings)
        try:
            listening = {worker.pid for worker in Store(sessions(engine)).workers()}
        finally:
            engine.dispose()
        return listening >= {part.pid for part in self.workers}


def _died(part: Child, what: str) -> Refused:
    return refuse(
        "part-died", part.name, f"The {part.name} process {what}. Its last words:\n{part.last_words()}",
        f"See {part.log} for more.",
    )  # fmt: skip


def _environment(settings: Settings) -> dict[str, str]:
    """What the parts are told: all of our environment, and what was settled here."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "WEIGHTLOOM_DATA": str(settings.data),
        "WEIGHTLOOM_HOST": settings.host,
        "WEIGHTLOOM_PORT": str(settings.port),
    }


def _with_port(settings: Settings) -> Settings:
    """The same settings with a port that is free now; 0 stands for any. Raises Refused."""
    try:
        family, _, _, _, where = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            return replace(settings, port=probe.getsockname()[1])
    except OSError as problem:
        if isinstance(problem, socket.gaierror) or problem.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise refuse(
                "bad-address", settings.host, f"This machine has no address {settings.host} ({problem.strerror}).",
                "Set WEIGHTLOOM_HOST to one it has, such as 127.0.0.1.",
            ) from None  # fmt: skip
        raise refuse(
            "port-taken", str(settings.port), f"Port {settings.port} is taken by another program.",
            f"Choose another: WEIGHTLOOM_PORT={settings.port + 1 if settings.port < 65535 else 8300}.",
        ) from None  # fmt: skip


@contextmanager
def _alone(path: Path) -> Iterator[Callable[[str], None]]:
    """Holds the data folder. Yields what to tell the next one who tries: where this one is. Raises Refused."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            said = lock.read().strip()
            raise refuse(
                "already-running", str(path.parent),
                f"Weightloom already runs on this data folder{f', at {said}' if said else ''}.",
                "Use that one, or set WEIGHTLOOM_DATA to another folder.",
            ) from None  # fmt: skip

        def tell(text: str) -> None:
            lock.seek(0)
            lock.truncate()
            lock.write(text)
            lock.flush()

        yield tell
