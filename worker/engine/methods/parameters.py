"""Reading parameters of a step or of one of its inputs; planning has resolved curves, filters and defaults."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.planning.plan import Input, Step
from app.recipe.catalogue import METHODS
from worker.engine.dtypes import Array


def number(one: Step | Input, name: str, default: float) -> float:
    """``default`` is for a parameter that was left out, which planning does only where the catalogue allows it."""
    value = one.parameters.get(name)
    return default if value is None else float(value)


def flag(step: Step, name: str) -> bool:
    """A yes-or-no parameter; left out, it has the catalogue's default."""
    value = step.parameters.get(name)
    if value is None:
        parameter = METHODS[step.method].parameter(name)
        value = bool(parameter.default) if parameter is not None else False
    return bool(value)


def draw_names(labels: Sequence[str]) -> list[str]:
    """What each input's draws are keyed by: its parent's reference, numbered when the same parent comes again."""
    return [
        label if label not in labels[:i] else f"{label} #{labels[:i].count(label) + 1}"
        for i, label in enumerate(labels)
    ]


def weights(step: Step) -> Array:
    """The weights of the inputs, fp64 [inputs]. The base, where there is one, has none."""
    return np.array([number(one, "weight", 1.0) for one in step.inputs], np.float64)
