"""A finished comparison: what was measured of each tensor, and the cells of the heat maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.comparing.measures import Measure, Subject, applicable, subjects, value
from app.comparing.meeting import LeftOut
from app.comparing.sums import TensorSums
from app.planning.module_names import EMBEDDINGS, column_key
from app.recipe.form import THREADS

FORMAT = 1
Place = tuple[int | None, str]
"""Layer and module; outside the layers None and the row's name."""


@dataclass(frozen=True)
class Comparison:
    """``models`` and ``base``: references, pinned where they can be. ``left_out``: tensors that could not be compared;
    of ``left_out_count`` of them only the first are kept."""

    models: tuple[str, ...]
    base: str | None
    full: bool
    top: float
    tensors: tuple[TensorSums, ...]
    left_out: tuple[LeftOut, ...] = ()
    left_out_count: int = 0

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        return applicable(len(self.models), self.base is not None)

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Whom any of the measures can be told of: all together, each model, each pair."""
        found = {one for each in self.measures for one in subjects(each, len(self.models))}
        return tuple(sorted(found, key=lambda one: (len(one), one)))

    @cached_property
    def cells(self) -> Mapping[Place, tuple[TensorSums, ...]]:
        """The tensors of each cell, places in the order a model runs."""
        found: dict[Place, list[TensorSums]] = {}
        for one in self.tensors:
            found.setdefault((one.layer, one.module), []).append(one)
        return {place: tuple(inside) for place, inside in found.items()}

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(sorted({module for layer, module in self.cells if layer is not None}, key=column_key))

    @cached_property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted({layer for layer, _ in self.cells if layer is not None}))

    @property
    def rows(self) -> tuple[int | str, ...]:
        """Layers by number, what lies outside them by name, in the order a model runs."""
        outside = [module for layer, module in self.cells if layer is None]
        before = [name for name in outside if name == EMBEDDINGS]
        return (*before, *self.layers, *(name for name in outside if name not in before))

    def value(self, measure: str, subject: Subject, place: Place) -> float | None:
        return value(measure, self.cells.get(place, ()), subject)

    def overall(self, measure: str, subject: Subject) -> float | None:
        """Over everything that was compared."""
        return value(measure, self.tensors, subject)

    def letter(self, model: int) -> str:
        return THREADS[model]

    def as_json(self) -> str:
        told = {
            "format": FORMAT, "models": self.models, "base": self.base, "full": self.full, "top": self.top,
            "tensors": [one.as_dict() for one in self.tensors],
            "left_out": [[one.name, one.why] for one in self.left_out], "left_out_count": self.left_out_count,
        }  # fmt: skip
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str) -> Comparison:
        told: dict[str, Any] = json.loads(text)
        return cls(
            tuple(told["models"]), told["base"], told["full"], told["top"],
            tuple(TensorSums.of(one) for one in told["tensors"]),
            tuple(LeftOut(name, why) for name, why in told["left_out"]), told["left_out_count"],
        )  # fmt: skip


def subject_key(subject: Subject) -> str:
    """``all``, ``A`` or ``A-B``: how a subject is written in addresses and files."""
    return "-".join(THREADS[one] for one in subject) or "all"


def read_subject(key: str, among: Sequence[Subject]) -> Subject:
    """The subject of a key, the first of ``among`` when there is none like it."""
    return next((one for one in among if subject_key(one) == key), among[0])


def every_value(comparison: Comparison, tensors: Sequence[TensorSums]) -> dict[str, dict[str, float | None]]:
    """Measure -> subject -> value, of these tensors together."""
    return {
        measure.name: {
            subject_key(one): value(measure.name, tensors, one) for one in subjects(measure, len(comparison.models))
        }
        for measure in comparison.measures
    }
