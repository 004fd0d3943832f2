"""``weightloom up``: one command starts everything, one signal stops it, and nothing is ever left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.db import make_engine, sessions
from app.jobs.queue import Queue
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.waiting import until
from tests.worker.rig import RECIPE, ROOT


class Running:
    """A started ``weightloom up`` on its own data folder, and every process that belongs to it."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHTLOOM_")}
        self._environment = {**inherited, "WEIGHTLOOM_DATA": str(data), "WEIGHTLOOM_PORT": "0", **environment}
        self.errors = data.parent / f"{data.name}.errors"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", "up"],
                cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def ready(self) -> str:
        """The address, once the one line is there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"Weightloom is ready at (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line + self.told()
        return found[1]

    def told(self) -> str:
        logs = sorted((self.data / "logs").glob("*.log")) if self.data.exists() else []
        return "\n".join(path.read_text()[-2000:] for path in [self.errors, *logs])

    def family(self) -> list[psutil.Process]:
        """By their environment, so that orphans are found too; Redis writes over its own, but shows its socket."""
        found = []
        redis = f"unixsocket:{Settings(data=self.data).redis_socket}"
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("WEIGHTLOOM_DATA") == str(self.data)
                if ours or redis in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def members(self, words: str) -> list[psutil.Process]:
        found = []
        for one in self.family():
            with suppress(psutil.Error):  # it may end while we look
                if words in " ".join(one.cmdline()):
                    found.append(one)
        return found

    def member(self, words: str) -> psutil.Process:
        return self.members(words)[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)

    def close(self) -> None:
        for process in self.family():
            process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(name: str = "data", **environment: str) -> Running:
        running.append(Running(tmp_path / name, **environment))
        return running[-1]

    yield start
    for one in running:
        one.close()


def health(address: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=5) as answer:
            return json.loads(answer.read())
    except OSError:
        return {}


WELL = {"web": "ok", "database": "ok", "redis": "ok", "workers": 2}


def test_start_merge_and_stop(up: Callable[..., Running], models: Path) -> None:
    running = up(WEIGHTLOOM_MODEL_ROOTS=f"models={models}")
    address = running.ready()
    until(lambda: health(address) == WELL, what=running.told)
    assert not [one for one in running.family() if one.net_connections("tcp") and "redis" in one.name()]

    settings = Settings(data=running.data, model_roots={"models": models})
    engine = make_engine(settings)
    store = Store(sessions(engine))
    queue = Queue(settings, store)
    job, _ = store.submit(NewJob("merge", recipe=RECIPE))
    assert queue.send(job.id, "merge")
    until(lambda: (store.get(job.id) or job).ended, 120, running.told)
    assert (store.get(job.id) or job).state == "succeeded", running.told()
    queue.close()
    engine.dispose()

    assert running.stop(signal.SIGINT) == 0, running.told()
    assert running.process.stdout is not None
    assert running.process.stdout.read() == ""
    assert running.errors.read_text() == ""
    assert running.family() == []
    assert not (running.data / "redis" / "redis.sock").exists()


def test_what_dies_is_started_again_and_nothing_survives_us(up: Callable[..., Running]) -> None:
    running = up()
    address = running.ready()
    for words in ("uvicorn", "redis-server", "worker --queues merge"):
        before = running.member(words).pid
        running.member(words).kill()
        until(lambda words=words, before=before: any(
            one.pid != before for one in running.members(words)
        ), 120, running.told)  # fmt: skip
    until(lambda: health(address) == WELL, 120, running.told)
    assert "starting it again" in running.errors.read_text()

    assert len(running.family()) >= 7
    running.process.kill()
    until(lambda: running.family() == [], 60, lambda: str(running.family()))
    again = up()
    again.ready()
    assert again.stop() == 0
    assert again.family() == []


def test_a_second_one_on_the_same_folder_is_refused(up: Callable[..., Running]) -> None:
    first = up()
    address = first.ready()
    second = up()
    assert second.process.wait(120) == 3
    told = second.errors.read_text()
    assert f"already runs on this data folder, at {address}" in told
    assert "WEIGHTLOOM_DATA" in told
    assert "Traceback" not in told
    until(lambda: health(address) == WELL, what=first.told)
    other = up("d" * 100)  # too deep for a socket
    assert other.ready() != address
    assert (other.stop(), first.stop()) == (0, 0)
    assert other.family() == first.family() == []
    assert not Settings(data=other.data).redis_socket.parent.exists()


def test_a_taken_port_says_what_to_set(up: Callable[..., Running]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = up(WEIGHTLOOM_PORT=str(port))
        assert running.process.wait(120) == 3
    told = running.errors.read_text()
    assert f"Port {port} is taken" in told
    assert "WEIGHTLOOM_PORT" in told
    assert "Traceback" not in told
    assert running.family() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"WEIGHTLOOM_PORT": "http"}, "WEIGHTLOOM_PORT"),
        ({"WEIGHTLOOM_HOST": "203.0.113.7"}, "WEIGHTLOOM_HOST"),
        ({"WEIGHTLOOM_MODEL_ROOTS": "nonsense"}, "name=/path"),
        ({"WEIGHTLOOM_REDIS_URL": "redis://127.0.0.1:1/0"}, "WEIGHTLOOM_REDIS_URL"),
    ],
)
def test_a_bad_setting_is_named(up: Callable[..., Running], settings: dict[str, str], words: str) -> None:
    running = up(**settings)
    assert running.process.wait(120) == 3
    assert words in running.errors.read_text()
    assert "Traceback" not in running.errors.read_text()


def test_a_part_that_cannot_start_ends_all_and_says_why(up: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "redis").write_text("in the way")
    running = up()
    assert running.process.wait(120) == 3
    assert "Traceback" not in running.errors.read_text()
    assert running.family() == []
