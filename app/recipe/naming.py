"""What a recipe is called, and which of its parents a person would name."""

from __future__ import annotations

import re

from app.recipe.catalogue import METHODS
from app.recipe.schema import ModelRef, Recipe

LONGEST_TITLE = 200
"""Letters."""
_NOISE = re.compile(r"^(base|instruct|chat|it|hf|v?\d+(\.\d+)*|\d+(\.\d+)?[bm])$", re.IGNORECASE)
_MOST = 4


def title_of(recipe: Recipe) -> str:
    """The recipe's own name, else ``Hermes × Cogito``, else ``Untitled merge``: wherever a recipe is named."""
    if recipe.name:
        return recipe.name[:LONGEST_TITLE]
    names = list(dict.fromkeys((parent.adapter or parent).name for parent in named_parents(recipe)))
    if not names:
        return "Untitled merge"
    short = list(dict.fromkeys(_short(name, names) for name in names))
    return " × ".join(short[:_MOST]) + (" × …" if len(short) > _MOST else "")


def named_parents(recipe: Recipe) -> list[ModelRef]:
    """Each once, in order; without the base where changes are only measured from it, unless it is alone."""
    parents = list(dict.fromkeys(recipe.parents()))
    method = METHODS.get(recipe.merge_method)
    if method is not None and method.base_counts:
        return parents
    return [parent for parent in parents if parent != recipe.base_model] or parents


def _short(name: str, among: list[str]) -> str:
    """The words of a model's own name that the other parents' names do not share."""
    own = ModelRef(name).short
    words = [word for word in re.split(r"[-_ ]+", own) if word]
    others = [set(re.split(r"[-_ /]+", other.lower())) for other in among if other != name]
    telling = [word for word in words if not (others and all(word.lower() in other for other in others))]
    kept = [word for word in telling if not _NOISE.match(word)] or telling[:2] or words[:2] or [own]
    return " ".join(kept[:3])[:40]
