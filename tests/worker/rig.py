"""Real workers on a real Redis and database, and a hand on what goes wrong with them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from app.db import make_engine, migrate, sessions
from app.jobs.models import Job
from app.jobs.queue import Queue
from app.jobs.store import NewJob, Store
from app.settings import Settings
from app.storage.local import LocalArtifacts
from tests.support.redis import RedisServer
from tests.support.tiny_models import make_tiny
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
LEASE = 12.0
"""Long enough for a busy machine; tests that wait for it to run out ask for ``SHORT_LEASE``."""
SHORT_LEASE = 3.0

RECIPE = """\
merge_method: linear
models:
  - model: local:models/one
    parameters: {weight: 0.75}
  - model: local:models/two
    parameters: {weight: 0.25}
dtype: bfloat16
"""


def make_models(folder: Path) -> Path:
    """Two parents of 75 tensors (4 MB) each, in one file and in three."""
    base = make_tiny(folder / "one", seed=1, hidden=128, layers=8, vocab=2000)
    make_tiny(folder / "two", seed=2, base=base, scale=0.2, shards=3)
    return folder


class Rig:
    """A data folder, a Redis, and workers that can be started, slowed down and killed."""

    def __init__(self, folder: Path, models: Path, **settings: Any) -> None:
        self.folder = folder
        self.redis = RedisServer(folder / "r")
        values = {
            "lease_seconds": LEASE,
            "sweep_seconds": 2.0,
            "stall_seconds": 900.0,
            "model_roots": {"models": models},
        }
        self.settings = Settings(data=folder / "data", redis_url=self.redis.url, **{**values, **settings})
        migrate(self.settings)
        self.engine = make_engine(self.settings)
        self.store = Store(sessions(self.engine))
        self.queue = Queue(self.settings, self.store)
        self.artifacts = LocalArtifacts(self.settings.artifacts)
        self.workers: list[subprocess.Popen[bytes]] = []
        self._faults = folder / "faults.json"

    def environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **os.environ,
            "TEST_FAULTS": str(self._faults),
            "HF_HUB_CACHE": str(self.folder / "hub"),
            "WEIGHTLOOM_DATA": str(settings.data),
            "WEIGHTLOOM_REDIS_URL": self.redis.url,
            "WEIGHTLOOM_HUB_ENDPOINT": settings.hub_endpoint,
            "WEIGHTLOOM_LEASE_SECONDS": str(settings.lease_seconds),
            "WEIGHTLOOM_SWEEP_SECONDS": str(settings.sweep_seconds),
            "WEIGHTLOOM_STALL_SECONDS": str(settings.stall_seconds),
            "WEIGHTLOOM_MODEL_ROOTS": ",".join(f"{name}={path}" for name, path in settings.model_roots.items()),
        }

    def start_worker(self, name: str = "w", wait: bool = True) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "celery", "--app", "tests.worker.slow_worker", "worker", "--queues", "merge,io",
            "--hostname", f"{name}@here", "--without-gossip", "--without-mingle", "--loglevel", "INFO",
        ]  # fmt: skip
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(command, cwd=ROOT, env=self.environment(), stdout=log, stderr=log)
        self.workers.append(worker)
        if wait:
            until(lambda: worker.pid in {seen.pid for seen in self.store.workers()}, 120, self.told)
        return worker

    def faults(self, kills: int = 0, **faults: Any) -> None:
        """See ``faults.py``. ``kills``: how many processes ``kill_at_tensor`` is to end."""
        shutil.rmtree(self.folder / "kills", ignore_errors=True)
        (self.folder / "kills").mkdir()
        (self.folder / "at-shard").unlink(missing_ok=True)
        for bullet in range(kills):
            (self.folder / "kills" / str(bullet)).touch()
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(self._faults)

    def process_at(self, place: str, seconds: float = 90.0) -> int:
        """The process that has come to a stage, or to a ``tensor``, since this was asked last."""
        mark = self.folder / f"at-{place}"
        until(lambda: mark.exists() and mark.read_text(), seconds, self.told)
        pid = int(mark.read_text())
        mark.unlink()
        return pid

    def submit(self, recipe: str = RECIPE, send: bool = True, **values: Any) -> Job:
        job, _ = self.store.submit(NewJob(**{"kind": "merge", "recipe": recipe, "title": "A test", **values}))
        if send:
            until(lambda: self.queue.send(job.id, job.kind), what=self.told)  # it has a second for each try
        return job

    def job(self, job: Job) -> Job:
        found = self.store.get(job.id)
        assert found is not None
        return found

    def ended(self, job: Job, seconds: float = 120.0) -> Job:
        until(lambda: self.job(job).ended, seconds, self.told)
        return self.job(job)

    def weights(self, job: Job) -> dict[str, str]:
        """The artifact's files with their real SHA-256, each checked against the manifest."""
        manifest = self.artifacts.manifest(job.id)
        assert manifest is not None, self.told()
        folder = self.settings.artifacts / job.id
        assert {path.name for path in folder.iterdir()} == {"MANIFEST.json", *(file.name for file in manifest.files)}
        found = {}
        for file in manifest.files:
            content = (folder / file.name).read_bytes()
            found[file.name] = hashlib.sha256(content).hexdigest()
            assert (len(content), found[file.name]) == (file.size, file.sha256)
        return found

    def left_over(self) -> list[Path]:
        """Whatever lies where checkpoints are made."""
        return list(self.settings.work.rglob("*")) if self.settings.work.exists() else []

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def told(self) -> str:
        log = self.folder / "worker.log"
        return log.read_text()[-6000:] if log.exists() else ""

    def close(self) -> None:
        for worker in self.workers:
            family = [worker, *psutil.Process(worker.pid).children(recursive=True)] if worker.poll() is None else []
            for process in family:
                try:
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                except psutil.NoSuchProcess:
                    pass
            worker.wait()
        self.queue.close()
        self.engine.dispose()
        self.redis.stop()
