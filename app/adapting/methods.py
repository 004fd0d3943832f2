"""The catalogue of ways to merge adapters into one: forms, checks, commands and docs read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Rank = Literal["chosen", "sum", "own"]
"""The result's rank: chosen (all that is needed unless one is named), the sum of all, or that of the adapters."""


@dataclass(frozen=True, slots=True)
class AdapterMethod:
    """``divides``: by the sum of the weights, unless told otherwise. ``dense``: takes a density. ``random``: a seed."""

    name: str
    title: str
    sentence: str
    rank: Rank = "chosen"
    divides: bool = False
    dense: bool = False
    random: bool = False


_LISTED = (
    AdapterMethod(
        "svd", "Sum of a chosen rank (SVD)",
        "Adds up what the adapters change, by their weights. Name a rank, and it is the best that fits into it.",
    ),
    AdapterMethod(
        "cat", "Exact sum (cat)",
        "The same sum, the factors side by side: nothing is lost, and the ranks add up.", rank="sum",
    ),
    AdapterMethod(
        "linear", "Average (linear)",
        "The weighted mean of the changes: something in between, each adapter weaker than alone.", divides=True,
    ),
    AdapterMethod(
        "task_arithmetic", "Sum (task arithmetic)",
        "Adds the changes without dividing, so that each skill stays as strong as its weight says.",
    ),
    AdapterMethod(
        "ties", "TIES",
        "Keeps the largest changes of each adapter and lets them vote where they disagree.", divides=True, dense=True,
    ),
    AdapterMethod(
        "dare_linear", "DARE, then the sum",
        "Drops changes at random, makes the others larger, and adds them up.", dense=True, random=True,
    ),
    AdapterMethod(
        "dare_ties", "DARE, then TIES",
        "Drops changes at random, then lets the others vote.", divides=True, dense=True, random=True,
    ),
    AdapterMethod(
        "factor_linear", "Sum of factors (PEFT’s linear)",
        "Adds up the two factors by themselves. Cheap and small, but it also mixes what one adapter reads with what "
        "another writes. The ranks must be equal.", rank="own",
    ),
)  # fmt: skip

METHODS: Mapping[str, AdapterMethod] = MappingProxyType({one.name: one for one in _LISTED})
