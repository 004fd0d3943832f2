"""Layers that are not all alike: whether each of a stack's layers is of the kind that its new place asks for, and
whether something outside the layers has a part for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.planning.layer_repair import layer_marks
from app.planning.layers import config_parts, position
from app.planning.ledger import listed
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.recipe.findings import Finding

_PER_LAYER_WIDTH = "hidden_size_per_layer_input"


def uneven_layers(
    parents: Parents, donor: int, stack: str, origins: Sequence[tuple[int, int]], config: Mapping[str, Any]
) -> Iterator[Finding]:
    """A warning when a layer lacks tensors that the donor's layer of that number has, or brings others, and nothing in
    the result's config says so: loading would miss the ones and ignore the others. ``origins``: (parent, layer) by
    layer."""
    count = parents.structures[donor].layers
    told = _told_kinds(parents, donor, stack)
    marks = layer_marks(config, len(origins))
    for place, (parent, layer) in enumerate(origins):
        brings = _tensors(parents, parent, stack, layer)
        expected = _tensors(parents, donor, stack, min(place, count - 1))
        if brings == expected or (told is not None and told.get(marks[place]) == brings):
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


def layers_in_one(parents: Parents, donor: int, moved: Sequence[int]) -> Iterator[Finding]:
    """An error when layers are put together anew although a matrix outside them holds a part for each, side by side
    (the per-layer embeddings of Gemma 3n and 4). ``moved``: the number that each layer of the result had."""
    facts, count = parents.facts[donor], parents.structures[donor].layers
    widths = [part.get(_PER_LAYER_WIDTH) for _, part in config_parts(facts.config)]
    sizes = {count * width for width in widths if type(width) is int and width > 0}
    outside = {name: one for name, one in facts.tensors.items() if position(name).layer is None}
    names = [name for name, tensor in outside.items() if "per_layer" in name and sizes & set(tensor.shape)]
    if names and list(moved) != list(range(count)):
        text = f"{listed([short(name) for name in sorted(names)])} of {parents.name(donor)}: a part for each of the "
        text += f"{count} layers, side by side, which cannot be put together anew."
        yield Finding("error", "layers-in-one", "slices", text, "Merge such models whole: models instead of slices.")
