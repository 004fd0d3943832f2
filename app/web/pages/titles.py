"""A name for a recipe that has none, made of its parents' names."""

from __future__ import annotations

import re

from app.recipe.naming import named_parents
from app.recipe.schema import ModelRef, Recipe

_NOISE = re.compile(r"^(base|instruct|chat|it|hf|v?\d+(\.\d+)*|\d+(\.\d+)?[bm])$", re.IGNORECASE)
_MOST = 4


def title_of(recipe: Recipe) -> str:
    """The recipe's own name, else ``Hermes × Cogito``, else ``Untitled merge``."""
    if recipe.name:
        return recipe.name
    names = [model.name for model in named_parents(recipe)]
    if not names:
        return "Untitled merge"
    short = list(dict.fromkeys(_short(name, names) for name in names))
    return " × ".join(short[:_MOST]) + (" × …" if len(short) > _MOST else "")


def _short(name: str, among: list[str]) -> str:
    """The words of a model's own name that the other parents' names do not share."""
    own = ModelRef(name).short
    words = [word for word in re.split(r"[-_ ]+", own) if word]
    others = [set(re.split(r"[-_ /]+", other.lower())) for other in among if other != name]
    telling = [word for word in words if not (others and all(word.lower() in other for other in others))]
    kept = [word for word in telling if not _NOISE.match(word)] or telling[:2] or words[:2] or [own]
    return " ".join(kept[:3])[:40]
