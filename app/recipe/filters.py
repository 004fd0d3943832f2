"""Buttons for rules with filters: a value of its own for the tensors whose names contain a word.

A place is what the form's fields begin with: ``parent.0``, ``shared``, ``slice.0`` (a block) or ``slice.0.1`` (its
second source). A new rule comes in the fields ``rule.PLACE.of`` (the parameter), ``rule.PLACE.name`` (the part of the
names) and ``rule.PLACE.value``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from app.recipe import rules
from app.recipe.catalogue import METHODS, Parameter
from app.recipe.findings import Refused, refuse
from app.recipe.knobs import put_rule, setting_shown
from app.recipe.schema import EMPTY, Parameters, Recipe, Setting, Source

PREFIX = "rule:"


def act(recipe: Recipe, action: str, fields: Mapping[str, str]) -> Recipe:
    """Do what a button says: ``add:PLACE``, and for one of the rules shown ``drop:``, ``up:`` or ``down:`` before
    ``PLACE.PARAMETER|FILTER``. Raises Refused."""
    verb, _, rest = action.partition(":")
    if verb == "add":
        return _add(recipe, rest, fields)
    field, _, name = rest.partition("|")
    place, _, of = field.rpartition(".")
    parameter, shown = _shown(recipe, place, of)
    if name not in rules.texts(shown):
        raise _gone()
    if verb == "drop":
        return _with(recipe, place, parameter, rules.without(shown, name))
    if verb in ("up", "down"):
        return _with(recipe, place, parameter, rules.move(shown, name, -1 if verb == "up" else 1))
    raise _gone()


def place_of(action: str) -> str:
    """The place that a button is about; empty for other buttons."""
    field = action.removeprefix(f"{PREFIX}add:")
    if field != action:
        return field
    return action.split(":", 2)[-1].partition("|")[0].rpartition(".")[0] if action.startswith(PREFIX) else ""


def typed(fields: Mapping[str, str]) -> str:
    """The button that belongs to a rule somebody has typed: what Enter means where no script runs. Else empty."""
    named = (name for name, text in fields.items() if name.startswith("rule.") and name.endswith(".name") and text)
    return next((f"{PREFIX}add:{name[len('rule.') : -len('.name')]}" for name in named), "")


def _add(recipe: Recipe, place: str, fields: Mapping[str, str]) -> Recipe:
    """Without a value it begins with the one for all other tensors."""
    name, text = (fields.get(f"rule.{place}.{one}", "").strip() for one in ("name", "value"))
    parameter, shown = _shown(recipe, place, fields.get(f"rule.{place}.of", ""))
    if rules.is_for_all(name):
        fix = "Write a part of the names, such as self_attn, mlp or o_proj."
        raise refuse("bad-filter", f"rule.{place}.name", "It is not said which tensors this value is for.", fix)
    if name in rules.texts(shown):
        raise refuse(
            "filter-twice", f"rule.{place}.name", f'There is a value for "{name}" already.', "Change that one."
        )
    text = text or rules.texts(shown).get("", "") or f"{_start(parameter):g}"
    return _with(recipe, place, parameter, put_rule(shown, parameter, f"{place}.{parameter.name}", name, text))


def _start(parameter: Parameter) -> float:
    return (parameter.low + parameter.high) / 2 if parameter.neutral is None else parameter.neutral


def _shown(recipe: Recipe, place: str, of: str) -> tuple[Parameter, Setting]:
    """The parameter, and what the form shows for it at the place."""
    method = METHODS.get(recipe.merge_method)
    parameter = method.parameter(of) if method else None
    if parameter is None or parameter.kind == "boolean":
        raise _gone()
    own, around = _at(recipe, place)
    return parameter, setting_shown(parameter, own, around)


def _at(recipe: Recipe, place: str) -> tuple[Parameters, Parameters]:
    """The parameters at a place, and those around it. Raises Refused for a place that is not there."""
    match _numbered(place):
        case "shared", []:
            return recipe.parameters, EMPTY
        case "parent", [index]:
            return _source(recipe, index).parameters, recipe.parameters
        case "slice", [index] if index < len(recipe.slices):
            return recipe.slices[index].parameters, recipe.parameters
        case "slice", [index, source] if index < len(recipe.slices):
            piece = recipe.slices[index]
            around = MappingProxyType({**recipe.parameters, **piece.parameters})
            if source < len(piece.sources):
                return piece.sources[source].parameters, around
    raise _gone()


def _with(recipe: Recipe, place: str, parameter: Parameter, setting: Setting) -> Recipe:
    """The recipe with a parameter set at a place that is there."""

    def put(parameters: Parameters) -> Parameters:
        changed = {**parameters, parameter.name: setting}
        return MappingProxyType({name: one for name, one in changed.items() if one})

    match _numbered(place):
        case "parent", [index]:
            old = _source(recipe, index)
            new = replace(old, parameters=put(old.parameters))
            return replace(recipe, models=tuple(new if one is old else one for one in recipe.models))
        case "slice", [index, *source]:
            piece = recipe.slices[index]
            sources = tuple(
                replace(one, parameters=put(one.parameters)) if [at] == source else one
                for at, one in enumerate(piece.sources)
            )
            changed = replace(piece, sources=sources) if source else replace(piece, parameters=put(piece.parameters))
            return replace(recipe, slices=(*recipe.slices[:index], changed, *recipe.slices[index + 1 :]))
    return replace(recipe, parameters=put(recipe.parameters))


def _numbered(place: str) -> tuple[str, list[int]]:
    kind, *numbers = place.split(".")
    if not all(text.isascii() and text.isdigit() and len(text) < 6 for text in numbers):
        raise _gone()
    return kind, [int(text) for text in numbers]


def _source(recipe: Recipe, index: int) -> Source:
    """The source of a parent among the models."""
    parents = recipe.parents()
    found = [one for one in recipe.models if index < len(parents) and one.model == parents[index]]
    if not found:
        raise _gone()
    return found[0]


def _gone() -> Refused:
    return refuse("unknown-action", "", "This value is no longer part of the recipe.", "Reload the page.")
