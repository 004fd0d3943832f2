"""The schema's history leads to the schema of the models, and SQLite is set up for several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import app.accounts.vault
import app.drafts.models
import app.jobs.models
import app.sharing.models  # noqa: F401  (their tables belong to the metadata)
from app.db import Base, Sessions, make_engine, migrate
from app.settings import Settings


def test_migrations_lead_to_the_models(settings: Settings) -> None:
    migrate(settings)
    engine = make_engine(settings)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_migrating_twice_changes_nothing(settings: Settings, database: Sessions) -> None:
    with database.begin() as session:
        session.execute(text("INSERT INTO secret VALUES ('a', x'00', 1.0)"))
    migrate(settings)
    with database() as session:
        assert session.execute(text("SELECT id FROM secret")).scalar() == "a"


def test_a_failed_migration_leaves_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr("alembic.operations.Operations.create_index", stop)
        with pytest.raises(OSError, match="power cut"):
            migrate(settings)
    engine = make_engine(settings)
    assert "job" not in inspect(engine).get_table_names()
    migrate(settings)
    assert "job" in inspect(engine).get_table_names()
    engine.dispose()


def test_many_processes_may_migrate_at_once(settings: Settings) -> None:
    code = (
        f"from app.db import migrate; from app.settings import Settings; migrate(Settings(data={str(settings.data)!r}))"
    )
    root = Path(__file__).parents[2]
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]


@pytest.mark.parametrize(("durable", "synchronous", "busy"), [(True, 2, 5000), (False, 1, 20_000)])
def test_sqlite_is_set_up(settings: Settings, durable: bool, synchronous: int, busy: int) -> None:
    engine = make_engine(settings, durable=durable)
    with engine.connect() as connection:
        seen = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert seen == {"journal_mode": "wal", "synchronous": synchronous, "foreign_keys": 1, "busy_timeout": busy}
