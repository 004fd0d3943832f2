"""Layers that are not all alike: whether each of a stack's layers is of the kind that its new place asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.planning.layer_repair import layer_marks
from app.planning.ledger import listed
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.recipe.findings import Finding


def uneven_layers(parents: Parents, donor: int, stack: str, origins: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """A warning when a layer lacks tensors that the donor's layer of that number has, or brings others, and nothing in
    the config says so: loading would miss the ones and ignore the others. ``origins``: (parent, layer) by layer."""
    count = parents.structures[donor].layers
    told = _told_kinds(parents, donor, stack)
    for place, (parent, layer) in enumerate(origins):
        brings = _tensors(parents, parent, stack, layer)
        expected = _tensors(parents, donor, stack, min(place, count - 1))
        if brings == expected or _explained(parents, parent, layer, brings, told):
            continue
        names = [short(name) for name in sorted(brings - expected or expected - brings)]
        which = "brings" if brings - expected else "lacks"
        yield Finding(
            "warning", "uneven-layers", f"layer {place}", f"Layer {place} of the result, which was layer {layer} of "
            f"{parents.name(parent)}, {which} {listed(names)}, unlike layer {min(place, count - 1)} of "
            f"{parents.name(donor)}, and the config does not tell such layers apart. Tensors may be missed when the "
            "result is loaded.", "Leave layers that are unlike the others at their own place, first or last.",
        )  # fmt: skip
        return


def _tensors(parents: Parents, parent: int, stack: str, layer: int) -> frozenset[str]:
    return frozenset(parents.suffixes[parent].get((stack, layer), ()))


def _told_kinds(parents: Parents, donor: int, stack: str) -> dict[tuple[object, ...], frozenset[str]] | None:
    """Which tensors a layer has by what the config says of it; None when that does not decide it."""
    found: dict[tuple[object, ...], frozenset[str]] = {}
    marks = layer_marks(parents.facts[donor].config, parents.structures[donor].layers)
    for layer, mark in enumerate(marks):
        if found.setdefault(mark, _tensors(parents, donor, stack, layer)) != _tensors(parents, donor, stack, layer):
            return None
    return found


def _explained(
    parents: Parents,
    parent: int,
    layer: int,
    brings: frozenset[str],
    told: dict[tuple[object, ...], frozenset[str]] | None,
) -> bool:
    marks = layer_marks(parents.facts[parent].config, parents.structures[parent].layers)
    return told is not None and layer < len(marks) and told.get(marks[layer]) == brings
