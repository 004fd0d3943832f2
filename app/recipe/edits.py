"""Edits that buttons make: add, remove and move a parent, choose the base."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS
from app.recipe.findings import refuse
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, Recipe, Rule, Slice, Source


def act(recipe: Recipe, action: str) -> Recipe:
    """Do what a button says: ``add:REF``, ``remove:N``, ``up:N``, ``down:N``, ``base:N`` or ``base:`` (no base).

    ``N`` indexes ``recipe.parents()``. Raises Refused for an unreadable reference or a parent that is not there.
    """
    verb, _, argument = action.partition(":")
    if recipe.stages:
        raise refuse("several-documents", "", "This recipe has several documents.", "Open one of them first.")
    if verb == "add":
        return add(recipe, parse_reference(argument))
    if verb == "base" and not argument:
        return set_base(recipe, None)
    parents = recipe.parents()
    if not argument.isdigit() or int(argument) >= len(parents):
        raise refuse("no-such-parent", argument[:20], "This model is no longer part of the recipe.", "Reload the page.")
    model = parents[int(argument)]
    if verb == "remove":
        return remove(recipe, model)
    if verb == "base":
        return set_base(recipe, model)
    if verb in ("up", "down"):
        return move(recipe, model, -1 if verb == "up" else 1)
    raise refuse("unknown-action", "", f'"{verb[:20]}" is not something this page can do.', "Reload the page.")


def new_source(recipe: Recipe, model: ModelRef) -> Source:
    """A parent with a starting value for each parameter its method cannot do without."""
    method = METHODS.get(recipe.merge_method)
    needed = [one for one in method.parameters if one.required and one.scope != "tensor"] if method else []
    return Source(model, None, MappingProxyType({one.name: (Rule((one.low + one.high) / 2),) for one in needed}))


def add(recipe: Recipe, model: ModelRef) -> Recipe:
    """The recipe with one more parent; the first one of a method that needs a base becomes the base."""
    if recipe.modules:
        raise refuse("made-of-modules", "", "This recipe merges the parts of models apart.", "Open a part first.")
    if model in recipe.parents():
        raise refuse("already-there", str(model), f"{model} is already part of this merge.", "Pick another model.")
    if recipe.slices:
        return replace(recipe, slices=(*recipe.slices, _block_like(recipe, model)))
    method = METHODS.get(recipe.merge_method)
    if method and method.base == "required" and recipe.base_model is None:
        models = (*recipe.models, new_source(recipe, model)) if method.base_counts else recipe.models
        return replace(recipe, base_model=model, models=models)
    return replace(recipe, models=(*recipe.models, new_source(recipe, model)))


def _block_like(recipe: Recipe, model: ModelRef) -> Slice:
    """A block of a model whose number of layers nobody has looked up yet: as many as in the longest of the stack."""
    ranges = [source.layers for piece in recipe.slices for source in piece.sources if source.layers]
    layers = max(ranges, key=lambda one: one[1] - one[0], default=(0, 1))
    return Slice((replace(new_source(recipe, model), layers=layers),))


def remove(recipe: Recipe, model: ModelRef) -> Recipe:
    """The recipe without a parent, wherever it stands. A module that has no other goes."""
    modules = {
        name: replace(module, models=_others(module.models, model), slices=_pieces_of_others(module.slices, model))
        for name, module in recipe.modules.items()
    }
    return replace(
        recipe,
        modules=MappingProxyType({name: module for name, module in modules.items() if module.models or module.slices}),
        base_model=None if recipe.base_model == model else recipe.base_model,
        models=_others(recipe.models, model),
        slices=_pieces_of_others(recipe.slices, model),
    )


def _others(sources: tuple[Source, ...], model: ModelRef) -> tuple[Source, ...]:
    return tuple(source for source in sources if source.model != model)


def _pieces_of_others(slices: tuple[Slice, ...], model: ModelRef) -> tuple[Slice, ...]:
    return tuple(
        replace(piece, sources=left, base_model=None if piece.base_model == model else piece.base_model)
        for piece in slices
        if (left := _others(piece.sources, model))
    )


def move(recipe: Recipe, model: ModelRef, by: int) -> Recipe:
    """The recipe with a parent moved among the models; at the ends it stays."""
    models = list(recipe.models)
    index = next((i for i, source in enumerate(models) if source.model == model), None)
    if index is None or not 0 <= index + by < len(models):
        return recipe
    models[index], models[index + by] = models[index + by], models[index]
    return replace(recipe, models=tuple(models))


def set_base(recipe: Recipe, model: ModelRef | None) -> Recipe:
    """The recipe with another base. The old base becomes an ordinary parent, the new one leaves the others' row
    unless the method counts the base among them."""
    method = METHODS.get(recipe.merge_method)
    if recipe.slices:
        return replace(recipe, base_model=model)
    models = recipe.models
    old = recipe.base_model
    if old is not None and old != model and old not in [source.model for source in models]:
        models = (new_source(recipe, old), *models)
    if model is not None and method and method.base != "ignored" and not method.base_counts:
        models = tuple(source for source in models if source.model != model)
    return replace(recipe, base_model=model, models=models)
