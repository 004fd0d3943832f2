"""Putting a recipe behind a link and finding it again."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.db import Sessions
from app.recipe.identity import recipe_hash
from app.recipe.schema import Recipe
from app.recipe.writing import write_recipe
from app.sharing.models import SharedRecipe

ID_LETTERS = 16
"""80 bits: no two recipes will ever meet."""


def share_id(recipe: Recipe) -> str:
    """The address of a recipe, the same on every server and for every text that means the same."""
    raw = bytes.fromhex(recipe_hash(recipe))
    return base64.b32encode(raw).decode().lower()[:ID_LETTERS]


class SharedRecipes:
    def __init__(self, sessions: Sessions, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    def share(
        self, recipe: Recipe, title: str, forked_from: str | None = None, layers: int | None = None
    ) -> SharedRecipe:
        """Give a recipe a link. One that has a link keeps it, with its first title and origin."""
        known = self.get(share_id(recipe))
        if known is not None:
            return known
        origin = self.get(forked_from) if forked_from else None
        shared = SharedRecipe(
            id=share_id(recipe),
            hash=recipe_hash(recipe),
            title=title,
            text=write_recipe(recipe),
            forked_from=origin.id if origin else None,
            layers=layers,
            shared_at=self._clock(),
        )
        try:
            with self._sessions.begin() as session:
                session.add(shared)
        except IntegrityError:
            first = self.get(shared.id)
            if first is None:
                raise
            return first
        return shared

    def get(self, recipe_id: str) -> SharedRecipe | None:
        with self._sessions() as session:
            return session.get(SharedRecipe, recipe_id)

    def newest(self, limit: int = 50) -> Sequence[SharedRecipe]:
        with self._sessions() as session:
            return session.scalars(select(SharedRecipe).order_by(SharedRecipe.shared_at.desc()).limit(limit)).all()

    def forks(self, recipe_id: str, limit: int = 20) -> Sequence[SharedRecipe]:
        """What others made of it, newest first."""
        query = select(SharedRecipe).where(SharedRecipe.forked_from == recipe_id)
        with self._sessions() as session:
            return session.scalars(query.order_by(SharedRecipe.shared_at.desc()).limit(limit)).all()
