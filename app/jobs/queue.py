"""Rings the workers: a message says "look at job so-and-so" and nothing else. The database row is the job."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from app.jobs.models import LINES
from app.jobs.redis_urls import broker_url
from app.jobs.store import Store
from app.settings import Settings

log = logging.getLogger(__name__)

QUEUES: Mapping[str, str] = MappingProxyType({kind: queue for queue, kinds in LINES.items() for kind in kinds})
"""Kind of job -> queue."""

PATIENCE = 1.0
"""Seconds to wait for each answer of Redis before giving up."""

NO_REPEATS = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class Queue:
    """Sends messages; a failure is harmless, because the workers look for forgotten jobs by themselves."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._redis = Redis.from_url(
            settings.redis, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=None
        )
        self._celery = Celery("weightloom-sender", broker=broker_url(settings.redis), set_as_current=False)
        self._celery.conf.update(
            task_serializer="json",
            task_ignore_result=True,
            broker_transport_options={
                "socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "retry_on_timeout": False, **NO_REPEATS,
            },
        )  # fmt: skip

    def send(self, job_id: str, kind: str) -> bool:
        """Tell the workers of a job, after its row is committed. False when Redis is out of reach; at most 3 s."""
        try:
            self._redis.ping()
            self._celery.send_task(kind, [job_id], queue=QUEUES[kind], retry=False)
        except (RedisError, OperationalError, OSError) as problem:
            log.warning("job %s waits: the queue is out of reach (%s)", job_id, type(problem).__name__)
            return False
        self._store.mark_sent(job_id)
        return True

    def waiting(self, kind: str) -> int | None:
        """Messages that no worker has taken yet. None when Redis is out of reach."""
        try:
            return int(self._redis.llen(QUEUES[kind]))
        except (RedisError, OSError):
            return None

    def close(self) -> None:
        self._celery.close()
        self._redis.close()
