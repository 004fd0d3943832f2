"""What a suggestion makes of a recipe. Each returns the changed recipe, None where it would leave none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from app.comparing.comparison import Comparison
from app.recipe.catalogue import METHODS
from app.recipe.edits import remove
from app.recipe.references import parse_reference
from app.recipe.rules import is_for_all
from app.recipe.schema import Curve, ModelRef, Recipe, Rule, Scalar, Source

ANCHORS = 9
"""Of a curve that holds for some of the layers: few enough to read, near enough to the layers meant."""
DENSITY = 0.5
"""Where the recipe says none. TIES keeps 0.2 in its paper; published merges of language models mostly keep half."""
LOWERED = 0.6


def starting_recipe(comparison: Comparison) -> Recipe | None:
    """What suggestions change when there is no recipe yet: the changes of all models added to the base."""
    if comparison.base is None:
        return None
    sources = tuple(
        Source(parse_reference(one), None, MappingProxyType({"weight": (Rule(1.0),)})) for one in comparison.models
    )  # fmt: skip
    return Recipe("task_arithmetic", parse_reference(comparison.base), sources)


def parents_of(comparison: Comparison, recipe: Recipe) -> tuple[ModelRef | None, ...]:
    """For each model of the comparison the recipe's parent it is, None where it is not among them. The comparison
    names the commit that was read; the recipe may leave it open."""
    known = {str(one): one for one in recipe.parents()} | {one.name: one for one in recipe.parents()}
    return tuple(known.get(one) or known.get(one.partition("@")[0]) for one in comparison.models)


def without(recipe: Recipe, model: ModelRef) -> Recipe | None:
    """Without one parent, as long as two others, or one and a base, remain."""
    left = remove(recipe, model)
    return left if len(left.parents()) >= 2 and left.models else None


def with_method(recipe: Recipe, method: str, base: ModelRef, **everyone: Scalar) -> Recipe:
    """Under another method that takes changes from ``base``; each parent keeps what that method knows, and gets
    ``everyone`` where it says nothing."""
    known = METHODS[method]
    sources = []
    for source in recipe.models:
        if source.model != base:
            kept = {name: setting for name, setting in source.parameters.items() if known.parameter(name)}
            missing = {name: (Rule(value),) for name, value in everyone.items() if name not in kept}
            sources.append(replace(source, parameters=MappingProxyType({**kept, **missing})))
    shared = {name: setting for name, setting in recipe.parameters.items() if known.parameter(name)}
    return replace(
        recipe, merge_method=method, base_model=base, models=tuple(sources), parameters=MappingProxyType(shared)
    )  # fmt: skip


def with_weight(recipe: Recipe, model: ModelRef, factor: float) -> Recipe:
    """One parent's weight times ``factor``, in every rule and anchor it has."""
    rules = _setting(recipe, model, "weight", 1.0)
    scaled = tuple(replace(rule, value=_times(rule.value, factor)) for rule in rules)
    return _with(recipe, model, "weight", scaled)


def with_lower_density(
    recipe: Recipe, model: ModelRef, name_part: str, layers: tuple[int, int], of: int
) -> tuple[Recipe, float]:
    """One parent's density lowered for the tensors with ``name_part`` in their names in ``layers`` (first and last) of
    ``of``. Returns the recipe and the lowered density."""
    rules = _setting(recipe, model, "density", DENSITY)
    plain = next((rule.value for rule in rules if is_for_all(rule.filter)), DENSITY)
    before = float(plain) if isinstance(plain, (int, float)) else DENSITY
    low = round(before * LOWERED, 2)
    others = tuple(rule for rule in rules if rule.filter != name_part)
    return _with(recipe, model, "density", (Rule(_dip(before, low, layers, of), name_part), *others)), low


def _dip(before: float, low: float, layers: tuple[int, int], of: int) -> Scalar | Curve:
    """``low`` in ``layers``, ``before`` elsewhere."""
    first, last = layers
    if first == 0 and last == of - 1:
        return low
    count = min(of, ANCHORS)
    spots = [round(anchor * (of - 1) / (count - 1)) for anchor in range(count)]
    return tuple(low if first <= spot <= last else before for spot in spots)


def _setting(recipe: Recipe, model: ModelRef, name: str, otherwise: float) -> tuple[Rule, ...]:
    source = next(one for one in recipe.models if one.model == model)
    return source.parameters.get(name) or recipe.parameters.get(name) or (Rule(otherwise),)


def _with(recipe: Recipe, model: ModelRef, name: str, rules: Sequence[Rule]) -> Recipe:
    models = tuple(
        replace(one, parameters=MappingProxyType({**one.parameters, name: tuple(rules)})) if one.model == model else one
        for one in recipe.models
    )
    return replace(recipe, models=models)


def _times(value: Scalar | Curve, factor: float) -> Scalar | Curve:
    if isinstance(value, tuple):
        return tuple(_scaled(one, factor) for one in value)
    return _scaled(value, factor)


def _scaled(value: Scalar, factor: float) -> Scalar:
    return round(value * factor, 3) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
