"""Finding a mixture's recipe in what somebody brings."""

from __future__ import annotations

from app.experts.wanted import is_mixture
from app.recipe.from_card import MERGE, recipe_text


def mixture_text(text: str) -> str:
    """The recipe of a mixture, alone or as a block of a model card; empty when there is none, or that of a merge."""
    found = recipe_text(text, "experts")
    return found if MERGE not in found and is_mixture(found) else ""
