"""``GET /healthz``: whether the parts this process needs answer, told within a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter, create_task_group, move_on_after, to_thread
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from redis import RedisError
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.web.dependencies import ServicesDep
from app.web.services import Services

router = APIRouter(tags=["health"])

PATIENCE = 1.5
"""Seconds each part has to answer."""
NO_ANSWER = "no answer"


@router.get("/healthz", responses={503: {"description": "A part does not answer; the body says which."}})
async def healthz(services: ServicesDep) -> JSONResponse:
    """``ok`` or ``no answer`` for each part (then with 503), and how many workers were seen of late."""
    parts: dict[str, Any] = {"web": "ok", "database": NO_ANSWER, "redis": NO_ANSWER, "workers": 0}
    async with create_task_group() as tasks:
        tasks.start_soon(_look_at_database, services, parts)
        tasks.start_soon(_look_at_redis, services.redis, parts)
    return JSONResponse(parts, 503 if NO_ANSWER in parts.values() else 200)


async def _look_at_database(services: Services, parts: dict[str, Any]) -> None:
    def look() -> int:
        with services.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        return len(services.jobs.workers())

    workers = await _within(PATIENCE, look, services.health_threads)
    if workers is not None:
        parts.update(database="ok", workers=workers)


async def _within(seconds: float, look: Callable[[], int], threads: CapacityLimiter) -> int | None:
    """What ``look`` finds in a thread, or None when it fails or takes longer; the thread is then left to itself."""
    with move_on_after(seconds):
        try:
            return await to_thread.run_sync(look, abandon_on_cancel=True, limiter=threads)
        except (SQLAlchemyError, OSError):
            return None
    return None


async def _look_at_redis(redis: Redis, parts: dict[str, Any]) -> None:
    with move_on_after(PATIENCE):
        try:
            await redis.ping()
        except (RedisError, OSError):
            return
        parts["redis"] = "ok"
