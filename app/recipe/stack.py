"""Edits of a stack: blocks of layers (slices) put on top of each other, the lowest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS
from app.recipe.cutting import curved, cut, under
from app.recipe.edits import new_source
from app.recipe.findings import Refused, refuse
from app.recipe.schema import ModelRef, Recipe, Slice
from app.recipe.stack_patterns import fill

Layers = Mapping[ModelRef, int]
"""How many layers each parent has, as far as that is known."""
LONGEST = 10_000
"""More layers than any model has."""


def act(recipe: Recipe, action: str, layers: Layers) -> Recipe:
    """Do what a button of the stack says. ``I`` and ``TO`` count blocks from the lowest, ``J`` the sources of a block,
    ``P`` and ``Q`` index ``recipe.parents()``:

    ``split:I`` in the middle, ``split:I:N`` behind its first N layers, ``duplicate:I``, ``up:I``, ``down:I``,
    ``move:I:TO``, ``remove:I``, ``add:P`` (a block of the whole parent on top), ``blend:I:P`` (one more source),
    ``leave:I:J`` (one source less), ``pattern:NAME:P:Q``, ``make`` and ``unmake`` (models to blocks and back).

    Raises Refused for what cannot be done, and for parents whose number of layers is needed and not known.
    """
    verb, _, rest = action.partition(":")
    if verb == "pattern":
        name, *which = rest.split(":")
        parents = [_parent(recipe, number) for number in _numbers(which)]
        return fill(recipe, name, [(model, _count(layers, model)) for model in parents])
    numbers = _numbers(rest.split(":") if rest else [])
    match verb, numbers:
        case "make", []:
            return make(recipe, layers)
        case "unmake", []:
            return unmake(recipe, layers)
        case "add", [parent]:
            return add(recipe, _parent(recipe, parent), layers)
        case _, [index, *more] if 0 <= index < len(recipe.slices):
            return _act_on_block(recipe, verb, index, more, layers)
    raise _gone()


def _act_on_block(recipe: Recipe, verb: str, index: int, more: Sequence[int], layers: Layers) -> Recipe:
    match verb, more:
        case "split", []:
            return split(recipe, index, length_of(recipe.slices[index]) // 2)
        case "split", [at]:
            return split(recipe, index, at)
        case "duplicate", []:
            return _with(recipe, index, recipe.slices[index], recipe.slices[index])
        case "up", []:
            return move(recipe, index, index + 1)
        case "down", []:
            return move(recipe, index, index - 1)
        case "move", [to]:
            return move(recipe, index, to)
        case "remove", []:
            return remove(recipe, index)
        case "blend", [parent]:
            return blend(recipe, index, _parent(recipe, parent), layers)
        case "leave", [source] if source < len(recipe.slices[index].sources):
            return leave(recipe, index, source)
    raise _gone()


def length_of(piece: Slice) -> int:
    """The number of layers a slice has in the result."""
    layers = piece.sources[0].layers if piece.sources else None
    return layers[1] - layers[0] if layers else 0


def split(recipe: Recipe, index: int, at: int) -> Recipe:
    """A block as two, the lower with its first ``at`` layers. Curves are cut, so that each layer keeps its value."""
    piece = recipe.slices[index]
    length = length_of(piece)
    if not 0 < at < length:
        text = "A block of one layer cannot be split." if length < 2 else f"It has {length} layers."
        raise refuse("cannot-split", f"slices[{index}]", text, "Split between two of its layers.")
    wide = {name: under(piece.parameters.get(name, ()), one) for name, one in curved(recipe.parameters).items()}
    whole = replace(piece, parameters=MappingProxyType({**piece.parameters, **wide}))
    return _with(recipe, index, _part(whole, 0, at, length), _part(whole, at, length, length))


def _part(piece: Slice, begin: int, end: int, length: int) -> Slice:
    sources = tuple(
        replace(
            source,
            layers=(source.layers[0] + begin, source.layers[0] + end) if source.layers else None,
            parameters=cut(source.parameters, begin, end, length),
        )
        for source in piece.sources
    )
    return replace(piece, sources=sources, parameters=cut(piece.parameters, begin, end, length))


def move(recipe: Recipe, index: int, to: int) -> Recipe:
    """A block at another place, counted from the lowest; beyond the ends it stays there."""
    rest = list(recipe.slices)
    piece = rest.pop(index)
    to = min(max(to, 0), len(rest))
    return replace(recipe, slices=(*rest[:to], piece, *rest[to:]))


def remove(recipe: Recipe, index: int) -> Recipe:
    if len(recipe.slices) == 1:
        raise refuse("last-block", "slices", "This is the only block, and a merge needs one.", "Add another first.")
    return _with(recipe, index)


def add(recipe: Recipe, model: ModelRef, layers: Layers) -> Recipe:
    """One more block on top: all layers of a parent. Models beside each other become a block first."""
    count = _count(layers, model)
    stacked = recipe if recipe.slices else make(recipe, layers)
    source = replace(new_source(recipe, model), layers=(0, count))
    return replace(stacked, slices=(*stacked.slices, Slice((source,))))


def blend(recipe: Recipe, index: int, model: ModelRef, layers: Layers) -> Recipe:
    """A block with one more source, from the same layers of another parent as far as it has them."""
    piece = recipe.slices[index]
    method = METHODS.get(recipe.merge_method)
    if method and method.max_parents == 1:
        text = f"{method.title} takes each block from one model."
        raise refuse("one-source", f"slices[{index}]", text, "Choose a method that blends, such as Linear.")
    length = length_of(piece)
    count = layers.get(model, LONGEST)
    if length > count:
        text = f"The block has {length} layers, {model} only {count}."
        raise refuse("block-too-long", f"slices[{index}]", text, "Split the block first.")
    first = piece.sources[0].layers[0] if piece.sources and piece.sources[0].layers else 0
    first = min(first, count - length)
    source = replace(new_source(recipe, model), layers=(first, first + length))
    return _with(recipe, index, replace(piece, sources=(*piece.sources, source)))


def leave(recipe: Recipe, index: int, source: int) -> Recipe:
    """A block without one of its sources; without its only one it goes."""
    piece = recipe.slices[index]
    left = (*piece.sources[:source], *piece.sources[source + 1 :])
    return _with(recipe, index, replace(piece, sources=left)) if left else remove(recipe, index)


def make(recipe: Recipe, layers: Layers) -> Recipe:
    """Models beside each other as a stack of one block with all their layers. Means the same."""
    if recipe.slices or not recipe.models:
        raise _gone()
    counts = {source.model: _count(layers, source.model) for source in recipe.models}
    if len(set(counts.values())) > 1:
        text = " and ".join(f"{model} has {count}" for model, count in list(counts.items())[:2])
        raise refuse("layer-count-differs", "models", f"The models differ in their layers: {text}.", "Take equal ones.")
    sources = tuple(replace(source, layers=(0, counts[source.model])) for source in recipe.models)
    return replace(recipe, models=(), slices=(Slice(sources),))


def unmake(recipe: Recipe, layers: Layers) -> Recipe:
    """A stack of one block with all layers as models beside each other. Means the same."""
    if not is_one_whole(recipe, layers):
        raise refuse(
            "not-one-block", "slices", "Only one block with all layers of its models is a plain blend.",
            "Join or remove blocks first.",
        )  # fmt: skip
    (piece,) = recipe.slices
    models = tuple(replace(source, layers=None) for source in piece.sources)
    inner = {name: under(one, recipe.parameters.get(name, ())) for name, one in piece.parameters.items()}
    parameters = MappingProxyType({**recipe.parameters, **inner})
    return replace(recipe, slices=(), models=models, parameters=parameters)


def is_one_whole(recipe: Recipe, layers: Layers) -> bool:
    """Whether the stack is one block with all layers of its models, each there once."""
    if len(recipe.slices) != 1:
        return False
    (piece,) = recipe.slices
    models = [source.model for source in piece.sources]
    whole = all(source.layers == (0, layers.get(source.model)) for source in piece.sources)
    return whole and len(set(models)) == len(models) and piece.base_model in (None, recipe.base_model)


def _with(recipe: Recipe, index: int, *pieces: Slice) -> Recipe:
    """The recipe with these blocks in the place of one."""
    return replace(recipe, slices=(*recipe.slices[:index], *pieces, *recipe.slices[index + 1 :]))


def _numbers(texts: Sequence[str]) -> list[int]:
    if not all(text.isascii() and text.isdigit() and len(text) < 6 for text in texts):
        raise _gone()
    return [int(text) for text in texts]


def _parent(recipe: Recipe, index: int) -> ModelRef:
    parents = recipe.parents()
    if index >= len(parents):
        raise _gone()
    return parents[index]


def _count(layers: Layers, model: ModelRef) -> int:
    if model not in layers:
        text = f"How many layers {model} has is not known yet."
        raise refuse("layers-unknown", str(model), text, "Wait until its headers are read, or press Check.")
    return layers[model]


def _gone() -> Refused:
    return refuse("unknown-action", "", "This block or model is no longer part of the recipe.", "Reload the page.")
