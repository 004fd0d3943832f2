"""Live news of a job over Redis Streams: quick and forgetful. What must not be lost is in the database."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redis import Redis, RedisError
from redis import asyncio as aioredis

from app.jobs.claim import Numbers
from app.jobs.models import Job
from app.jobs.store import Store
from app.settings import Settings

log = logging.getLogger(__name__)

Kind = Literal["log", "stage", "shard", "done", "progress"]
KEPT = 2000
KEPT_SECONDS = 7 * 24 * 3600
PROGRESS_GAP = 0.25
"""Seconds between two progress messages at least."""
QUIET_SECONDS = 10.0
"""How long a publisher leaves Redis alone after it did not answer."""
LOOK_SECONDS = 2.0
"""How often a follower looks at the database when Redis says nothing."""


def stream(job_id: str) -> str:
    return f"job:{job_id}:events"


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of news. ``id`` is the line's number in the job's history; progress has none, it is not kept.

    ``data`` for ``log``, ``stage``, ``shard``, ``done``: ``{"text", "at", ...}`` and, by kind, ``{"stage"}``,
    ``{"file", "size", "sha256"}``, ``{"state"}``. For ``progress``: ``Numbers``, ``stage`` and ``tensor``.
    """

    kind: str
    data: dict[str, Any]
    id: int | None = None


class Publisher:
    """A worker's side. Never raises and never waits long: without Redis the job goes on, and pages read the row."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = Redis.from_url(settings.redis, socket_timeout=1.0, socket_connect_timeout=1.0, retry=None)
        self._clock = clock
        self._quiet_until = float("-inf")
        self._next_progress = float("-inf")

    def line(self, job_id: str, kind: Kind, event_id: int | None = None) -> None:
        """There is a new line in the history."""
        self._add(job_id, {"kind": kind, "id": event_id or ""}, keep=True)

    def progress(self, job_id: str, stage: str, numbers: Numbers, tensor: str = "") -> None:
        """How far it is; at most four a second go out, the others are dropped."""
        if self._clock() < self._next_progress:
            return
        self._next_progress = self._clock() + PROGRESS_GAP
        data = json.dumps({**asdict(numbers), "stage": stage, "tensor": tensor})
        self._add(job_id, {"kind": "progress", "data": data})

    def close(self) -> None:
        self._redis.close()

    def _add(self, job_id: str, fields: dict[Any, Any], *, keep: bool = False) -> None:
        if self._clock() < self._quiet_until:
            return
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.xadd(stream(job_id), fields, maxlen=KEPT, approximate=True)
            if keep:
                pipe.expire(stream(job_id), KEPT_SECONDS)
            pipe.execute()
        except (RedisError, OSError) as problem:
            self._quiet_until = self._clock() + QUIET_SECONDS
            log.warning(
                "no live progress for %.0f s: Redis is out of reach (%s)", QUIET_SECONDS, type(problem).__name__
            )


def connect(settings: Settings) -> aioredis.Redis:
    """For ``follow``: one client serves all followers of a web process."""
    patience = LOOK_SECONDS + 3
    return aioredis.Redis.from_url(
        settings.redis, decode_responses=True, socket_timeout=patience, socket_connect_timeout=1.0, retry=None
    )


async def follow(redis: aioredis.Redis, store: Store, job_id: str, after_id: int = 0) -> AsyncIterator[Event]:
    """The history after line ``after_id``, then what happens, until the job has ended.

    Nothing is missed or told twice, whatever becomes of Redis meanwhile: lines come from the database, Redis only says
    when to look. Out of its reach, the row's progress is told every two seconds.
    """
    cursor = await _newest(redis, job_id)
    told: Event | None = None
    while (job := await asyncio.to_thread(store.get, job_id)) is not None:
        for line in await asyncio.to_thread(store.events, job_id, after_id):
            after_id = line.id
            yield Event(line.kind, {"text": line.text, "at": line.at, **line.data}, line.id)
        if job.ended:
            return
        cursor, live = await _listen(redis, job_id, cursor)
        news = live or from_row(job)
        if job.state == "running" and news != told and (live or not _is_behind(news, told)):
            told = news
            yield news


def from_row(job: Job) -> Event:
    """The progress that the row knows."""
    numbers = {name: getattr(job, name) for name in Numbers.__dataclass_fields__}
    return Event("progress", {**numbers, "stage": job.stage, "tensor": ""})


def _is_behind(row: Event, told: Event | None) -> bool:
    """The row is written once a second, so what Redis told may be newer."""
    if told is None or told.data["stage"] != row.data["stage"]:
        return False
    return bool(
        row.data["bytes_done"] < told.data["bytes_done"] or row.data["tensors_done"] < told.data["tensors_done"]
    )


async def _newest(redis: aioredis.Redis, job_id: str) -> str:
    try:
        entries: Any = await redis.xrevrange(stream(job_id), count=1)
    except (RedisError, OSError):
        entries = []
    return str(entries[0][0]) if entries else "0-0"


async def _listen(redis: aioredis.Redis, job_id: str, cursor: str) -> tuple[str, Event | None]:
    """Wait for news, two seconds at most. The newest progress among them, if any."""
    try:
        answer: Any = await redis.xread({stream(job_id): cursor}, block=int(LOOK_SECONDS * 1000), count=KEPT)
    except (RedisError, OSError):
        await asyncio.sleep(LOOK_SECONDS)
        return cursor, None
    progress = None
    for _, entries in answer or ():
        for entry_id, fields in entries:
            cursor = str(entry_id)
            if fields.get("kind") == "progress":
                progress = Event("progress", json.loads(fields["data"]))
    return cursor, progress
