"""One job in this process: keeps the lease, tells the world, and stops the work when it has to stop."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from app.accounts.redact import redact
from app.jobs.claim import Claim, LeaseLost, Numbers
from app.jobs.events import Kind, Publisher
from app.planning.adapters import pinned_name
from app.planning.plan import Plan
from app.planning.rates import Took
from app.recipe.findings import Finding
from worker.engine.execute import Written
from worker.pace import Pace
from worker.sizes import gigabytes
from worker.stopwatch import Stopwatch

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two renewals of the lease at most; how soon a wish to cancel is heard."""
PATIENCE = 4.0
"""Seconds the work may take to stop once it is cancelled. Then the process ends, and the worker's keeper settles it."""
PATIENT = ("uploading",)
"""Stages that watch over themselves: one large file may take long, and its bytes cannot be counted on the way."""
GIVE_UP = 75
"""Exit code of a process that had to be ended that way (EX_TEMPFAIL)."""


class Cancelled(Exception):
    """Somebody asked to cancel the job."""


class HandedBack(Exception):
    """This worker shuts down; another one is to go on."""


def now() -> float:
    """Seconds that pass also while the machine sleeps, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Runner:
    """The ``Watch`` of a worker's job. A thread renews the lease and hears of cancellation; ``check`` passes it on."""

    def __init__(self, claim: Claim, publisher: Publisher, stopping: threading.Event, stall_seconds: float) -> None:
        self._claim, self._publisher, self._stopping = claim, publisher, stopping
        self._stall_seconds = stall_seconds
        self._cancelled = threading.Event()
        self._lost = threading.Event()
        self._over = threading.Event()
        self._numbers = Numbers()
        self._stage = "checking"
        self._pace = Pace()
        self._stopwatch = Stopwatch(now)
        self._renewed = self._moved = now()
        self._told_to_stop: float | None = None
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if not self._lost.is_set():
            self._keep_last_numbers()

    def _keep_last_numbers(self) -> None:
        """What was done since the lease was last renewed, so that the end is told with it."""
        with suppress(LeaseLost, SQLAlchemyError):
            self._claim.renew(self._numbers)

    # The steps' side

    def check(self) -> None:
        """Raises Cancelled, HandedBack or LeaseLost."""
        if self._lost.is_set():
            raise LeaseLost(self._claim.job.id)
        if self._cancelled.is_set():
            raise Cancelled
        if self._stopping.is_set():
            raise HandedBack
        if now() - self._renewed > self._claim.lease:
            self._renew()  # the machine slept, or this process did: the job may be another's by now

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        self.check()
        self._stage, self._moved = stage, now()
        self._pace.restart()
        self._stopwatch.enter(stage, size)
        self._numbers = Numbers(tensors_total=tensors, bytes_total=size) if tensors or size else self._numbers
        self._numbers = replace(self._numbers, rate=None, eta_seconds=None, memory_peak=memory_peak())
        self._tell("stage", self._claim.enter(stage, self._numbers, text))

    def log(self, text: str) -> None:
        self._moved = now()
        self._tell("log", self._claim.note("log", redact(text)))

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        if (done, tensors) != (self._numbers.bytes_done, self._numbers.tensors_done):
            self._moved = now()
        self._pace.at(done)
        self._numbers = replace(
            self._numbers,
            bytes_done=done,
            tensors_done=tensors,
            rate=self._pace.rate,
            eta_seconds=self._pace.seconds_left(done, self._numbers.bytes_total),
            memory_peak=memory_peak(),
        )
        self._publisher.progress(self._claim.job.id, self._stage, self._numbers, tensor)

    def planned(self, plan: Plan, memory_bytes: int) -> None:
        self._stopwatch.planned(plan)
        parents = plan.parents[: len(plan.parents) - len(plan.adapters)]
        self._claim.pin(
            plan.recipe_text,
            [pinned_name(one) for one in parents],
            shards=len(plan.shards),
            memory_bytes=memory_bytes,
        )

    def took(self) -> Took | None:
        """What a merge took that is finished now. None when it went on after an earlier attempt, or streamed."""
        job = self._claim.job
        return None if job.epoch > 1 or job.params.get("stream") else self._stopwatch.took()

    def reserve(self, need: int, free: int) -> int:
        return self._claim.reserve(need, free)

    def finished(self, key: str) -> Mapping[str, Written]:
        return {row.file: Written(row.file, row.size, row.sha256) for row in self._claim.keep_shards(key)}

    def shard(self, written: Written, key: str) -> None:
        self._claim.add_shard(written.file, written.size, written.sha256, key)
        data = {"file": written.file, "size": written.size, "sha256": written.sha256}
        text = f"{written.file} is safe on disk: {gigabytes(written.size)}, sha256 {written.sha256[:12]}…"
        self._tell("shard", self._claim.note("shard", text, data))

    # The thread's side

    def _tell(self, kind: Kind, event_id: int) -> None:
        self._publisher.line(self._claim.job.id, kind, event_id)

    def _renew(self) -> None:
        asked = self._claim.renew(self._numbers)
        self._renewed = now()
        if asked:
            self._cancelled.set()

    def _beat(self) -> None:
        while not self._over.wait(min(TICK, self._claim.lease / 4)):
            try:
                self._renew()
            except LeaseLost:
                self._lost.set()
            except SQLAlchemyError:
                log.warning("job %s: the lease could not be renewed", self._claim.job.id, exc_info=True)
            self._watch_the_work()

    def _watch_the_work(self) -> None:
        if self._cancelled.is_set() or self._lost.is_set():
            self._told_to_stop = self._told_to_stop or now()
            if now() - self._told_to_stop > PATIENCE:
                leave("job %s does not stop when told to", self._claim.job.id)
        elif self._stage not in PATIENT and now() - self._moved > self._stall_seconds:
            self._claim.fail([stalled(self._stage, self._stall_seconds)])
            leave("job %s stands still", self._claim.job.id)


def stalled(stage: str, seconds: float) -> Finding:
    text = f"Nothing has moved for {seconds / 60:.0f} minutes while {stage}."
    return Finding("error", "stalled", "", text, "Check the network and the disks, then try again.")


def memory_peak() -> int:
    """The most main memory this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def leave(why: str, job_id: str) -> None:
    """End this process at once: its work hangs where nothing else reaches it."""
    log.error(why, job_id)
    logging.shutdown()
    os._exit(GIVE_UP)
