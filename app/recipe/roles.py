"""Which of a recipe's models is what."""

from __future__ import annotations

from collections.abc import Sequence

from app.recipe.catalogue import METHODS
from app.recipe.schema import ModelRef, Recipe, Source


def first_parent(recipe: Recipe) -> ModelRef:
    """The model that the result takes after: whose config and tokenizer it has unless more is known. The base, or the
    first source; with a method that adds to its first parent, that one. There is at least one source."""
    method = METHODS.get(recipe.merge_method)
    if method is not None and method.receives:
        return next((source.model for source in recipe.sources() if source.model != recipe.base_model), _first(recipe))
    return recipe.base_model or _first(recipe)


def besides_base(sources: Sequence[Source], base: ModelRef | None) -> tuple[Source, ...]:
    """The sources without the base itself. In slices the base may stand there once more with other layers: only its
    first place is the base's own."""
    if base is None or not any(source.layers for source in sources):
        return tuple(source for source in sources if source.model != base)
    own = next((index for index, source in enumerate(sources) if source.model == base), None)
    return tuple(source for index, source in enumerate(sources) if index != own)


def _first(recipe: Recipe) -> ModelRef:
    return next(recipe.sources()).model
