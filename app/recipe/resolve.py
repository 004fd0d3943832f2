"""Which value a parameter has for one tensor: precedence, filters and curves.

Semantics of published recipes (mergekit 0.1.5): the narrowest scope that yields a value wins; inside a scope the
first rule whose filter is a substring of the tensor's name; a curve is read at the layer's position in its slice.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor

from app.recipe.schema import Curve, Parameters, Scalar, Setting

OUTSIDE_LAYERS = 0.0
"""Position of embeddings, final norm and head: a curve gives them its first value, as published recipes expect."""

BEHIND_LAYERS = 1.0
"""Position of final norm and head in a recipe that asks for it."""


def position(index: int, length: int) -> float:
    """Where layer ``index`` of a slice of ``length`` layers stands on a curve: 0 first, 1 last (1 if alone)."""
    return 1.0 if length <= 1 else index / (length - 1)


def resolve(scopes: Iterable[Parameters], name: str, tensor: str, t: float) -> Scalar | None:
    """The value of parameter ``name`` for ``tensor`` at position ``t``; None when no scope yields one.

    ``scopes`` go from narrow to wide: source, slice, module, recipe. For parameters of the whole tensor leave the
    source's out. ``tensor`` is the output's name for those, the parent's own name for parameters of a parent.
    """
    for scope in scopes:
        setting = scope.get(name)
        if setting is not None:
            value = setting_at(setting, tensor, t)
            if value is not None:
                return value
    return None


def setting_at(setting: Setting, tensor: str, t: float) -> Scalar | None:
    for rule in setting:
        if matches(rule.filter, tensor):
            return curve_at(rule.value, t) if isinstance(rule.value, tuple) else rule.value
    return None


def matches(filter_text: str | None, tensor: str) -> bool:
    return filter_text is None or filter_text == "*" or filter_text in tensor


def curve_at(curve: Curve, t: float) -> Scalar | None:
    """Anchors spread evenly over [0, 1], linear in between; words and switches take the anchor at or before ``t``."""
    if not curve:
        return None
    place = min(max(t, 0.0), 1.0) * (len(curve) - 1)
    left = floor(place)
    before = curve[left]
    after = curve[min(left + 1, len(curve) - 1)]
    if isinstance(before, (bool, str)) or isinstance(after, (bool, str)):
        return before
    share = place - left
    return before if share == 0 else (1 - share) * before + share * after
