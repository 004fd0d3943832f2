"""The measures: what each says, and how it follows from the sums of one tensor or of many.

Sums of a sample are scaled to the whole tensor before tensors are added, so a cell's value is that of its weights laid
end to end. All models together: of a measure of pairs the mean over the pairs, of the size the root of the mean square,
of the rank the mean; signs and largest changes are looked at in all models at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from app.comparing.sums import TensorSums, pairs

Subject = tuple[int, ...]
"""Whom a value is about: ``()`` all models together, ``(i,)`` one, ``(i, j)`` a pair."""


@dataclass(frozen=True, slots=True)
class Measure:
    """``of``: what it is measured of, besides all together. ``unit``: how it is written. ``diverging``: it goes both
    ways from 0."""

    name: str
    title: str
    sentence: str
    of: Literal["pair", "model"]
    needs_base: bool
    unit: Literal["percent", "number", "cosine"]
    diverging: bool = False


_LISTED = (
    Measure(
        "sign_conflict", "Opposite signs",
        "How much of the changes, weighted by their size, lies where two models move a weight in opposite directions. "
        "Two changes that have nothing to do with each other come to a half, three to three quarters; less where they "
        "leave weights alone.",
        "pair", True, "percent",
    ),
    Measure(
        "cosine_deltas", "Cosine of the changes",
        "1: the same direction, 0: nothing to do with each other, which is usual, −1: opposite.",
        "pair", True, "cosine", True,
    ),
    Measure(
        "delta_norm", "Size of the change", "How large a model's change is, in percent of the base's own size.",
        "model", True, "percent",
    ),
    Measure(
        "overlap", "Overlap of the largest changes",
        "How many of the largest changes of one model are among the largest of the other, within blocks of a million "
        "weights.", "pair", True, "percent",
    ),
    Measure(
        "rank", "Effective rank of the change",
        "In how many directions a change goes: exp of the entropy of the singular values (Roy and Vetterli, 2007).",
        "model", True, "number",
    ),
    Measure(
        "cosine_weights", "Cosine of the weights", "How alike the weights themselves are; 1 is the same direction.",
        "pair", False, "cosine",
    ),
    Measure(
        "difference", "Size of the difference",
        "How far two models are from each other, in percent of the (geometric) mean of their sizes. Unrelated weights "
        "give about 141 %.", "pair", False, "percent",
    ),
)  # fmt: skip

MEASURES: Mapping[str, Measure] = MappingProxyType({one.name: one for one in _LISTED})


def applicable(models: int, with_base: bool) -> tuple[Measure, ...]:
    """Those that can be told of so many models, with or without a base."""
    return tuple(
        one for one in _LISTED if (with_base or not one.needs_base) and (models > 1 or one.of == "model")
    )  # fmt: skip


def subjects(measure: Measure, models: int) -> tuple[Subject, ...]:
    """Whom the measure can be told of: all together first, where there is more than one."""
    each: tuple[Subject, ...] = pairs(models) if measure.of == "pair" else tuple((one,) for one in range(models))
    return each if len(each) == 1 else ((), *each)


def value(measure: str, tensors: Iterable[TensorSums], subject: Subject) -> float | None:
    """The measure over these tensors together. None where it means nothing: of no change, or of vectors."""
    return _COMPUTE[measure](list(tensors), subject)


def _total(tensors: Sequence[TensorSums], name: str, at: int) -> float:
    """One of the lists of sums at one place, over all tensors."""
    return math.fsum(getattr(one, name)[at] * one.scale for one in tensors)


def _models(tensors: Sequence[TensorSums]) -> int:
    """How many; a comparison of m models has m (m − 1) / 2 pairs."""
    return (1 + math.isqrt(1 + 8 * len(tensors[0].products))) // 2 if tensors else 0


def _mean(values: Iterable[float | None]) -> float | None:
    there = [one for one in values if one is not None]
    return math.fsum(there) / len(there) if there else None


def _over_pairs(compute: Callable[[Sequence[TensorSums], int, Subject], float | None]) -> _Compute:
    """``compute`` takes the pair's place in the lists and its models. All together: the mean over the pairs."""

    def told(tensors: Sequence[TensorSums], subject: Subject) -> float | None:
        every = pairs(_models(tensors))
        return _mean(
            compute(tensors, every.index(one), one) for one in ([(subject[0], subject[1])] if subject else every)
        )

    return told


def _cosine(product: float, one: float, other: float) -> float | None:
    length = math.sqrt(one) * math.sqrt(other)
    return max(-1.0, min(1.0, product / length)) if length > 0 else None


def _cosine_weights(tensors: Sequence[TensorSums], pair: int, of: Subject) -> float | None:
    one, other = (_total(tensors, "squares", model) for model in of)
    return _cosine(_total(tensors, "products", pair), one, other)


def _cosine_deltas(tensors: Sequence[TensorSums], pair: int, of: Subject) -> float | None:
    one, other = (_total(tensors, "delta_squares", model) for model in of)
    return _cosine(_total(tensors, "delta_products", pair), one, other)


def _difference(tensors: Sequence[TensorSums], pair: int, of: Subject) -> float | None:
    one, other = (math.sqrt(_total(tensors, "squares", model)) for model in of)
    return math.sqrt(_total(tensors, "apart", pair) / (one * other)) if one * other > 0 else None


def _delta_norm(tensors: Sequence[TensorSums], subject: Subject) -> float | None:
    base = _total(tensors, "squares", -1)
    models = subject or range(_models(tensors))
    squares = math.fsum(_total(tensors, "delta_squares", model) for model in models) / max(1, len(models))
    return math.sqrt(squares / base) if base > 0 else None


def _sign_conflict(tensors: Sequence[TensorSums], subject: Subject) -> float | None:
    every = range(_models(tensors))
    size = math.fsum(_total(tensors, "sizes", model) for model in subject or every)
    if subject:
        against = _total(tensors, "against", pairs(len(every)).index((subject[0], subject[1])))
    else:
        against = math.fsum(one.against_all * one.scale for one in tensors)
    return min(1.0, against / size) if size > 0 else None


def _overlap(tensors: Sequence[TensorSums], subject: Subject) -> float | None:
    every = range(_models(tensors))
    models = subject or tuple(every)
    top = math.fsum(_total(tensors, "top", model) for model in models)
    if subject:
        shared = _total(tensors, "both", pairs(len(every)).index((subject[0], subject[1])))
    else:
        shared = math.fsum(one.common * one.scale for one in tensors)
    return shared * len(models) / top if top > 0 else None


def _rank(tensors: Sequence[TensorSums], subject: Subject) -> float | None:
    """The mean over the tensors that have one, weighted by their elements."""
    models = subject or range(_models(tensors))
    told = [
        (rank, one.elements) for one in tensors for model in models if (rank := one.ranks[model]) is not None
    ]  # fmt: skip
    elements = sum(size for _, size in told)
    return math.fsum(rank * size for rank, size in told) / elements if elements else None


_Compute = Callable[[Sequence[TensorSums], Subject], float | None]
_COMPUTE: Mapping[str, _Compute] = MappingProxyType(
    {
        "cosine_weights": _over_pairs(_cosine_weights),
        "cosine_deltas": _over_pairs(_cosine_deltas),
        "difference": _over_pairs(_difference),
        "delta_norm": _delta_norm,
        "sign_conflict": _sign_conflict,
        "overlap": _overlap,
        "rank": _rank,
    }
)
