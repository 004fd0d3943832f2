"""Where two models pull in opposite directions: runs of layers of one group of modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.comparing.comparison import Comparison
from app.comparing.measures import value
from app.comparing.sums import TensorSums, pairs
from app.comparing.telling import percent
from app.planning.layers import position
from app.planning.name_parts import GROUPS, name_parts

OPPOSED = 1 / 3
"""The share from which a layer counts: half is what dense changes that have nothing to do with each other come to, and
more than half is rare; below a third most of what is changed agrees or does not meet."""
FEWEST_LAYERS = 3


@dataclass(frozen=True, slots=True)
class Opposition:
    """``pair`` of models (numbers in the comparison), ``group`` of modules, ``layers`` first and last; ``share`` of the
    size of their changes there. ``name_part`` is what the names of these tensors have in common."""

    pair: tuple[int, int]
    letters: tuple[str, str]
    group: str
    name_part: str
    layers: tuple[int, int]
    share: float
    everywhere: bool

    def __str__(self) -> str:
        first, last = self.layers
        where = "all layers" if self.everywhere else f"layers {first}–{last}"
        a, b = self.letters
        share = percent(self.share)
        return f"{a} and {b} oppose each other in {share} of their changes of {self.group} weights in {where}"


def oppositions(comparison: Comparison) -> list[Opposition]:
    """The longest run of each pair and group; what concerns most layers, and there most strongly, comes first."""
    found = []
    for pair in pairs(len(comparison.models)):
        for group, columns, part in _groups(comparison):
            runs = list(_runs(comparison, pair, group, columns, part))
            if runs:
                found.append(max(runs, key=lambda one: (one.layers[1] - one.layers[0], one.share)))
    return sorted(found, key=lambda one: -one.share * (1 + one.layers[1] - one.layers[0]))


def _runs(
    comparison: Comparison, pair: tuple[int, int], group: str, columns: tuple[str, ...], part: str
) -> Iterator[Opposition]:
    """Neighbouring layers that are opposed, each long enough to be worth a word."""
    layers = comparison.layers
    fewest = min(FEWEST_LAYERS, len(layers))
    letters = (comparison.letter(pair[0]), comparison.letter(pair[1]))
    inside: list[int] = []
    for layer in (*layers, None):
        share = value("sign_conflict", _tensors(comparison, (layer,), columns), pair) if layer is not None else None
        if layer is not None and share is not None and share >= OPPOSED:
            inside.append(layer)
            continue
        if len(inside) >= fewest:
            whole = value("sign_conflict", _tensors(comparison, tuple(inside), columns), pair) or 0.0
            span = (inside[0], inside[-1])
            yield Opposition(pair, letters, group, part, span, whole, len(inside) == len(layers))
        inside = []


def _tensors(comparison: Comparison, layers: tuple[int, ...], columns: tuple[str, ...]) -> list[TensorSums]:
    return [one for layer in layers for column in columns for one in comparison.cells.get((layer, column), ())]


def _groups(comparison: Comparison) -> list[tuple[str, tuple[str, ...], str]]:
    """Name, columns and part of names of each group of modules that has a common part."""
    names: dict[str, list[str]] = {}
    for one in comparison.tensors:
        if one.layer == comparison.layers[0] if comparison.layers else False:
            names.setdefault(one.module, []).append(position(one.name).suffix)
    parts = {one.label: one.filter for one in name_parts(names) if one.group}
    return [(group, columns, parts[group]) for group, columns in GROUPS if group in parts and group != "norms"]
