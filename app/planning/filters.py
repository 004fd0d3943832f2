"""Rules that never come into play: no tensor's name has a match for the filter, or an earlier rule takes them all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from app.planning.facts import ModelFacts
from app.recipe.findings import Finding
from app.recipe.rules import is_for_all
from app.recipe.schema import ModelRef, Parameters, Recipe, Rule, Setting, Slice, Source

_NUMBER = re.compile(r"\d+")
_TIED = "lm_head"
"""Left out where it is the embeddings: a rule for it is then no mistake."""


def idle_filters(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[Finding]:
    """A warning for each. Numbers are not looked at: in a stack the result has layers that no parent has."""
    settings = dict.fromkeys(one for document in recipe.documents for one in _settings(document))
    rules = [(name, rule) for name, setting in settings for rule in setting]
    wanted = dict.fromkeys((name, rule.filter) for name, rule in rules if rule.filter and not is_for_all(rule.filter))
    if not wanted and all(len(setting) < 2 for _, setting in settings):
        return
    names = {_NUMBER.sub("0", name) for one in facts.values() for name in one.tensors}
    for where, text in wanted:
        if text != _TIED and names and not any(_NUMBER.sub("0", text) in name for name in names):
            told = f'No tensor has "{text[:60]}" in its name, so this value of {where} is never used.'
            yield Finding(
                "warning", "filter-matches-nothing", where, told, "Write a part of the names, as in the loom."
            )

    for where, rule, by in dict.fromkeys(one for name, setting in settings for one in _overtaken(name, setting, names)):
        text = f'"{rule[:60]}"' if rule else "The rule for all tensors"
        told = f"{text} of {where} never counts: the earlier rule for {by} takes all of its tensors."
        yield Finding("warning", "rule-never-counts", where, told, "The first rule that matches counts: move it up.")


def _overtaken(where: str, setting: Setting, names: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(parameter, filter, the earlier filter that leaves it nothing) for rules behind one that is as broad."""
    for index, rule in enumerate(setting):
        mine = "" if is_for_all(rule.filter) else str(rule.filter)
        matched = [name for name in names if _NUMBER.sub("0", mine) in name]
        for earlier in setting[:index]:
            theirs = "" if is_for_all(earlier.filter) else str(earlier.filter)
            numbered = _NUMBER.search(theirs) is not None
            if theirs in mine or (not numbered and matched and all(theirs in name for name in matched)):
                yield where, mine, f'"{theirs[:60]}"' if theirs else "all tensors"
                break


def rules_of(document: Recipe) -> Iterator[tuple[str, Rule]]:
    """(parameter, rule) of every rule in a document."""
    for name, setting in _settings(document):
        yield from ((name, rule) for rule in setting)


def _settings(document: Recipe) -> Iterator[tuple[str, Setting]]:
    """(parameter, setting) wherever a document has one."""
    yield from _of(document.parameters)
    yield from _of_sources(document.models)
    yield from _of_slices(document.slices)
    for module in document.modules.values():
        yield from _of(module.parameters)
        yield from _of_sources(module.models)
        yield from _of_slices(module.slices)


def _of_slices(slices: tuple[Slice, ...]) -> Iterator[tuple[str, Setting]]:
    for piece in slices:
        yield from _of(piece.parameters)
        yield from _of_sources(piece.sources)


def _of_sources(sources: tuple[Source, ...]) -> Iterator[tuple[str, Setting]]:
    for source in sources:
        yield from _of(source.parameters)


def _of(parameters: Parameters) -> Iterator[tuple[str, Setting]]:
    yield from parameters.items()
