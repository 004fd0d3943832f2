"""Keeping drafts: saved after every edit, the last writer wins, and nobody's text is lost over it."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.db import Sessions
from app.drafts.models import SavedDraft

MOST = 500
"""Drafts kept; beyond that the ones untouched for longest go."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What one open page knows of its draft: the draft's id (empty before the first save), the ``version`` it has
    seen, and the page's own name, ``writer``."""

    id: str
    version: int
    writer: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A draft after a save. ``clashed``: another page had saved in between, and its text was written over."""

    id: str
    version: int
    clashed: bool = False


NOT_SAVED = Saved("", 0)


class Drafts:
    def __init__(self, sessions: Sessions, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    def save(self, hold: Hold, text: str, title: str, forked_from: str | None = None) -> Saved:
        """Write a draft down; a new one when the page has none yet, or when it has gone in the meantime.

        What another page saved after this one had last looked is written over, and kept as ``replaced``.
        """
        with self._sessions.begin() as session:
            row = _locked(session, hold.id)
            if row is None:
                made = SavedDraft(
                    id=_new_id(), title=title, text=text, forked_from=forked_from, version=1, writer=hold.writer,
                    saved_at=self._clock(),
                )  # fmt: skip
                session.add(made)
                session.flush()
                _tidy(session)
                return Saved(made.id, 1)
            if row.text == text:
                return Saved(row.id, row.version)
            clashed = _overtaken(row, hold)
            row.replaced = row.text if clashed else row.replaced
            row.text, row.title, row.writer, row.saved_at = text, title, hold.writer, self._clock()
            row.version += 1
            return Saved(row.id, row.version, clashed)

    def swap(self, draft_id: str) -> bool:
        """Bring back the text that was written over, and keep the one that did it. False if there is none."""
        with self._sessions.begin() as session:
            row = _locked(session, draft_id)
            if row is None or row.replaced is None:
                return False
            row.text, row.replaced = row.replaced, row.text
            row.writer, row.saved_at = "", self._clock()
            row.version += 1
            return True

    def overtaken(self, hold: Hold) -> bool:
        """Whether another page has saved the draft since this one last looked."""
        row = self.get(hold.id)
        return row is not None and _overtaken(row, hold)

    def get(self, draft_id: str) -> SavedDraft | None:
        with self._sessions() as session:
            return session.get(SavedDraft, draft_id)

    def newest(self, limit: int = 50) -> Sequence[SavedDraft]:
        with self._sessions() as session:
            return session.scalars(select(SavedDraft).order_by(SavedDraft.saved_at.desc()).limit(limit)).all()

    def remove(self, draft_id: str) -> None:
        with self._sessions.begin() as session:
            session.execute(delete(SavedDraft).where(SavedDraft.id == draft_id))


def _locked(session: Session, draft_id: str) -> SavedDraft | None:
    """The draft, held against other writers until the transaction ends. The write that changes nothing comes first
    because SQLite refuses, without waiting, to let a transaction write that began by reading."""
    held = session.execute(
        update(SavedDraft).where(SavedDraft.id == draft_id).values(version=SavedDraft.version).returning(SavedDraft.id)
    )
    return session.get(SavedDraft, draft_id) if held.first() is not None else None


def _overtaken(row: SavedDraft, hold: Hold) -> bool:
    return row.writer != hold.writer and row.version > hold.version


def _tidy(session: Session) -> None:
    kept = select(SavedDraft.id).order_by(SavedDraft.saved_at.desc()).limit(MOST)
    session.execute(delete(SavedDraft).where(SavedDraft.id.not_in(kept)))


def _new_id() -> str:
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()
