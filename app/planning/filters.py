"""Filters that no tensor's name has a match for: a typo, or another model's names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from app.planning.facts import ModelFacts
from app.recipe.findings import Finding
from app.recipe.rules import is_for_all
from app.recipe.schema import ModelRef, Parameters, Recipe, Rule, Slice, Source

_NUMBER = re.compile(r"\d+")
_TIED = "lm_head"
"""Left out where it is the embeddings: a rule for it is then no mistake."""


def unmatched_filters(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[Finding]:
    """A warning for each. Numbers are not looked at: in a stack the result has layers that no parent has."""
    wanted = dict.fromkeys(
        (name, rule.filter)
        for document in recipe.documents
        for name, rule in rules_of(document)
        if rule.filter and not is_for_all(rule.filter)
    )
    if not wanted:
        return
    names = {_NUMBER.sub("0", name) for one in facts.values() for name in one.tensors}
    for where, text in wanted:
        if text != _TIED and names and not any(_NUMBER.sub("0", text) in name for name in names):
            told = f'No tensor has "{text[:60]}" in its name, so this value of {where} is never used.'
            yield Finding(
                "warning", "filter-matches-nothing", where, told, "Write a part of the names, as in the loom."
            )


def rules_of(document: Recipe) -> Iterator[tuple[str, Rule]]:
    """(parameter, rule) of every rule in a document."""
    yield from _of(document.parameters)
    yield from _of_sources(document.models)
    yield from _of_slices(document.slices)
    for module in document.modules.values():
        yield from _of(module.parameters)
        yield from _of_sources(module.models)
        yield from _of_slices(module.slices)


def _of_slices(slices: tuple[Slice, ...]) -> Iterator[tuple[str, Rule]]:
    for piece in slices:
        yield from _of(piece.parameters)
        yield from _of_sources(piece.sources)


def _of_sources(sources: tuple[Source, ...]) -> Iterator[tuple[str, Rule]]:
    for source in sources:
        yield from _of(source.parameters)


def _of(parameters: Parameters) -> Iterator[tuple[str, Rule]]:
    for name, setting in parameters.items():
        yield from ((name, rule) for rule in setting)
