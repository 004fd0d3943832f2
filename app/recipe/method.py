"""What is known of a merge method and of its parameters; ``app.recipe.catalogue`` lists them all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.recipe.schema import Scalar

Kind = Literal["number", "integer", "boolean"]
Scope = Literal["tensor", "parent", "non_base"]
BaseRole = Literal["required", "optional", "ignored"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One knob of a method.

    ``scope``: ``tensor`` is one value for the whole tensor; ``parent`` one per parent, the base included;
    ``non_base`` one per parent except the base. ``default`` None with ``required`` False means "left out".
    ``minimum``/``maximum`` bound what is accepted; ``low``/``high`` are the ends of the slider.
    """

    name: str
    sentence: str
    kind: Kind = "number"
    scope: Scope = "tensor"
    default: Scalar | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    low: float = 0.0
    high: float = 1.0
    step: float = 0.05
    curve: bool = True
    advanced: bool = False
    used: bool = True
    """False: accepted so that published recipes load, without any effect."""
    neutral: float | None = None
    """The value that leaving it out amounts to, where it has no default."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to merge. ``min_parents``/``max_parents`` count the parents without the base, except where
    ``base_counts`` says that the base is one of them."""

    name: str
    title: str
    sentence: str
    when: str
    formula: str
    paper: str
    base: BaseRole
    parameters: tuple[Parameter, ...]
    min_parents: int = 1
    max_parents: int | None = None
    base_counts: bool = False
    random: bool = False
    receives: bool = False
    """The first parent besides the base is what the others' changes are added to; the result is of its kind."""

    def parameter(self, name: str) -> Parameter | None:
        return next((one for one in self.parameters if one.name == name), None)

    @property
    def uses_deltas(self) -> bool:
        return self.base == "required" and self.name not in ("slerp", "nearswap", "arcee_fusion")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
