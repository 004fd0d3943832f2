"""One model seen under another's names, where the two differ in name alone.

The same weights are called ``h.0.attn.c_attn.weight`` in one checkpoint and ``transformer.h.0.attn.c_attn.weight`` in
another, and older ones call a norm's weight and bias gamma and beta. Loaders take either; here tensors meet by their
names, so they are brought under those of one of the models.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from app.planning.facts import ModelFacts, TensorFacts
from app.planning.folding import Folded, fold_tensors
from app.planning.layers import read_structure
from app.planning.parts import Part, find_parts
from app.planning.strict_json import short
from app.recipe.findings import Finding
from app.recipe.roles import first_parent
from app.recipe.schema import ModelRef, Recipe

OTHER_NAMES = "other-names"
_OTHER_LEAVES: Mapping[str, str] = {"gamma": "weight", "beta": "bias", "weight": "gamma", "bias": "beta"}
"""What a norm's tensors are called, and what they may be called elsewhere."""

_Called = tuple[Mapping[str, TensorFacts], Folded | None, tuple[str, str]]


def under_one_name(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> Mapping[ModelRef, ModelFacts]:
    """The parents with their tensors called as in the one that the result takes after. Recipes by modules are left as
    they are: there the parts find each other whatever they are called."""
    if any(document.modules for document in recipe.documents) or not any(recipe.sources()):
        return facts
    wanted = (first_parent(recipe), *recipe.parents())
    frame = next((facts[ref] for ref in wanted if ref in facts), None)
    if frame is None or len(facts) < 2:
        return facts
    return MappingProxyType({ref: called_as(frame, one) for ref, one in facts.items()})


def called_as(frame: ModelFacts, other: ModelFacts) -> ModelFacts:
    """``other`` under the names of ``frame``, with a remark; unchanged where that does not bring the two together."""
    if all(name in frame.tensors for name in other.tensors):
        return other
    called = _called(_Seen(frame), _Seen(other))
    if called is None:
        return other
    tensors, folded, (own, name) = called
    text = f"{other.ref} calls its tensors otherwise than {frame.ref} ({short(own)} for {short(name)}): "
    remark = Finding("info", OTHER_NAMES, other.ref, f"{text}taken for the same.")
    folded = folded if other.folded is not None else None
    return replace(other, tensors=tensors, folded=folded, remarks=(*other.remarks, remark))


class _Seen:
    """A model by what its names depend on, as the very objects: headers are read once and asked for at every check."""

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    def __hash__(self) -> int:
        return hash((id(self.facts.tensors), id(self.facts.config)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Seen):
            return NotImplemented
        return self.facts.tensors is other.facts.tensors and self.facts.config is other.facts.config


# It takes a second for a mixture with tens of thousands of tensors, and a recipe is checked at every change.
@lru_cache(maxsize=16)
def _called(frame_seen: _Seen, other_seen: _Seen) -> _Called | None:
    """The second model's tensors under the first one's names, the same folded, and a pair of names that differ; None
    where that does not bring the two together."""
    frame, other = frame_seen.facts, other_seen.facts
    strange = {own: _leaf(frame.tensors, own) for own in other.tensors if own not in frame.tensors}
    if len(strange) * 2 < len(other.tensors) and all(own == name for own, name in strange.items()):
        return None
    names = {own: strange.get(own, own) for own in other.tensors}
    if not _meet(frame, other, names):
        names = dict(_by_parts(frame, other))
    if not _meet(frame, other, names) or len(set(names.values())) < len(names):
        return None
    renamed = next(((own, name) for own, name in names.items() if own != name), None)
    if renamed is None:
        return None
    tensors = MappingProxyType({names[own]: tensor for own, tensor in other.tensors.items()})
    return tensors, fold_tensors(tensors), renamed


def _meet(frame: ModelFacts, other: ModelFacts, names: Mapping[str, str]) -> bool:
    """Whether at least half of the tensors have a counterpart of their shape, but for the number of rows."""
    same = sum(_fits(other.tensors[own], frame.tensors.get(name)) for own, name in names.items())
    return same * 2 >= max(len(frame.tensors), len(other.tensors)) and len(names) == len(other.tensors)


def _fits(one: TensorFacts, other: TensorFacts | None) -> bool:
    return other is not None and len(one.shape) == len(other.shape) and one.shape[1:] == other.shape[1:]


def _leaf(known: Container[str], name: str) -> str:
    """The name with gamma and beta as the others have them."""
    if name in known:
        return name
    module, _, leaf = name.rpartition(".")
    called = f"{module}.{_OTHER_LEAVES.get(leaf, leaf)}"
    return called if called in known else name


def _by_parts(frame: ModelFacts, other: ModelFacts) -> Iterator[tuple[str, str]]:
    """(own name, the frame's) part by part, seen from where the layers stand. What has no place in it is left out."""
    mine, theirs = (find_parts(one, read_structure(one)) for one in (frame, other))
    for part in theirs.parts.values():
        same = mine.parts.get(part.name) or mine.in_role(part.role or None)
        if same is not None:
            yield from _in_part(same, part, frame.tensors)


def _in_part(mine: Part, theirs: Part, known: Container[str]) -> Iterator[tuple[str, str]]:
    places = {mine.local(name): name for name in mine.names}
    here = frozenset(mine.names)
    beside = {local.split(".")[0]: name.removesuffix(local.lstrip("^")) for local, name in places.items()}
    for own in theirs.names:
        local = theirs.local(own)
        name = places.get(_leaf(places, local)) or (own if own in here else mine.named(local))
        if name is None:  # what the frame lacks goes where its neighbours are
            before = beside.get(local.split(".")[0])
            name = own if before is None else before + local.lstrip("^")
        if name == own or name in here or name not in known:
            yield own, name
