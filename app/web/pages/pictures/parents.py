"""The parents of a method's picture: letters and numbers, filled up to as many as the method needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.recipe.catalogue import Method
from app.recipe.form import THREADS

_EXAMPLE = {"weight": 0.6, "density": 0.5}


@dataclass(frozen=True, slots=True)
class Parent:
    """One parent of the picture: its letter and its parameters' values, curves already averaged."""

    letter: str
    values: Mapping[str, float] = field(default_factory=dict)


def others(method: Method, parents: Sequence[Parent], base_letter: str = "") -> list[Parent]:
    """The parents that are merged into the base or with each other: a base that counts as one of them is left out, a
    recipe that has too few gets examples, one that has too many for the method is cut."""
    least = max(method.min_parents - method.base_counts, 1)
    most = None if method.max_parents is None else method.max_parents - method.base_counts
    taken = {base_letter} if method.base_counts else set()
    found = [one for one in parents if one.letter not in taken or not one.letter][:most]
    if not found and most != 1:
        least = max(least, 2)
    spare = [letter for letter in THREADS if letter not in taken | {one.letter for one in found}]
    return found + [Parent(letter, _EXAMPLE) for letter in spare[: max(0, least - len(found))]]
