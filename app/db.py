"""The database: SQLite in the data folder, or PostgreSQL by setting. Synchronous, for the web and the workers alike."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from app.settings import Settings

BUSY_SECONDS = 5
WORKER_BUSY_SECONDS = 20
"""How long a SQLite statement waits for another writer. Nobody waits for a page there, and a lease lasts longer."""

Sessions = sessionmaker[Session]


class Base(DeclarativeBase):
    """Every table derives from this."""


def make_engine(settings: Settings, *, durable: bool = True) -> Engine:
    """The connection pool for ``settings.database``.

    ``durable``: on SQLite every commit reaches the disk before it counts. The workers go without it: each of their
    writes can be done again after a power loss, and a busy disk must not hold up the others.
    """
    if not settings.database.startswith("sqlite"):
        return create_engine(settings.database, pool_pre_ping=True)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    synchronous, patience = ("FULL", BUSY_SECONDS) if durable else ("NORMAL", WORKER_BUSY_SECONDS)
    engine = create_engine(settings.database, connect_args={"timeout": patience})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={patience * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def sessions(engine: Engine) -> Sessions:
    """Makes sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema. Safe to call from several processes at once."""
    from alembic import command  # a tenth of a second that only this function needs
    from alembic.config import Config

    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(settings.data / "migrate.lock"):
        engine = make_engine(settings)
        if engine.dialect.name == "sqlite":
            _all_or_nothing(engine)
        try:
            with engine.begin() as connection:
                config = Config()
                config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        finally:
            engine.dispose()


def _all_or_nothing(engine: Engine) -> None:
    """Let SQLite change its schema inside a transaction; left alone, the driver commits after every such statement."""

    @event.listens_for(engine, "connect")
    def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
