"""The recipe as it is published with the result: parents at the commits that were merged, no paths of a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType

from app.planning.facts import ModelFacts
from app.recipe.schema import ModelRef, Module, Recipe, Slice, Source, TokenizerSpec, TokenRule


def pin(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts], seed: int | None) -> Recipe:
    """The same recipe with Hub models at their commits, absolute folders by their last two names, and the seed."""
    return replace(_pinned(recipe, facts)[0], seed=recipe.seed if seed is None else seed)


def published_names(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Mapping[ModelRef, ModelRef]:
    """What the published recipe calls each of its parents."""
    return _pinned(recipe, facts)[1]


def _pinned(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> tuple[Recipe, Mapping[ModelRef, ModelRef]]:
    used: dict[str, str] = {}
    names: dict[ModelRef, ModelRef] = {}

    def at(ref: ModelRef, known: ModelFacts | None) -> ModelRef:
        name = _without_path(ref.name, used)
        adapter = at(ref.adapter, known.adapter if known else None) if ref.adapter else None
        return ModelRef(name, known.commit if known and known.commit else ref.revision, adapter)

    def pinned(ref: ModelRef) -> ModelRef:
        return names.setdefault(ref, at(ref, facts.get(ref)))

    return map_references(recipe, pinned), names


def map_references(recipe: Recipe, change: Callable[[ModelRef], ModelRef]) -> Recipe:
    """The recipe with every reference to a model, in all its documents, replaced by ``change`` of it."""
    names = {ModelRef(stage.name) for stage in recipe.stages if stage.name}

    def unless_stage(ref: ModelRef) -> ModelRef:
        return ref if ref in names else change(ref)

    stages = tuple(_map_document(stage, unless_stage) for stage in recipe.stages)
    return replace(_map_document(recipe, unless_stage), stages=stages)


def _map_document(recipe: Recipe, change: Callable[[ModelRef], ModelRef]) -> Recipe:

    def source(one: Source) -> Source:
        return replace(one, model=change(one.model))

    def piece(one: Slice) -> Slice:
        base = change(one.base_model) if one.base_model else None
        return replace(one, sources=tuple(map(source, one.sources)), base_model=base)

    def module(one: Module) -> Module:
        return replace(one, models=tuple(map(source, one.models)), slices=tuple(map(piece, one.slices)))

    return replace(
        recipe,
        base_model=change(recipe.base_model) if recipe.base_model else None,
        models=tuple(map(source, recipe.models)),
        slices=tuple(map(piece, recipe.slices)),
        modules=MappingProxyType({name: module(one) for name, one in recipe.modules.items()}),
        tokenizer=_tokenizer(recipe.tokenizer, change) if recipe.tokenizer else None,
    )


def _tokenizer(spec: TokenizerSpec, change: Callable[[ModelRef], ModelRef]) -> TokenizerSpec:
    def rule(one: TokenRule) -> TokenRule:
        if one.source is None or one.source.model is None:
            return one
        return replace(one, source=replace(one.source, model=change(one.source.model)))

    source = change(spec.source) if isinstance(spec.source, ModelRef) else spec.source
    return replace(spec, source=source, tokens=MappingProxyType({name: rule(one) for name, one in spec.tokens.items()}))


def is_machine_path(name: str) -> bool:
    """Whether a model's name is a folder that means something on one machine only."""
    rooted = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
    return rooted or name.startswith(("~", "../", "..\\"))


def _without_path(name: str, used: dict[str, str]) -> str:
    """``local:`` and the last two names of a folder, told apart by a number if need be. ``used``: new name -> old."""
    if not is_machine_path(name):
        return name
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..", "~")]
    short = "local:" + "/".join(parts[-2:])
    number, candidate = 1, short
    while used.setdefault(candidate, name) != name:
        number += 1
        candidate = f"{short}-{number}"
    return candidate
