"""What is kept of one tensor: sums from which every measure follows, of the tensor alone or of many together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

DIGITS = 10
"""Significant digits of a sum that are kept: cosines near 1 differ in the sixth."""


@dataclass(frozen=True, slots=True)
class TensorSums:
    """Sums over the ``measured`` weights of a tensor that has ``elements`` of them. w: a model's weight, d: its delta
    to the base. Lists over models are in their order, over pairs in that of ``pairs``.

    ``squares``: Σ w² of each model, then of the base. ``products``: Σ w w' of each pair. ``apart``: Σ (w − w')² of each
    pair. With a base: ``delta_squares`` Σ d², ``delta_products`` Σ d d', ``sizes`` Σ |d|, ``against`` of each pair
    Σ (|d| + |d'|) where the signs are opposite, ``against_all`` Σ over all models of |d| where any two are opposite.
    ``top``: how many of the largest deltas were looked at in each model, ``both``: how many are so in both of a pair,
    ``common``: in all. ``ranks``: effective ranks of the deltas, without a base none; ``rank_most``: what such a rank
    can be at most, 0 for a vector.
    """

    name: str
    layer: int | None
    module: str
    shape: tuple[int, ...]
    elements: int
    measured: int
    squares: tuple[float, ...]
    products: tuple[float, ...]
    apart: tuple[float, ...]
    delta_squares: tuple[float, ...] = ()
    delta_products: tuple[float, ...] = ()
    sizes: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    against_all: float = 0.0
    top: tuple[int, ...] = ()
    both: tuple[int, ...] = ()
    common: int = 0
    ranks: tuple[float | None, ...] = ()
    rank_most: int = 0

    @property
    def scale(self) -> float:
        """What the sums of a sample are multiplied with to stand for the whole tensor."""
        return self.elements / self.measured

    def as_dict(self) -> dict[str, Any]:
        return {key: _rounded(value) for key, value in asdict(self).items()}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> TensorSums:
        """The inverse of ``as_dict``, also after a way through JSON."""
        values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in told.items()}
        return cls(**values)


def pairs(models: int) -> tuple[tuple[int, int], ...]:
    """Every pair of models, in the order the sums have."""
    return tuple(combinations(range(models), 2))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return [_rounded(one) for one in value] if isinstance(value, tuple) else value
