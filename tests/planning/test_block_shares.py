"""Shares of a block for drawing: for whatever a recipe in the making holds."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from app.planning.block_shares import block_shares
from app.recipe.catalogue import METHODS
from app.recipe.schema import ModelRef, Recipe, Rule, Slice, Source

MODELS = tuple(ModelRef(f"org/{name}") for name in ("one", "two", "three"))


def block(*weights: object, layers: tuple[int, int] = (4, 8)) -> Slice:
    sources = (
        Source(model, layers, MappingProxyType({} if weight is None else {"weight": (Rule(weight),)}))  # type: ignore[arg-type]
        for model, weight in zip(MODELS, weights, strict=False)
    )
    return Slice(tuple(sources))


@pytest.mark.parametrize("base", [None, MODELS[0], ModelRef("org/base")])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_too_few_and_too_many_models(method: str, count: int, base: ModelRef | None) -> None:
    for layers in ((0, 0), (4, 5), (0, 500)):
        piece = block(*[None] * count, layers=layers)
        told = block_shares(Recipe(method, base_model=base, slices=(piece,)), piece)
        assert all(len(row) == len(told.models) for row in told.rows)
        assert all(abs(sum(row) - 1) < 1e-9 for row in told.rows if told.models)
        assert 1 <= len(told.rows) <= 48


def test_a_curve_over_the_layers() -> None:
    piece = block((1, 0.25), (0, 0.75))
    told = block_shares(Recipe("linear", slices=(piece,)), piece)
    assert told.models == MODELS[:2]
    assert told.rows == pytest.approx(np.array([(1, 0), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75)]))


def test_what_the_changes_do_not_take_is_the_bases() -> None:
    piece = block(0.3, 0.2)
    base = ModelRef("org/base")
    told = block_shares(Recipe("task_arithmetic", base_model=base, slices=(piece,)), piece)
    assert (told.models, told.rows) == ((base, *MODELS[:2]), (pytest.approx((0.5, 0.3, 0.2)),))
