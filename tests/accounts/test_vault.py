"""Tokens are unreadable at rest, whole when asked for, and gone when forgotten."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy import text

from app.accounts.redact import RedactingFormatter, hide_tokens_in_logs, redact
from app.accounts.vault import Vault
from app.db import Sessions, make_engine, migrate, sessions
from app.recipe.findings import Refused
from app.settings import Settings

CANARY = "hf_CANARYabcdefghijklmnopqrstuvwxyz1234"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def database(settings: Settings) -> Iterator[Sessions]:
    migrate(settings)
    engine = make_engine(settings)
    yield sessions(engine)
    engine.dispose()


def test_round_trip_and_forgetting(settings: Settings, database: Sessions) -> None:
    kept = Vault(settings, database).put(CANARY)
    assert Vault(settings, database).get(kept) == CANARY
    Vault(settings, database).forget(kept)
    with pytest.raises(Refused, match="no longer kept"):
        Vault(settings, database).get(kept)


def test_the_key_is_the_owners_alone(settings: Settings, database: Sessions) -> None:
    Vault(settings, database).put(CANARY)
    assert stat.S_IMODE((settings.data / "secret.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in settings.data.glob("secret.key*")) == ["secret.key"]


def test_many_first_users_agree_on_one_key(settings: Settings, database: Sessions) -> None:
    vault = Vault(settings, database)
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(vault.put, [CANARY] * 8))
    assert [vault.get(one) for one in kept] == [CANARY] * 8


def test_disk_holds_no_readable_token(settings: Settings, database: Sessions) -> None:
    Vault(settings, database).put(CANARY)
    for path in settings.data.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_with_a_key_from_outside_the_folder_alone_opens_nothing(settings: Settings, database: Sessions) -> None:
    ours = replace(settings, secret_key="correct horse")
    kept = Vault(ours, database).put(CANARY)
    assert not (settings.data / "secret.key").exists()
    assert Vault(ours, database).get(kept) == CANARY
    theirs = replace(settings, secret_key="battery staple")
    with pytest.raises(Refused, match="another key") as refused:
        Vault(theirs, database).get(kept)
    assert CANARY not in str(refused.value)


def test_a_changed_box_is_refused(settings: Settings, database: Sessions) -> None:
    kept = Vault(settings, database).put(CANARY)
    with database.begin() as session:
        box = bytes(session.execute(text("SELECT box FROM secret")).scalar_one())
        changed = box[:30] + bytes([box[30] ^ 1]) + box[31:]
        session.execute(text("UPDATE secret SET box = :box"), {"box": changed})
    with pytest.raises(Refused, match="another key"):
        Vault(settings, database).get(kept)


@pytest.mark.parametrize(
    "line",
    [
        f"token={CANARY}",
        f"https://user:{CANARY}@huggingface.co",
        f"Authorization: Bearer {CANARY}",
        "bearer abc.def-ghijk",
    ],
)
def test_redact_hides_tokens(line: str) -> None:
    assert "hidden" in redact(line)
    assert CANARY not in redact(line)
    assert "ghijk" not in redact(line)


def test_redact_leaves_words_alone() -> None:
    line = "hf_hub_download of owner/hf_model failed; bearer of bad news"
    assert redact(line) == line


def test_logs_hide_tokens_also_in_tracebacks() -> None:
    out = StringIO()
    handler = logging.StreamHandler(out)
    logger = logging.getLogger("tests.redact")
    logger.addHandler(handler)
    try:
        hide_tokens_in_logs()
        hide_tokens_in_logs()
        assert isinstance(handler.formatter, RedactingFormatter)
        try:
            raise ValueError(f"bad token {CANARY}")
        except ValueError:
            logger.exception("while using %s", CANARY)
    finally:
        logger.removeHandler(handler)
    assert "while using hf_[hidden]" in out.getvalue()
    assert "ValueError: bad token hf_[hidden]" in out.getvalue()
    assert CANARY not in out.getvalue()
