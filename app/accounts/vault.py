"""Hub tokens at rest: encrypted in the database, under a key that is not in it."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import time

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Double, LargeBinary, String, delete
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Sessions
from app.recipe.findings import refuse
from app.settings import Settings


class Secret(Base):
    """One token. ``box`` is its Fernet message."""

    __tablename__ = "secret"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    box: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float] = mapped_column(Double)


class Vault:
    """Takes a token, gives an id for it; jobs and messages carry the id alone."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def put(self, token: str) -> str:
        """Keep a token and return its id."""
        secret_id = secrets.token_hex(16)
        box = Fernet(_key(self._settings)).encrypt(token.encode())
        with self._sessions.begin() as session:
            session.add(Secret(id=secret_id, box=box, created_at=time.time()))
        return secret_id

    def get(self, secret_id: str) -> str:
        """The token. Raises Refused when it is gone or was kept under another key."""
        with self._sessions() as session:
            secret = session.get(Secret, secret_id)
        again = "Hand the job in again with the token."
        if secret is None:
            raise refuse("token-gone", "", "The Hub token of this job is no longer kept.", again)
        try:
            return Fernet(_key(self._settings)).decrypt(secret.box).decode()
        except InvalidToken:
            text = "The Hub token of this job was encrypted with another key."
            raise refuse("token-unreadable", "", text, again) from None

    def forget(self, secret_id: str) -> None:
        """Delete the token, if it is still there."""
        with self._sessions.begin() as session:
            session.execute(delete(Secret).where(Secret.id == secret_id))


def _key(settings: Settings) -> bytes:
    """The Fernet key: from ``WEIGHTLOOM_SECRET_KEY`` (any text), else from ``secret.key`` in the data folder, which is
    made, readable by the owner alone, when it is first needed."""
    if settings.secret_key is not None:
        digest = hashlib.sha256(settings.secret_key.encode()).digest()
        return base64.urlsafe_b64encode(digest)
    path = settings.data / "secret.key"
    if not path.exists():
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f"secret.key.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()
