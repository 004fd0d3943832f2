"""The picture of a method: arrows where it works on whole vectors, bars where it looks at single entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.recipe.catalogue import Method
from app.web.pages.pictures import entries, vectors
from app.web.pages.pictures.parents import Parent

MethodPicture = vectors.VectorPicture | entries.EntryPicture
_ARROWS = ("linear", "slerp", "nuslerp", "multislerp", "karcher", "task_arithmetic", "transfer", "model_stock")
_BIGGEST = 1000.0
"""Beyond this a number is drawn as this: the arrow has left every scale by then."""


def draw(
    method: str, parents: Sequence[Parent], settings: Mapping[str, float], *, base_letter: str = "", based: bool = False
) -> MethodPicture | None:
    """The picture for a method of the catalogue, or None for passthrough, whose picture is the stack of layers.

    ``settings`` are the shared parameters by name, switches as 0 and 1; what is left out has its default.
    """
    if method == "passthrough":
        return None
    parents = [Parent(one.letter, _bounded(one.values)) for one in parents]
    settings = {"t": 0.5} | _bounded(settings) if method == "slerp" else _bounded(settings)
    if method in _ARROWS:
        return vectors.draw(method, parents, settings, base_letter=base_letter, based=based)
    if method == "nearswap":
        settings = {"t": 0.005} | settings
    return entries.draw(method, parents, settings, base_letter=base_letter)


def example(method: Method) -> MethodPicture | None:
    """The picture with numbers that show what the method is about: half the changes kept, three parents if it takes
    them."""
    values = ({"weight": 0.55}, {"weight": 0.6}, {"weight": 0.45})
    parents = [Parent(letter, {"density": 0.5, **one}) for letter, one in zip("ABC", values, strict=True)]
    shown = 2 if method.name == "transfer" else method.max_parents
    return draw(method.name, parents[:shown], _EXAMPLES.get(method.name, {}), base_letter="A")


_EXAMPLES: Mapping[str, Mapping[str, float]] = {
    "slerp": {"t": 0.4},
    "nearswap": {"t": 0.005},
    "sce": {"select_topk": 0.6},
}


def _bounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: max(-_BIGGEST, min(_BIGGEST, value)) for name, value in values.items()}
