"""The table of drafts."""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class SavedDraft(Base):
    """A recipe that somebody works on, as it stood after the last edit. It need not be readable yet."""

    __tablename__ = "draft"
    __table_args__ = (Index("draft_by_age", "saved_at"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    """Random, and hard to guess: it is the draft's address."""
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    forked_from: Mapped[str | None] = mapped_column(ForeignKey("shared_recipe.id"))
    version: Mapped[int]
    """Counts the saves."""
    writer: Mapped[str] = mapped_column(String(40))
    """The page that saved last."""
    replaced: Mapped[str | None] = mapped_column(Text)
    """The text of another page that the last writer wrote over, until that is settled."""
    saved_at: Mapped[float] = mapped_column(Double)
    """Unix seconds."""
