"""A model called otherwise wherever a recipe speaks of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from app.recipe.schema import ModelRef, Module, Recipe, Slice, Source, TokenizerSpec, TokenRule, TokenSource


def renamed(recipe: Recipe, old: ModelRef, new: ModelRef) -> Recipe:
    """One document with ``new`` for each ``old``: among the sources, as a base, in the tokenizer block."""

    def ref(one: ModelRef | None) -> ModelRef | None:
        return new if one == old else one

    def sources(many: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(replace(one, model=new) if one.model == old else one for one in many)

    def slices(many: tuple[Slice, ...]) -> tuple[Slice, ...]:
        return tuple(replace(one, sources=sources(one.sources), base_model=ref(one.base_model)) for one in many)

    modules = {
        name: Module(sources(one.models), slices(one.slices), one.parameters) for name, one in recipe.modules.items()
    }
    return replace(
        recipe,
        base_model=ref(recipe.base_model),
        models=sources(recipe.models),
        slices=slices(recipe.slices),
        modules=MappingProxyType(modules),
        tokenizer=_tokenizer(recipe.tokenizer, old, new),
    )


def _tokenizer(spec: TokenizerSpec | None, old: ModelRef, new: ModelRef) -> TokenizerSpec | None:
    if spec is None:
        return None

    def source(one: TokenSource | None) -> TokenSource | None:
        return replace(one, model=new) if one is not None and one.model == old else one

    tokens = {token: TokenRule(source(rule.source), rule.force) for token, rule in spec.tokens.items()}
    return replace(spec, source=new if spec.source == old else spec.source, tokens=MappingProxyType(tokens))
