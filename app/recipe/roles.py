"""Which of a recipe's models is what."""

from __future__ import annotations

from app.recipe.catalogue import METHODS
from app.recipe.schema import ModelRef, Recipe


def first_parent(recipe: Recipe) -> ModelRef:
    """The model that the result takes after: whose config and tokenizer it has unless more is known. The base, or the
    first source; with a method that adds to its first parent, that one. There is at least one source."""
    method = METHODS.get(recipe.merge_method)
    if method is not None and method.receives:
        return next((source.model for source in recipe.sources() if source.model != recipe.base_model), _first(recipe))
    return recipe.base_model or _first(recipe)


def _first(recipe: Recipe) -> ModelRef:
    return next(recipe.sources()).model
