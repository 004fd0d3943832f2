"""Sources that are merged together: models side by side, or the sources of one slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.planning.parents import Parents
from app.recipe.catalogue import Method
from app.recipe.findings import refuse
from app.recipe.roles import besides_base
from app.recipe.schema import EMPTY, ModelRef, Parameters, Slice, Source


@dataclass(frozen=True, slots=True)
class Member:
    """One source's part in a tensor: its parent, the tensor's name there, the source's own parameters."""

    parent: int
    name: str
    parameters: Parameters = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Group:
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


def make_group(
    sources: Sequence[Source],
    base: ModelRef | None,
    method: Method,
    scopes: tuple[Parameters, ...],
    where: str,
    length: int = 0,
) -> Group:
    """``where`` is their place in the recipe; ``length`` the layers of a slice. Raises Refused when it is not clear
    which layers of the base are meant."""
    if base is None or method.base == "ignored":
        return Group(tuple(sources), None, scopes, length)
    others = besides_base(sources, base)
    return Group(others, (base, _base_start(sources, base, where)), scopes, length)


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


def length(piece: Slice) -> int:
    first = piece.sources[0].layers if piece.sources else None
    return first[1] - first[0] if first else 0
