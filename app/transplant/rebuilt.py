"""How well shared tokens come back when their rows are made anew the way those of new tokens are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.recipe.findings import Finding
from app.transplant.wanted import WantedTransplant

MOST = 256
"""Shared tokens that are made anew."""
_SHARE = 4
"""One of so many shared tokens at most: the others are what they are made of."""


def sample_size(shared: int) -> int:
    """How many of so many shared tokens are made anew; none where that would leave too few."""
    return min(MOST, shared // _SHARE)


@dataclass(frozen=True)
class Rebuilt:
    """``tokens`` shared tokens of the model's matrix ``tensor``, made anew of the other shared ones: ``error`` is the
    median of ‖made − real‖ / ‖real‖, ``mean_error`` that of the mean of all rows in their place."""

    tensor: str
    tokens: int
    error: float
    mean_error: float

    @property
    def useful(self) -> bool:
        """Whether the donor's embeddings say more of a token than nothing at all."""
        return self.error < self.mean_error

    def falls_back(self, wanted: WantedTransplant) -> bool:
        """Whether new rows are the mean of all instead."""
        return wanted.approach == "auto" and not self.useful

    def as_dict(self, wanted: WantedTransplant) -> dict[str, Any]:
        made_by = "mean" if self.falls_back(wanted) else "omp" if wanted.pursued else wanted.approach
        return {
            "tensor": self.tensor, "made_by": made_by, "tokens": self.tokens, "error": self.error,
            "mean_error": self.mean_error,
        }  # fmt: skip

    def told(self, wanted: WantedTransplant) -> Finding:
        """What it means, and what to do."""
        by = "omp" if wanted.pursued else wanted.approach
        text = f"{self.tokens:,} tokens that both have, made anew by {by}, came back with {self.error:.0%} of their "
        text += f"length wrong (the median), the mean of all rows in their place with {self.mean_error:.0%}."
        if self.useful:
            return Finding("info", "rows-rebuilt", self.tensor, f"{text} ({self.tensor})")
        text += " The donor's embeddings are not laid out like the model's: "
        if self.falls_back(wanted):
            text += "the new rows are the mean of all instead."
            return Finding(
                "warning",
                "donor-unlike",
                self.tensor,
                text,
                "--approach subword is another that needs no such likeness.",
            )
        text += "expect a worse result than by mean."
        fix = "Take --approach subword or mean, or leave --approach out."
        return Finding("warning", "donor-unlike", self.tensor, text, fix)
