"""What follows from the numbers for a recipe: few rules, each with its threshold and where that comes from.

Numbers of weights alone are diagnostics, not a score: whether a merge works only its answers tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.comparing.comparison import Comparison
from app.comparing.measures import value
from app.comparing.opposition import Opposition, oppositions
from app.comparing.recipe_edits import (
    parents_of,
    starting_recipe,
    with_lower_density,
    with_method,
    with_weight,
    without,
)
from app.comparing.sums import pairs
from app.comparing.telling import percent
from app.recipe.catalogue import METHODS
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, Recipe

STRANGER = 1.0
"""A change as large as the base itself. Independent weights of equal size lie √2 apart (their squares add up, their
product has mean 0); at 1 the cosine to the base is one half. Fine-tuning moves weights by percents: see
``app.comparing.distance``."""
NOTHING = 1e-7
"""Below the rounding of any format in use: the same weights."""
TWINS = 0.95
"""Cosine of two changes from which one is nearly a copy of the other; different tasks give 0 to 0.3 (A. Ilharco et al.,
arXiv 2212.04089: task vectors are close to orthogonal but for related tasks)."""
UNEQUAL = 3.0
"""From this ratio of sizes on, the larger change decides most of a sum of the two: over 90 % of its squared length."""
SPARSE_CONFLICT = 0.15
SPARSE_OVERLAP = 1.25
"""Changes that rarely meet: hardly any opposite signs, and the largest ones meet at most this many times as often as
chance has it. Averaging would only shrink them (RAM, arXiv 2601.13572)."""
MOST_OPPOSITIONS = 3
_AVERAGING = ("linear",)
_ADDING = ("linear", "task_arithmetic")
"""Methods without a say about signs that TIES can stand in for."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``text``: what the numbers say. ``action``: what a button would do, and ``recipe`` what that makes of the recipe;
    empty and None where there is nothing to change."""

    code: str
    text: str
    action: str = ""
    recipe: Recipe | None = None


def suggest(comparison: Comparison, recipe: Recipe | None = None) -> tuple[Suggestion, ...]:
    """The suggestions for a recipe that merges these models; without one, for the plainest merge of them. Slices and
    modules get words only."""
    desk = _Desk(comparison, recipe)
    return (
        *desk.unrelated(), *desk.strangers(), *desk.nothing_new(), *desk.twins(), *desk.unequal(), *desk.rarely_meet(),
        *desk.opposed(),
    )  # fmt: skip


class _Desk:
    def __init__(self, comparison: Comparison, recipe: Recipe | None) -> None:
        self._told = comparison
        given = recipe if recipe is not None and recipe.parents() else starting_recipe(comparison)
        plain = given is not None and not given.slices and not given.modules
        self._recipe = given if plain else None
        self._parents: tuple[ModelRef | None, ...] = (None,) * len(comparison.models)
        if self._recipe is not None:
            self._parents = parents_of(comparison, self._recipe)
        changed = range(len(comparison.models)) if comparison.base is not None else ()
        self._norms = [comparison.overall("delta_norm", (one,)) or 0.0 for one in changed]

    def unrelated(self) -> Iterator[Suggestion]:
        """Without a base: matrices so far apart that nothing is shared. Vectors are left out, norms of unrelated models
        are all near 1."""
        matrices = [one for one in self._told.tensors if len(one.shape) > 1]
        for one, other in pairs(len(self._told.models)) if matrices and self._told.base is None else ():
            apart = value("difference", matrices, (one, other))
            if apart is not None and apart >= STRANGER:
                text = f"The matrices of {self._told.letter(one)} and {self._told.letter(other)} differ by "
                text += f"{percent(apart)} of their size: unrelated weights. Averaged, they are noise."
                yield Suggestion("unrelated", text)

    def strangers(self) -> Iterator[Suggestion]:
        """Changes that are no changes of this base."""
        for model, norm in enumerate(self._norms):
            if norm >= STRANGER:
                name = self._told.letter(model)
                text = f"{name} differs from the base by {percent(norm)} of its size: unrelated weights. What {name} "
                text += "would bring into a merge is noise."
                yield self._leave_out("stranger", text, model)

    def nothing_new(self) -> Iterator[Suggestion]:
        for model, norm in enumerate(self._norms):
            if norm < NOTHING:
                text = f"{self._told.letter(model)} has the same weights as the base: it adds nothing."
                yield self._leave_out("nothing-new", text, model)

    def twins(self) -> Iterator[Suggestion]:
        for one, other in pairs(len(self._norms)):
            cosine = self._told.overall("cosine_deltas", (one, other))
            if cosine is not None and cosine >= TWINS:
                a, b = self._told.letter(one), self._told.letter(other)
                text = f"{a} and {b} change the base in nearly the same way (cosine {cosine:.2f}): together they count "
                yield self._leave_out("twins", text + "twice what one of them brings.", other)

    def unequal(self) -> Iterator[Suggestion]:
        known = [(norm, model) for model, norm in enumerate(self._norms) if NOTHING <= norm < STRANGER]
        if len(known) < 2:
            return
        (small, least), (large, most) = min(known), max(known)
        if large < UNEQUAL * small:
            return
        a, b = self._told.letter(least), self._told.letter(most)
        text = f"{b}'s change is {large / small:.1f} times as large as {a}'s: at equal weights {b} decides nearly "
        text += "everything."
        parent = self._parents[most]
        if self._recipe is None or parent is None or not self._takes("weight"):
            yield Suggestion("unequal", text)
            return
        yield Suggestion(
            "unequal", text, f"Scale {b}'s weight by {small / large:.2f}",
            with_weight(self._recipe, parent, small / large),
        )  # fmt: skip

    def rarely_meet(self) -> Iterator[Suggestion]:
        """Sparse changes in different places."""
        if len(self._norms) < 2 or any(one < NOTHING for one in self._norms):
            return
        conflict, overlap = self._told.overall("sign_conflict", ()), self._told.overall("overlap", ())
        if (
            conflict is None
            or overlap is None
            or conflict >= SPARSE_CONFLICT
            or overlap > SPARSE_OVERLAP * self._told.top
        ):
            return
        text = f"The changes rarely meet: {percent(conflict)} of them oppose each other, and {percent(overlap)} of the "
        text += f"largest are shared (chance gives {percent(self._told.top)}). They can be added up; averaging would "
        text += "only shrink them."
        if self._recipe is None or self._recipe.merge_method not in _AVERAGING or self._told.base is None:
            yield Suggestion("rarely-meet", text)
            return
        added = with_method(self._recipe, "task_arithmetic", parse_reference(self._told.base), weight=1.0)
        yield Suggestion("rarely-meet", text, "Use task arithmetic", added)

    def opposed(self) -> Iterator[Suggestion]:
        """The strongest conflicts of signs, and one way out of each."""
        if len(self._norms) < 2:
            return
        found = [one for one in oppositions(self._told) if all(self._meant(model) for model in one.pair)]
        for number, one in enumerate(found[:MOST_OPPOSITIONS]):
            text = f"{one}."
            weaker = min(one.pair, key=lambda model: self._told.overall("delta_norm", (model,)) or 0.0)
            yield self._way_out(one, text, weaker, first=number == 0)

    def _way_out(self, one: Opposition, text: str, weaker: int, first: bool) -> Suggestion:
        """TIES for a method that lets signs cancel, else a lower density where it happens."""
        recipe, parent = self._recipe, self._parents[weaker]
        if recipe is None or parent is None or self._told.base is None:
            return Suggestion("opposed", text)
        if recipe.merge_method in _ADDING:
            if not first:
                return Suggestion("opposed", text)
            base = parse_reference(self._told.base)
            changed = with_method(recipe, "ties", recipe.base_model or base, weight=1.0, density=0.5)
            return Suggestion("opposed", f"{text} TIES settles such conflicts by vote and drops what loses.",
                              "Use TIES", changed)  # fmt: skip
        if not self._takes("density"):
            return Suggestion("opposed", text)
        changed, low = with_lower_density(recipe, parent, one.name_part, one.layers, len(self._told.layers))
        name = self._told.letter(weaker)
        votes = "ties" in recipe.merge_method or recipe.merge_method == "della"
        settled = f"{METHODS[recipe.merge_method].title} drops what loses the vote; a" if votes else "A"
        text += f" {settled} lower density of {name} there leaves only its largest changes."
        return Suggestion("opposed", text, f"Lower {name}'s density there to {low:g}", changed)

    def _meant(self, model: int) -> bool:
        return NOTHING <= self._norms[model] < STRANGER

    def _takes(self, parameter: str) -> bool:
        method = METHODS.get(self._recipe.merge_method) if self._recipe else None
        return method is not None and method.parameter(parameter) is not None

    def _leave_out(self, code: str, text: str, model: int) -> Suggestion:
        parent = self._parents[model]
        left = without(self._recipe, parent) if self._recipe is not None and parent is not None else None
        return Suggestion(code, text, f"Leave {self._told.letter(model)} out" if left else "", left)
