"""Which tensors the result has and which tensors of which parents meet in each: models side by side, or slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.planning.layers import Structure, TensorPlace, position
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.recipe.catalogue import Method
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.resolve import OUTSIDE_LAYERS
from app.recipe.resolve import position as curve_position
from app.recipe.schema import EMPTY, ModelRef, Parameters, Recipe, Slice, Source


@dataclass(frozen=True, slots=True)
class Member:
    """One source's part in a tensor: its parent, the tensor's name there, the source's own parameters."""

    parent: int
    name: str
    parameters: Parameters = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tensor of the result. ``base`` is set when the method treats it apart from ``members``. ``t`` is the place
    on curves, ``scopes`` the parameters around the sources, narrow first."""

    name: str
    members: tuple[Member, ...]
    base: Member | None
    scopes: tuple[Parameters, ...]
    t: float
    layer: int | None

    @property
    def everyone(self) -> tuple[Member, ...]:
        return self.members if self.base is None else (self.base, *self.members)


@dataclass(frozen=True, slots=True)
class Outline:
    """The result's tensors in order. ``structure`` is that of the first parent merged; ``stacked`` says for every
    layer of the result ``(parent, layer)`` it takes its config from, None when the layers are as before."""

    wanted: tuple[Wanted, ...]
    structure: Structure
    stacked: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Sources that are merged together. ``base`` is the base and the first of its layers, when it stands apart."""

    sources: tuple[Source, ...]
    base: tuple[ModelRef, int] | None
    scopes: tuple[Parameters, ...]
    length: int = 0

    def models(self) -> Iterator[ModelRef]:
        if self.base is not None:
            yield self.base[0]
        yield from (source.model for source in self.sources)

    def members(self, parents: Parents, name: str) -> tuple[tuple[Member, ...], Member | None]:
        """Everybody's tensor of this name."""
        members = tuple(Member(parents.index(one.model), name, one.parameters) for one in self.sources)
        return members, None if self.base is None else Member(parents.index(self.base[0]), name)


def outline(recipe: Recipe, method: Method, parents: Parents) -> Outline:
    """Raises Refused when the parents cannot be laid beside each other."""
    if recipe.slices:
        return _outline_slices(recipe, method, parents)
    group = _group(recipe.models, recipe.base_model, method, (recipe.parameters,), "models")
    indices = [parents.index(model) for model in dict.fromkeys(group.models())]
    structure = parents.structures[indices[0]]
    _check_alike(parents, indices, structure)
    names = _names(parents, indices, structure)
    wanted = tuple(_outside(group, parents, structure, name) for name in names)
    return Outline(wanted, structure)


def _outline_slices(recipe: Recipe, method: Method, parents: Parents) -> Outline:
    groups = [
        _group(
            piece.sources, piece.base_model or recipe.base_model, method, (piece.parameters, recipe.parameters),
            f"slices[{number}]", _length(piece),
        )
        for number, piece in enumerate(recipe.slices)
    ]  # fmt: skip
    structure = parents.structures[parents.index(next(groups[0].models()))]
    _check_slices(groups, structure, parents)
    wanted: list[Wanted] = []
    stacked: list[tuple[int, int]] = []
    for group in groups:
        for offset in range(group.length):
            wanted += _layer(group, parents, structure.main or "", offset, len(stacked))
            stacked.append(_origin(group, parents, offset))
    for group, after in ((groups[0], False), (groups[-1], True)):
        indices = [parents.index(model) for model in dict.fromkeys(group.models())]
        for name in _names(parents, indices, structure):
            if not _in_stack(name, structure) and structure.after_layers(name) == after:
                wanted.append(_outside(group, parents, structure, name))
    wanted.sort(key=lambda one: structure.order(one.name))
    return Outline(tuple(wanted), structure, tuple(stacked))


def _group(
    sources: Sequence[Source],
    base: ModelRef | None,
    method: Method,
    scopes: tuple[Parameters, ...],
    where: str,
    length: int = 0,
) -> _Group:
    if base is None or method.base == "ignored":
        return _Group(tuple(sources), None, scopes, length)
    others = tuple(source for source in sources if source.model != base)
    return _Group(others, (base, _base_start(sources, base, where)), scopes, length)


def _base_start(sources: Sequence[Source], base: ModelRef, where: str) -> int:
    """The first layer of the base in a slice: its own range, else the one that all sources share."""
    own = [source.layers[0] for source in sources if source.model == base and source.layers]
    starts = own[:1] or list({source.layers[0] for source in sources if source.layers})
    if len(starts) > 1:
        raise refuse(
            "base-layers-unknown", where, f"The sources of this slice begin at different layers, and {base} is not "
            "among them: which layers of the base are meant?", "Add the base to the slice's sources, with layer_range.",
        )  # fmt: skip
    return starts[0] if starts else 0


def _length(piece: Slice) -> int:
    first = piece.sources[0].layers if piece.sources else None
    return first[1] - first[0] if first else 0


def _names(parents: Parents, indices: Iterable[int], structure: Structure) -> list[str]:
    """Every tensor name that one of the parents has, in the order a model runs."""
    names = dict.fromkeys(name for index in indices for name in parents.facts[index].tensors)
    return sorted(names, key=structure.order)


def _outside(group: _Group, parents: Parents, structure: Structure, name: str) -> Wanted:
    """A tensor that has the same name everywhere; in a stack it stands at its layer's place on curves."""
    members, base = group.members(parents, name)
    place = structure.place(name)
    t = OUTSIDE_LAYERS if place.layer is None else curve_position(place.layer, structure.stacks[place.prefix])
    return Wanted(name, members, base, group.scopes, t, place.layer)


def _layer(group: _Group, parents: Parents, stack: str, offset: int, layer: int) -> Iterator[Wanted]:
    """The tensors of one layer of the result, from layer ``offset`` of each source's range."""
    starts = [(source.model, source.layers[0] if source.layers else 0) for source in group.sources]
    every = [*starts, group.base] if group.base is not None else starts
    suffixes: dict[str, None] = {}
    for model, start in every:
        suffixes |= dict.fromkeys(parents.suffixes[parents.index(model)].get((stack, start + offset), ()))
    t = curve_position(offset, group.length)
    for suffix in suffixes:
        place = TensorPlace(stack, layer, suffix)
        members = tuple(
            Member(parents.index(source.model), place.at(start + offset), source.parameters)
            for source, (_, start) in zip(group.sources, starts, strict=True)
        )
        base = None
        if group.base is not None:
            base = Member(parents.index(group.base[0]), place.at(group.base[1] + offset))
        yield Wanted(place.at(layer), members, base, group.scopes, t, layer)


def _in_stack(name: str, structure: Structure) -> bool:
    place = position(name)
    return place.layer is not None and place.prefix == structure.main


def _origin(group: _Group, parents: Parents, offset: int) -> tuple[int, int]:
    if group.base is not None:
        return parents.index(group.base[0]), group.base[1] + offset
    source = group.sources[0]
    return parents.index(source.model), (source.layers[0] if source.layers else 0) + offset


def _check_alike(parents: Parents, indices: Sequence[int], structure: Structure) -> None:
    """Models side by side need equally many layers and mostly the same tensors."""
    first, *others = indices
    findings = []
    for other in others:
        mine, theirs = parents.facts[first].tensors.keys(), parents.facts[other].tensors.keys()
        layers = parents.structures[other].stacks.get(structure.main or "", 0)
        if structure.main is not None and 0 < layers != structure.layers:
            findings.append(_unequal(parents, first, other, structure.layers, layers))
        elif len(mine & theirs) * 2 < max(len(mine), len(theirs)):
            findings.append(_strangers(parents, first, other, len(mine & theirs), max(len(mine), len(theirs))))
    if findings:
        raise Refused(findings)


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


def _check_slices(groups: Sequence[_Group], structure: Structure, parents: Parents) -> None:
    first = parents.name(parents.index(next(groups[0].models())))
    if structure.main is None:
        raise refuse("no-layers", "slices", f"{first} has no stack of layers.", "Use models: instead of slices:.")
    if structure.ambiguous:
        stacks = " and ".join(list(structure.stacks)[:2])
        raise refuse(
            "several-stacks", "slices", f"{first} has several stacks of layers ({stacks}): which is meant?",
            "Slices work on models with one stack of layers. Use models: instead.",
        )  # fmt: skip
    if not any(group.length for group in groups):
        raise refuse("no-layers", "slices", "These slices hold no layers.", "Give layer_range: [first, end].")
    findings: list[Finding] = []
    for number, group in enumerate(groups):
        ranges = [(source.model, source.layers[0] if source.layers else 0) for source in group.sources]
        for model, start in [*ranges, *([group.base] if group.base else [])]:
            findings += _check_range(parents, model, (start, start + group.length), structure, f"slices[{number}]")
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


def _check_stackable(groups: Sequence[_Group], structure: Structure, parents: Parents) -> Iterator[Finding]:
    """Layers of different models fit on each other only if the same tensor has the same shape in all of them."""
    first, *others = dict.fromkeys(parents.index(model) for group in groups for model in group.models())
    for other in others:
        mine, theirs = parents.facts[first].tensors, parents.facts[other].tensors
        shared = mine.keys() & theirs.keys()
        if len(shared) * 2 < min(len(mine), len(theirs)):
            yield _strangers(parents, first, other, len(shared), min(len(mine), len(theirs)))
            continue
        unlike = [name for name in shared if _in_stack(name, structure) and mine[name].shape != theirs[name].shape]
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
