"""How much of each parent goes into the layers of one block of a stack, from the recipe alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.planning.plan import Values
from app.planning.shares import shares_of
from app.recipe.catalogue import METHODS, Method
from app.recipe.resolve import position, resolve
from app.recipe.schema import ModelRef, Parameters, Recipe, Scalar, Slice
from app.recipe.stack import length_of

_MOST = 48
"""Layers that are looked at one by one; of more as many, evenly spread."""


@dataclass(frozen=True, slots=True)
class BlockShares:
    """``rows``: for some layers, evenly spread, the lowest first, one share for each of ``models`` (together 1). A
    base that stands apart comes first. Rules with filters are not looked at."""

    models: tuple[ModelRef, ...]
    rows: tuple[tuple[float, ...], ...]


def block_shares(recipe: Recipe, piece: Slice) -> BlockShares:
    """One row where all layers are alike. A recipe in the making may lack what its method needs: then equal shares."""
    method = METHODS.get(recipe.merge_method) or METHODS["linear"]
    base = None if method.base == "ignored" else piece.base_model or recipe.base_model
    sources = [source for source in piece.sources if source.model != base]
    if not sources or method.max_parents == 1:
        alone = tuple(source.model for source in piece.sources[:1])
        return BlockShares(alone, ((1.0,) * len(alone),))
    around = (piece.parameters, recipe.parameters)
    count = min(max(1, length_of(piece)), _MOST)
    models = tuple(source.model for source in sources) if base is None else (base, *(one.model for one in sources))
    rows = []
    for layer in range(count):
        t = position(layer, count)
        inputs = [_values(method, (source.parameters, *around), t, shared=False) for source in sources]
        shared = _values(method, around, t, shared=True)
        row = shares_of(method.name, shared, inputs, based=base is not None)
        rows.append(row if len(row) == len(models) else (1 / len(models),) * len(models))
    return BlockShares(models, tuple(rows) if len(set(rows)) > 1 else (rows[0],))


def _values(method: Method, scopes: Sequence[Parameters], t: float, *, shared: bool) -> Values:
    found: dict[str, Scalar] = {}
    for one in method.parameters:
        if one.used and (one.scope == "tensor") == shared:
            value = resolve(scopes, one.name, "", t)
            value = one.default if value is None else value
            found[one.name] = (one.low + one.high) / 2 if value is None else value
    return found
