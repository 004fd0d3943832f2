"""What the web process holds open while it runs, in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anyio import CapacityLimiter, to_thread
from redis.asyncio import Redis
from sqlalchemy import Engine

from app.accounts.vault import Vault
from app.db import make_engine, migrate, sessions
from app.drafts.store import Drafts
from app.hub.client import HubClient
from app.jobs.events import connect
from app.jobs.queue import Queue
from app.jobs.store import Store
from app.library.facts import Library
from app.library.local import local_roots
from app.settings import Settings
from app.sharing.store import SharedRecipes
from app.storage.base import Artifacts
from app.storage.local import LocalArtifacts
from app.web.limits import StreamLimit
from app.web.stopping import Stopping


@dataclass
class Services:
    """The database, the queue and what stands on them. Made by ``open_services``, once a process."""

    settings: Settings
    engine: Engine
    jobs: Store
    queue: Queue
    vault: Vault
    library: Library
    artifacts: Artifacts
    shared: SharedRecipes
    drafts: Drafts
    redis: Redis
    stopping: Stopping = field(default_factory=Stopping)
    streams: StreamLimit = field(default_factory=StreamLimit)
    health_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    """Kept apart, so that the health check needs no thread that slow requests hold."""


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Bring the database up to date and open everything; close it at the end. Redis need not answer yet."""
    await to_thread.run_sync(migrate, settings)
    engine = make_engine(settings)
    made = sessions(engine)
    jobs = Store(made)
    queue = Queue(settings, jobs)
    redis = connect(settings)
    hub, roots = HubClient(settings.hub_endpoint), local_roots(settings)
    library = Library(hub, roots, offline=settings.alone)
    artifacts = LocalArtifacts(settings.artifacts)
    services = Services(
        settings, engine, jobs, queue, Vault(settings, made), library, artifacts, SharedRecipes(made), Drafts(made),
        redis,
    )  # fmt: skip
    try:
        with services.stopping.watching():
            yield services
    finally:
        await redis.aclose()
        queue.close()
        library.close()
        engine.dispose()
