"""The pictures' arithmetic against the engine's oracle: every method, in NumPy float64, on the same small vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.recipe.catalogue import METHODS, Method, Parameter
from app.web.pages.pictures.formulas import Example, merge
from tests.engine import oracle
from tests.engine.oracle_deltas import della_chances

SIZE = 16
NUMBERS = {
    "weight": (-0.5, 0.25, 1.0, 1.5), "density": (0.0, 0.2, 0.5, 0.8, 1.0), "gamma": (0.0, 0.01, 0.2),
    "epsilon": (0.05, 0.15), "lambda": (0.5, 1.0, 2.0), "t": (0.0, 0.004, 0.3, 1.0), "scale": (0.5, 2.0),
    "select_topk": (0.0, 0.3, 0.8, 1.0), "r": (0.1, 0.5), "alpha": (0.2, 0.9), "max_iter": (1, 3, 50), "tol": (1e-5,),
    "eps": (1e-8,), "threshold": (0.0, 0.4, 1.5), "k": (1, 2, 3),
}  # fmt: skip


def drawn(method: Method, one: Parameter, dice: np.random.Generator) -> float:
    if one.kind == "boolean":
        return float(dice.integers(2))
    if method.name.startswith("ram") and one.name == "epsilon":
        return float(dice.choice([1e-5, 0.004]))
    chosen = float(dice.choice(NUMBERS.get(one.name, (one.low, (one.low + one.high) / 2, one.high))))
    return int(chosen) if one.kind == "integer" else chosen


def settings(method: Method, shared: bool, dice: np.random.Generator) -> dict[str, float]:
    """Some parameters set, some left to their defaults."""
    return {
        one.name: drawn(method, one, dice)
        for one in method.parameters
        if (one.scope == "tensor") == shared and (one.required or dice.random() < 0.7)
    }


def example(method: Method, dice: np.random.Generator) -> tuple[Example, np.ndarray | None]:
    size = int(dice.choice([2, SIZE]))
    based = method.base == "required" or (method.base == "optional" and dice.random() < 0.5)
    base = dice.normal(0, 0.02, size) if based else np.zeros(size)
    most = min(method.max_parents or 4, 4)
    count = int(dice.integers(method.min_parents, most + 1)) - method.base_counts
    changes = [dice.laplace(0, 0.01, size) * (dice.random(size) < 0.8) for _ in range(count)]
    each = [settings(method, False, dice) for _ in range(count)]
    draws = [tuple(map(float, dice.random(size))) for _ in range(count)]
    inputs = [tuple(map(float, base + change)) for change in changes]
    shown = Example(tuple(map(float, base)), inputs, settings(method, True, dice), each, draws if method.random else ())
    return shown, base if based else None


def masks(method: Method, shown: Example) -> list[np.ndarray] | None:
    """The oracle's masks for the example's draws."""
    if not method.random:
        return None
    found = []
    for vector, one, draw in zip(shown.inputs, shown.each, shown.draws, strict=True):
        density = one.get("density", 1.0)
        chances: Any = density
        if method.name.startswith("della"):
            chances = della_chances(np.subtract(vector, shown.base), density, one.get("epsilon", 0.15))
        found.append(np.array(draw) < chances)
    return found


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"passthrough"}))
def test_a_picture_shows_what_the_engine_would_make(name: str) -> None:
    method = METHODS[name]
    compared = 0
    for seed in range(120):
        dice = np.random.default_rng(seed)
        shown, base = example(method, dice)
        inputs = [np.array(one) for one in shown.inputs]
        try:
            with np.errstate(all="ignore"):
                wanted = oracle.merge(method.name, base, inputs, shown.shared, shown.each, masks(method, shown))
        except ValueError:  # DELLA's density ± epsilon out of range, or directions that cancel out: refused elsewhere
            continue
        if np.isfinite(wanted).all():
            found = merge(method.name, shown)
            np.testing.assert_allclose(found.result, wanted, rtol=1e-9, atol=1e-9)
            compared += 1
    assert compared >= 40
