"""Whether parents can be laid beside each other or stacked: layer counts, names, shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.planning.groups import Group
from app.planning.layers import Structure, position
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.schema import ModelRef


def check_alike(parents: Parents, indices: Sequence[int], structure: Structure) -> None:
    """Models side by side need equally many layers and mostly the same tensors."""
    first, *others = indices
    findings = []
    for other in others:
        shared, mine, theirs = _counts(parents, first, other)
        layers = parents.structures[other].stacks.get(structure.main or "", 0)
        if structure.main is not None and 0 < layers != structure.layers:
            findings.append(_unequal(parents, first, other, structure.layers, layers))
        elif shared * 2 < max(mine, theirs):
            findings.append(_strangers(parents, first, other, shared, max(mine, theirs)))
    if findings:
        raise Refused(findings)


def _counts(parents: Parents, first: int, other: int) -> tuple[int, int, int]:
    """How many tensors two parents share by name, and how many each has."""
    mine, theirs = parents.facts[first].tensors, parents.facts[other].tensors
    shared = sum(tensor.alike for name, tensor in mine.items() if name in theirs)
    return shared, sum(one.alike for one in mine.values()), sum(one.alike for one in theirs.values())


def _unequal(parents: Parents, first: int, other: int, layers: int, theirs: int) -> Finding:
    a, b = parents.name(first), parents.name(other)
    return Finding(
        "error", "layer-count-differs", b, f"{a} has {layers} layers, {b} has {theirs}.",
        "Use models with equally many layers, or slices that say which layers meet.",
    )  # fmt: skip


def _strangers(parents: Parents, first: int, other: int, shared: int, of: int) -> Finding:
    a, b = parents.name(first), parents.name(other)
    return Finding(
        "error", "different-architecture", b, f"{a} and {b} are built differently: only {shared} of {of} tensors have "
        "the same name in both.", "Merge models of one architecture and size, best fine-tunes of one base.",
    )  # fmt: skip


def check_slices(groups: Sequence[Group], structure: Structure, parents: Parents, where: str = "") -> None:
    """Slices need one stack of layers, ranges within it, and models whose layers fit on each other. ``where`` is the
    place of the slices in the recipe, ending in a dot."""
    first = parents.name(parents.index(next(groups[0].models())))
    if structure.main is None:
        raise refuse(
            "no-layers", f"{where}slices", f"{first} has no stack of layers.", "Use models: instead of slices:."
        )
    if structure.ambiguous:
        stacks = " and ".join(list(structure.stacks)[:2])
        raise refuse(
            "several-stacks", f"{where}slices", f"{first} has several stacks of layers ({stacks}): which is meant?",
            "Say which part they belong to, with modules: (encoder and decoder, for example).",
        )  # fmt: skip
    if not any(group.length for group in groups):
        raise refuse("no-layers", f"{where}slices", "These slices hold no layers.", "Give layer_range: [first, end].")
    findings: list[Finding] = []
    for number, group in enumerate(groups):
        ranges = [(source.model, source.layers[0] if source.layers else 0) for source in group.sources]
        for model, start in [*ranges, *([group.base] if group.base else [])]:
            findings += _check_range(
                parents, model, (start, start + group.length), structure, f"{where}slices[{number}]"
            )
    findings = findings or list(_check_stackable(groups, structure, parents))
    if findings:
        raise Refused(dict.fromkeys(findings))


def _check_range(
    parents: Parents, model: ModelRef, wanted: tuple[int, int], structure: Structure, where: str
) -> Iterator[Finding]:
    have = parents.structures[parents.index(model)].stacks.get(structure.main or "", 0)
    if have == 0:
        yield Finding(
            "error", "different-architecture", where, f"{model} has no layers named {structure.main}.0 and so on.",
            "The models of a stack must be of one architecture.",
        )  # fmt: skip
    elif wanted[1] > have:
        yield Finding(
            "error", "layer-range", where, f"{model} has layers 0 to {have - 1}; [{wanted[0]}, {wanted[1]}] goes "
            "beyond.", f"The end is not included: [0, {have}] is the whole model.",
        )  # fmt: skip


def _check_stackable(groups: Sequence[Group], structure: Structure, parents: Parents) -> Iterator[Finding]:
    """Layers of different models fit on each other only if the same tensor has the same shape in all of them."""
    first, *others = dict.fromkeys(parents.index(model) for group in groups for model in group.models())
    for other in others:
        mine, theirs = parents.facts[first].tensors, parents.facts[other].tensors
        shared, *counts = _counts(parents, first, other)
        if shared * 2 < min(counts):
            yield _strangers(parents, first, other, shared, min(counts))
            continue
        stacked = (name for name in mine.keys() & theirs.keys() if in_stack(name, structure))
        unlike = [name for name in stacked if mine[name].shape != theirs[name].shape]
        if unlike:
            name = min(unlike, key=structure.order)
            yield Finding(
                "error", "shape-mismatch", short(name), f"{short(name)} is {size(mine[name].shape)} in "
                f"{parents.name(first)} and {size(theirs[name].shape)} in {parents.name(other)}: "
                "their layers do not fit on each other.",
                "Stack models of one architecture and size.",
            )  # fmt: skip


def size(shape: tuple[int, ...]) -> str:
    """``4096 × 14336``."""
    return " × ".join(map(str, shape)) if shape else "a single number"


def in_stack(name: str, structure: Structure) -> bool:
    place = position(name)
    return place.layer is not None and place.prefix == structure.main
