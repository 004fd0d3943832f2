"""Layers put on top of each other, as blocks: what passthrough does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.recipe.schema import ModelRef, Recipe, Slice, Source
from app.web.pages.pictures.threads import thread

HEIGHT, TOP, GAP = 108, 4, 2
_MOST = 12


@dataclass(frozen=True, slots=True)
class Block:
    """One slice: the lowest layers are drawn lowest."""

    colour: str
    label: str
    y: float
    height: float


def draw(recipe: Recipe, letters: Mapping[ModelRef, str]) -> tuple[Block, ...]:
    """A block for each slice (the first twelve); without slices one for each model."""
    pieces = [(source.model, source.layers) for piece in recipe.slices for source in piece.sources[:1]]
    pieces = (pieces or [(source.model, source.layers) for source in recipe.models])[:_MOST]
    sizes = [max(1, layers[1] - layers[0]) if layers else 8 for _, layers in pieces]
    room = HEIGHT - GAP * (len(pieces) - 1)
    blocks, y = [], float(TOP)
    for (model, layers), size in reversed(list(zip(pieces, sizes, strict=True))):
        letter = letters.get(model, "")
        height = room * size / sum(sizes)
        label = f"{letter or 'base'} {layers[0]}–{layers[1] - 1}" if layers else f"{letter or 'base'}, all layers"
        blocks.append(Block(thread(letter), label, round(y, 1), round(height, 1)))
        y += height + GAP
    return tuple(blocks)


def sample() -> tuple[Block, ...]:
    """Layers of two example models on top of each other."""
    one, two = ModelRef("owner/one"), ModelRef("owner/two")
    pieces = ((one, (0, 20)), (two, (8, 24)), (one, (16, 32)))
    recipe = Recipe("passthrough", slices=tuple(Slice((Source(model, layers),)) for model, layers in pieces))
    return draw(recipe, {one: "A", two: "B"})
