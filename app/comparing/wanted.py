"""What somebody wants compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.recipe.findings import refuse
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef

TOP = 0.2
"""The share of a model's largest changes whose overlap is measured, unless said otherwise: what TIES keeps of them in
its paper (arXiv 2306.01708)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``models``: two or more, or one with a ``base``. ``full``: every weight, not a sample. ``top``: a share."""

    models: tuple[ModelRef, ...]
    base: ModelRef | None = None
    full: bool = False
    top: float = TOP

    @property
    def everyone(self) -> tuple[ModelRef, ...]:
        return self.models if self.base is None else (*self.models, self.base)

    def as_params(self) -> dict[str, Any]:
        """For the job's row."""
        base = None if self.base is None else str(self.base)
        return {"models": [str(one) for one in self.models], "base": base, "full": self.full, "top": self.top}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> Wanted:
        return read_wanted(params["models"], params["base"], full=params["full"], top=params["top"])


def read_wanted(models: list[str], base: str | None, *, full: bool = False, top: float = TOP) -> Wanted:
    """Read what was typed. The base is not compared with itself. Raises Refused."""
    origin = parse_reference(base, "base") if base and base.strip() else None
    read = [parse_reference(one, f"models[{number}]") for number, one in enumerate(models) if one.strip()]
    listed = tuple(one for one in read if one != origin)
    twice = next((one for one in listed if listed.count(one) > 1), None)
    if twice is not None:
        raise refuse("model-twice", "models", f"{twice} is there twice.", "Compare it with another model.")
    for one in (*listed, *([origin] if origin else [])):
        if one.adapter is not None:
            text = f"{one}: a model with an adapter on it cannot be compared yet."
            raise refuse(
                "adapter-not-supported",
                str(one),
                text,
                "Merge the adapter into the model first (passthrough), and compare the result.",
            )
    if not 0 < top < 1:
        raise refuse("bad-top", "top", "The share of the largest changes lies between 0 and 1, that is 100 %.",
                     "0.2 is usual, 20 %.")  # fmt: skip
    return Wanted(listed, origin, full, top)
