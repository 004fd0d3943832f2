"""The table of shared recipes."""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class SharedRecipe(Base):
    """A recipe that has a link. It never changes: another text is another recipe."""

    __tablename__ = "shared_recipe"
    __table_args__ = (Index("shared_recipe_by_age", "shared_at"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The beginning of ``hash``, in the letters of base 32."""
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    """``app.recipe.identity.recipe_hash``: the same meaning has the same link."""
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    forked_from: Mapped[str | None] = mapped_column(ForeignKey("shared_recipe.id"))
    layers: Mapped[int | None]
    """How many layers the result had in the builder that shared it, for drawing; the text alone often does not say."""
    shared_at: Mapped[float] = mapped_column(Double)
    """Unix seconds."""
