"""Which tensors the result has and which tensors of which parents meet in each: models side by side, or slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.planning.fitting import check_alike, check_slices, in_stack
from app.planning.groups import Group, Member, length, make_group
from app.planning.layers import Structure, TensorPlace
from app.planning.parents import Parents
from app.recipe.catalogue import Method
from app.recipe.resolve import BEHIND_LAYERS, OUTSIDE_LAYERS
from app.recipe.resolve import position as curve_position
from app.recipe.schema import Parameters, Recipe


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tensor of the result. ``base`` is set when the method treats it apart from ``members``. ``t`` is the place
    on curves, ``scopes`` the parameters around the sources, narrow first. ``alike``: how many tensors it stands for."""

    name: str
    members: tuple[Member, ...]
    base: Member | None
    scopes: tuple[Parameters, ...]
    t: float
    layer: int | None
    alike: int = 1

    @property
    def everyone(self) -> tuple[Member, ...]:
        return self.members if self.base is None else (self.base, *self.members)


@dataclass(frozen=True, slots=True)
class PartStack:
    """Layers of one part put together anew: for each ``(parent, layer)`` it was, how many there were, and the part's
    role (see ``parts``)."""

    origins: tuple[tuple[int, int], ...]
    before: int
    role: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Tensors taken over from one parent."""

    parent: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The result's tensors in order. ``structure`` is that of the first parent merged; ``stacked`` says for every
    layer of the result ``(parent, layer)`` it takes its config from, None when the layers are as before. Of a recipe
    by modules, ``stacks`` are those of its parts, and ``kept`` is what no module speaks of."""

    wanted: tuple[Wanted, ...]
    structure: Structure
    stacked: tuple[tuple[int, int], ...] | None = None
    stacks: tuple[PartStack, ...] = ()
    kept: Kept | None = None


def outline(recipe: Recipe, method: Method, parents: Parents) -> Outline:
    """Of a recipe with models or slices. Raises Refused when the parents cannot be laid beside each other."""
    return outline_group(recipe, method, parents, (recipe.parameters,))


def outline_group(
    recipe: Recipe, method: Method, parents: Parents, around: tuple[Parameters, ...], where: str = ""
) -> Outline:
    """The same with the parameters ``around`` models or slices, narrow first. ``where`` is their place in the recipe,
    ending in a dot."""
    if recipe.slices:
        return _outline_slices(recipe, method, parents, around, where)
    group = make_group(recipe.models, recipe.base_model, method, around, f"{where}models")
    indices = [parents.index(model) for model in dict.fromkeys(group.models())]
    structure = parents.structures[indices[0]]
    check_alike(parents, indices, structure)
    names = _names(parents, indices, structure)
    wanted = tuple(_outside(group, parents, structure, name, recipe.head_curve) for name in names)
    return Outline(wanted, structure)


def _outline_slices(
    recipe: Recipe, method: Method, parents: Parents, around: tuple[Parameters, ...], where: str
) -> Outline:
    groups = [
        make_group(
            piece.sources, piece.base_model or recipe.base_model, method, (piece.parameters, *around),
            f"{where}slices[{number}]", length(piece),
        )
        for number, piece in enumerate(recipe.slices)
    ]  # fmt: skip
    structure = parents.structures[parents.index(next(groups[0].models()))]
    check_slices(groups, structure, parents, where)
    wanted: list[Wanted] = []
    stacked: list[tuple[int, int]] = []
    for group in groups:
        for offset in range(group.length):
            wanted += _layer(group, parents, structure.main or "", offset, len(stacked))
            stacked.append(_origin(group, parents, offset))
    for group, after in ((groups[0], False), (groups[-1], True)):
        indices = [parents.index(model) for model in dict.fromkeys(group.models())]
        for name in _names(parents, indices, structure):
            if not in_stack(name, structure) and structure.after_layers(name) == after:
                wanted.append(_outside(group, parents, structure, name, recipe.head_curve))
    wanted.sort(key=lambda one: structure.order(one.name))
    return Outline(tuple(wanted), structure, tuple(stacked))


def _names(parents: Parents, indices: Iterable[int], structure: Structure) -> list[str]:
    """Every tensor name that one of the parents has, in the order a model runs."""
    names = dict.fromkeys(name for index in indices for name in parents.facts[index].tensors)
    return sorted(names, key=structure.order)


def _outside(group: Group, parents: Parents, structure: Structure, name: str, head_curve: str | None) -> Wanted:
    """A tensor that has the same name everywhere; in a stack it stands at its layer's place on curves, and what comes
    behind the layers where ``head_curve`` says."""
    members, base = group.members(parents, name)
    place = structure.place(name)
    t = OUTSIDE_LAYERS if place.layer is None else curve_position(place.layer, structure.stacks[place.prefix])
    if head_curve == "last" and place.layer is None and structure.after_layers(name):
        t = BEHIND_LAYERS
    return Wanted(name, members, base, group.scopes, t, place.layer, _alike(parents, members, base))


def _layer(group: Group, parents: Parents, stack: str, offset: int, layer: int) -> Iterator[Wanted]:
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
        yield Wanted(place.at(layer), members, base, group.scopes, t, layer, _alike(parents, members, base))


def _alike(parents: Parents, members: tuple[Member, ...], base: Member | None) -> int:
    """How many tensors one stands for: parents are folded alike, so whoever has it tells."""
    everyone = members if base is None else (*members, base)
    found = (parents.facts[one.parent].tensors.get(one.name) for one in everyone)
    return next((tensor.alike for tensor in found if tensor is not None), 1)


def _origin(group: Group, parents: Parents, offset: int) -> tuple[int, int]:
    if group.base is not None:
        return parents.index(group.base[0]), group.base[1] + offset
    source = group.sources[0]
    return parents.index(source.model), (source.layers[0] if source.layers else 0) + offset
