"""The worker's own clock, beside the jobs: it shows that it is alive, and finds what got lost.

Messages may vanish with Redis, workers may die without a word. The rows tell: a job that waits and was not announced of
late is announced again; a job whose worker died is given to another, or ended; folders that belong to nobody go.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Sequence

import psutil
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.vault import Vault
from app.db import make_engine, sessions
from app.hub.cache import HubCache
from app.jobs.events import Publisher
from app.jobs.models import Job
from app.jobs.queue import Queue
from app.jobs.store import Store
from app.jobs.upkeep import Upkeep
from app.settings import Settings
from app.storage.local import LocalArtifacts

log = logging.getLogger(__name__)

ANNOUNCED_ENOUGH = 2
"""Sweeps that a message is given to reach a worker."""
LOOK_SECONDS = 1.0
"""How often to look whether the process of a job has died."""
KEEP_SECONDS = 24 * 3600.0
"""How long the finished shards of a failed job wait for another attempt."""
ABANDONED_SECONDS = 7 * 24 * 3600
"""After which a download that was broken off is not expected to go on."""


class Keeper(threading.Thread):
    """Runs in the worker's parent process, which does no jobs itself."""

    def __init__(self, settings: Settings, name: str, queues: Sequence[str], device: str) -> None:
        super().__init__(name="keeper", daemon=True)
        self._settings, self._name, self._queues, self._device = settings, name, list(queues), device
        made = sessions(make_engine(settings, durable=False))
        self._upkeep, self._vault = Upkeep(made), Vault(settings, made)
        self._queue = Queue(settings, Store(made))
        self._publisher = Publisher(settings)
        self._artifacts = LocalArtifacts(settings.artifacts)
        self._over = threading.Event()

    def stop(self) -> None:
        """No more rounds; this worker is taken off the list."""
        self._over.set()
        self.join(timeout=5)
        try:
            self._upkeep.leave(self._name)
        except SQLAlchemyError:
            log.warning("the worker could not be taken off the list", exc_info=True)

    def run(self) -> None:
        self.forget_downloads()
        gap = self._settings.sweep_seconds
        swept = float("-inf")
        last = time.time()
        while True:
            awake = time.time() - last < gap + 30  # else the machine slept, and so did every runner: let them renew
            last = time.time()
            try:
                self.look_after_own()
                if time.monotonic() - swept >= gap:
                    swept = time.monotonic()
                    self.beat()
                    if awake:
                        self.sweep()
            except Exception:
                log.exception("a round of upkeep failed; the next one comes")
            if self._over.wait(min(LOOK_SECONDS, gap)):
                return

    def forget_downloads(self) -> None:
        """Remove what downloads have left that nobody went on with for long."""
        freed = HubCache().forget_unfinished(ABANDONED_SECONDS)
        if freed:
            log.info("removed %d bytes of downloads that were never finished", freed)

    def beat(self) -> None:
        """Say that this worker is alive, and what room it has."""
        self._upkeep.beat(
            self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._queues,
            device=self._device,
            memory_free=psutil.virtual_memory().available,
            disk_free=shutil.disk_usage(self._settings.data).free,
        )

    def look_after_own(self) -> None:
        """A job whose process is gone need not wait for its lease to run out."""
        for job in self._upkeep.running_on(self._name):
            if job.pid is not None and not psutil.pid_exists(job.pid) and self._upkeep.expire(job):
                log.warning("job %s: its process %d is gone", job.id, job.pid)
                self.settle()
                self._announce([job])

    def sweep(self) -> None:
        """Everything that may have been lost."""
        self.settle()
        self._announce(self._upkeep.due(ANNOUNCED_ENOUGH * self._settings.sweep_seconds))
        self._clear_folders()
        for token_id in self._upkeep.spent_tokens():
            self._vault.forget(token_id)
            self._upkeep.drop_token(token_id)

    def settle(self) -> None:
        """End the jobs that nobody may go on with."""
        for job in self._upkeep.settle(psutil.virtual_memory().total):
            log.warning("job %s ended: its worker died", job.id)
            self._publisher.line(job.id, "done")
            if job.cancel_requested_at is not None:
                self._clear([job.id])

    def _announce(self, jobs: Sequence[Job]) -> None:
        """Send messages for jobs of the queues that hold none: while there are some, they come first, and messages for
        jobs that wait long would only pile up."""
        empty = {kind for kind in {job.kind for job in jobs} if self._queue.waiting(kind) == 0}
        for job in jobs:
            if job.kind in empty:
                log.info("job %s: sending a message for it again", job.id)
                self._queue.send(job.id, job.kind)

    def _clear_folders(self) -> None:
        """Remove what is left of jobs that came to nothing."""
        work = self._settings.work
        folders = [folder.name for folder in work.iterdir()] if work.is_dir() else []
        ids = [*folders, *self._artifacts.ids()]
        if ids:
            self._clear(self._upkeep.unwanted(ids, time.time() - KEEP_SECONDS))

    def _clear(self, ids: Iterable[str]) -> None:
        for unwanted in ids:
            log.info("removing what is left of job %s", unwanted)
            shutil.rmtree(self._settings.work / unwanted, ignore_errors=True)
            self._artifacts.delete(unwanted)
