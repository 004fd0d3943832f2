"""What the weights themselves decided, once a merge is done: the coefficients of a loom's cells, and angles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from app.planning.mixture import Mixture, Mixtures, document_of, mixture_of
from app.planning.plan import Step


@dataclass(frozen=True, slots=True)
class Found:
    """Means over a cell's tensors, weighted by their elements. ``coefficients``: one for each of ``Plan.parents``;
    ``angle``: degrees between every two parents, or changes from a base, None where that is not known."""

    coefficients: tuple[float, ...]
    angle: float | None


@dataclass(frozen=True, slots=True)
class Apart:
    """How far apart the parents' tensors are, in degrees; the mean is weighted by elements. ``changes``: it is their
    changes from the base that are compared."""

    least: float
    mean: float
    most: float
    changes: bool


def found_in(steps: Sequence[Step], parents: int, mixtures: Mixtures) -> Found | None:
    """Of the tensors of one cell; None unless it is known of all of them as a sum of the parents' own tensors."""
    sums, turned, angled, elements = [0.0] * parents, 0.0, 0, 0
    for step in steps:
        mixture = mixture_of(step, mixtures)
        if mixture is None or mixture.by == "weight" or any(map(document_of, step.every_input)):
            return None
        size = _elements(step)
        elements += size
        for one, coefficient in zip(step.every_input, mixture.coefficients, strict=True):
            sums[one.parent] += coefficient * size
        angle = _mean(mixture)
        if angle is not None:
            turned, angled = turned + angle * size, angled + size
    return Found(tuple(one / elements for one in sums), turned / angled if angled else None)


def apart(steps: Iterable[Step], mixtures: Mixtures) -> Apart | None:
    """Over all tensors whose angles are known; None when none are."""
    known, turned, elements, changes = [], 0.0, 0, False
    for step in steps:
        mixture = mixture_of(step, mixtures)
        angle = _mean(mixture) if mixture else None
        if mixture is None or angle is None:
            continue
        known += [one for one in mixture.angles if one is not None]
        turned, elements = turned + angle * _elements(step), elements + _elements(step)
        changes = step.base is not None and step.method != "slerp"
    return Apart(min(known), turned / elements, max(known), changes) if known else None


def _mean(mixture: Mixture) -> float | None:
    angles = [one for one in mixture.angles if one is not None]
    return sum(angles) / len(angles) if angles else None


def _elements(step: Step) -> int:
    return max(1, prod(step.shape))
