"""What the builder's form carries besides the recipe: how the parents were shown, how many layers they have, and
whether to store Hub models.

The fields: ``parent.N``, in the order of the cards, ``layers|owner/name``, ``stream``, and the button that was pressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.recipe import filters
from app.recipe.schema import ModelRef, Recipe
from app.recipe.stack import LONGEST
from app.web.pages.posted import Fields

LAYERS = "layers|"
STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Remembered:
    """``order``: references as last shown. ``layers``: reference -> number of layers, as last looked up. ``stream``:
    the switch for storing no Hub model is on. ``opened``: where some modules got a value of their own a moment ago."""

    order: tuple[str, ...] = ()
    layers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    stream: bool = False
    opened: str = ""

    def counts(self, recipe: Recipe) -> dict[ModelRef, int]:
        """The number of layers of the recipe's parents, as far as it is known."""
        return {model: self.layers[str(model)] for model in recipe.parents() if str(model) in self.layers}


def remembered(fields: Fields) -> Remembered:
    """Values that no page has written are passed over."""
    order = tuple(value for name, value in fields.items() if name.startswith("parent.") and name[7:].isdigit())
    layers = {
        name.removeprefix(LAYERS): int(value)
        for name, value in fields.items()
        if name.startswith(LAYERS) and value.isascii() and value.isdigit() and 0 < int(value[:6]) < LONGEST
    }
    opened = filters.place_of(fields.get("action", ""))
    return Remembered(order, MappingProxyType(layers), STREAM in fields, opened)


def builder_address(draft: str, fields: Fields) -> str:
    """Where a draft is edited, or an empty builder without one: with the switch as a posted page had it."""
    said = [f"draft={draft}"] if draft else []
    said += [f"{STREAM}=yes"] if STREAM in fields else []
    return f"/?{'&'.join(said)}" if said else "/"
