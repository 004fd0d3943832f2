"""A mixture's experts by one of them: what a check finds of one holds for all that are like it.

A model with 128 experts in each of 48 layers has 18 000 tensors, and all but a few hundred differ from another in an
expert's number alone. Planned one by one they take seconds, so a check plans one for each set of equals and counts it
as often as there are. Only what is written needs them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.planning.facts import ModelFacts, TensorFacts
from app.planning.layers import position
from app.recipe.schema import ModelRef, Recipe

_NUMBER = re.compile(r"(?:^|(?<=\.))[0-9]+(?=\.|$)")
_DIGIT = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class FoldedTensor(TensorFacts):
    """A tensor that stands for ``alike`` of its layer, itself included, which lie in ``files``."""

    alike: int = 1
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folded:
    """A checkpoint's tensors with one for each set of equals. ``members``: the name of each that was left out -> the
    name of the one that stands for it."""

    tensors: Mapping[str, TensorFacts]
    members: Mapping[str, str]

    def holds(self, name: str) -> bool:
        """Whether a tensor is one of several equals."""
        return name in self.members or (name in self.tensors and self.tensors[name].alike > 1)


def fold_tensors(tensors: Mapping[str, TensorFacts]) -> Folded | None:
    """Fold tensors whose names differ in the first number behind the layer's alone, when they have one shape and dtype
    layer by layer. None when there are none. Takes some microseconds a tensor."""
    stands_for: dict[str, list[str]] = {}
    for numbered in _families(tensors).values():
        for equals in _equals(numbered, tensors):
            for same in zip(*equals, strict=True):
                stands_for[same[0]] = list(same[1:])
    if not stands_for:
        return None
    members = {name: first for first, others in stands_for.items() for name in others}
    kept = {
        name: _folded(tensor, [tensors[one] for one in stands_for[name]]) if name in stands_for else tensor
        for name, tensor in tensors.items()
        if name not in members
    }
    return Folded(MappingProxyType(kept), MappingProxyType(members))


def fold(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Mapping[ModelRef, ModelFacts]:
    """A recipe's parents with their tensors folded, for a check that finds the same in less time. As they are where
    one of the equals may be treated unlike another: parents with other experts, filters that name some of them,
    recipes by modules."""
    folded = {ref: one.folded for ref, one in facts.items() if one.folded is not None}
    if not folded or len(folded) < len(facts) or any(document.modules for document in recipe.documents):
        return facts
    first, *others = (one.members for one in folded.values())
    if any(members != first for members in others) or any(_tells_apart(text, first) for text in _filters(recipe)):
        return facts
    return MappingProxyType({ref: replace(facts[ref], tensors=one.tensors) for ref, one in folded.items()})


def _families(tensors: Mapping[str, TensorFacts]) -> dict[tuple[str, ...], dict[str, list[tuple[int, str]]]]:
    """(stack, what stands before and behind the number) -> number -> (layer, name), layer by layer."""
    split: dict[str, tuple[str, ...] | None] = {}
    found: dict[tuple[str, ...], dict[str, list[tuple[int, str]]]] = {}
    for name in tensors:
        place = position(name)
        if place.layer is None:
            continue
        if place.suffix not in split:
            split[place.suffix] = _split(place.suffix)
        parts = split[place.suffix]
        if parts is not None:
            before, number, behind = parts
            family = found.setdefault((place.prefix, before, behind), {})
            family.setdefault(number, []).append((place.layer, name))
    for numbered in found.values():
        for names in numbered.values():
            names.sort()
    return found


def _split(suffix: str) -> tuple[str, ...] | None:
    number = _NUMBER.search(suffix)
    return None if number is None else (suffix[: number.start()], number[0], suffix[number.end() :])


def _equals(
    numbered: Mapping[str, Sequence[tuple[int, str]]], tensors: Mapping[str, TensorFacts]
) -> Iterator[list[list[str]]]:
    """The names of each set of equals, number by number, the smallest first."""
    same: dict[tuple[object, ...], list[list[str]]] = {}
    for number in sorted(numbered, key=lambda one: (len(one), one)):
        names = numbered[number]
        kind = tuple((layer, tensors[name].shape, tensors[name].dtype) for layer, name in names)
        same.setdefault(kind, []).append([name for _, name in names])
    return (one for one in same.values() if len(one) > 1)


def _folded(tensor: TensorFacts, others: Sequence[TensorFacts]) -> FoldedTensor:
    files = tuple(dict.fromkeys(one.file for one in (tensor, *others)))
    return FoldedTensor(
        tensor.name, tensor.dtype, tensor.shape, tensor.file, tensor.begin, tensor.end, 1 + len(others), files
    )


def _filters(recipe: Recipe) -> Iterator[str]:
    """The filters with a digit in them: no other can tell names apart that differ in a number alone."""
    for document in recipe.documents:
        slices = (one.parameters for one in document.slices)
        sources = (one.parameters for one in document.sources())
        scopes = (document.parameters, *slices, *sources)
        rules = (rule for scope in scopes for setting in scope.values() for rule in setting)
        yield from (rule.filter for rule in rules if rule.filter and _DIGIT.search(rule.filter))


def _tells_apart(text: str, members: Mapping[str, str]) -> bool:
    return any((text in name) != (text in first) for name, first in members.items())
