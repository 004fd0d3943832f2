"""Cutting a curve where a slice is split, so that every layer keeps its value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.recipe.resolve import curve_at, position
from app.recipe.rules import is_for_all
from app.recipe.schema import Curve, Parameters, Rule, Scalar, Setting

_DIGITS = 6
"""Decimals kept of a value read between two anchors."""
_SAME = 1e-6


def cut(parameters: Parameters, begin: int, end: int, length: int) -> Parameters:
    """The parameters of a slice of ``length`` layers, for its layers ``begin`` to ``end`` (exclusive) alone."""
    return MappingProxyType({name: _cut(setting, begin, end, length) for name, setting in parameters.items()})


def curved(parameters: Parameters) -> Mapping[str, Setting]:
    """The settings that change over the layers."""
    return {name: one for name, one in parameters.items() if any(isinstance(rule.value, tuple) for rule in one)}


def under(narrow: Setting, wide: Setting) -> Setting:
    """Two scopes' settings as one: what the wide one says holds where the narrow one says nothing."""
    return narrow if any(is_for_all(rule.filter) for rule in narrow) else (*narrow, *wide)


def _cut(setting: Setting, begin: int, end: int, length: int) -> Setting:
    return tuple(
        Rule(_piece(rule.value, begin, end, length), rule.filter) if isinstance(rule.value, tuple) else rule
        for rule in setting
    )


def _piece(curve: Curve, begin: int, end: int, length: int) -> Scalar | Curve:
    """The fewest anchors, evenly spread, that give each layer what the whole curve gave it."""
    values = [curve_at(curve, position(layer, length)) for layer in range(begin, end)]
    told = tuple(round(value, _DIGITS) if isinstance(value, float) else value for value in values if value is not None)
    if len(set(told)) == 1:
        return told[0]
    return next(found for count in range(2, len(told) + 1) if (found := _thinned(told, count)) is not None)


def _thinned(values: Curve, count: int) -> Curve | None:
    """``count`` of the values as anchors, if all the others follow from them."""
    last = len(values) - 1
    anchors = [place * last / (count - 1) for place in range(count)]
    if any(anchor != int(anchor) for anchor in anchors):
        return None
    found = tuple(values[int(anchor)] for anchor in anchors)
    same = all(_alike(curve_at(found, position(layer, last + 1)), value) for layer, value in enumerate(values))
    return found if same else None


def _alike(one: Scalar | None, other: Scalar) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= _SAME * max(1.0, abs(other))
    return one == other
