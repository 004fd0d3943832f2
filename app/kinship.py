"""How far apart a recipe's parents are: what the cards may not tell, from a few rows of their weights."""

from __future__ import annotations

import time
from collections.abc import Mapping

from app.comparing.distance import tell
from app.library.distances import Known
from app.library.facts import Library
from app.planning.facts import ModelFacts
from app.recipe.catalogue import METHODS
from app.recipe.findings import Finding, Refused
from app.recipe.schema import ModelRef, Recipe


def how_far_apart(
    recipe: Recipe, facts: Mapping[ModelRef, ModelFacts], library: Library, *, patience: float, token: str | None = None
) -> tuple[tuple[Finding, ...], bool]:
    """Remarks, and whether they are all there is to say. What takes longer than ``patience`` seconds in all goes on
    beside this, and is known the next time. Nothing for slices, modules and adapters, whose weights lie elsewhere."""
    origin, others, from_base = _whom(recipe)
    if origin is None or origin not in facts:
        return (), True
    until = time.monotonic() + patience
    shares: dict[str, float] = {}
    settled = True
    for ref in others:
        if ref not in facts:
            continue
        try:
            one, other = (Known(facts[each], library.files(each, token)) for each in (ref, origin))
        except Refused:
            continue
        share, known = library.distances.between(one, other, max(0.0, until - time.monotonic()))
        settled = settled and known
        if share is not None:
            shares[str(ref)] = share
    return tell(shares, str(origin), from_base=from_base) if shares else (), settled


def _whom(recipe: Recipe) -> tuple[ModelRef | None, tuple[ModelRef, ...], bool]:
    """From whom the distance is taken, of whom, and whether the method takes changes from that one."""
    method = METHODS.get(recipe.merge_method)
    if method is None or recipe.slices or recipe.modules or recipe.stages:
        return None, (), False
    plain = [ref for ref in recipe.parents() if ref.adapter is None]
    from_base = method.uses_deltas and recipe.base_model is not None
    origin = recipe.base_model if from_base else plain[0] if len(plain) > 1 else None
    if origin not in plain:
        return None, (), False
    return origin, tuple(ref for ref in plain if ref != origin), from_base
