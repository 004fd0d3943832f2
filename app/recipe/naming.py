"""Which parents a person would name."""

from __future__ import annotations

from app.recipe.catalogue import METHODS
from app.recipe.schema import ModelRef, Recipe


def named_parents(recipe: Recipe) -> list[ModelRef]:
    """Each once, in order; without the base where changes are only measured from it, unless it is alone."""
    parents = list(dict.fromkeys(recipe.parents()))
    method = METHODS.get(recipe.merge_method)
    if method is not None and method.base_counts:
        return parents
    return [parent for parent in parents if parent != recipe.base_model] or parents
