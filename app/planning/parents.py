"""The models that go in, side by side, and what rules one of them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from app.planning.adapter_config import is_adapter, made_for
from app.planning.facts import MERGEABLE, ModelFacts, TensorFacts
from app.planning.layers import Structure, config_parts, position, read_structure
from app.planning.module_names import EMBEDDINGS, outside_layers
from app.planning.strict_json import depth, short
from app.recipe.findings import Finding
from app.recipe.schema import ModelRef

_PACKED = re.compile(r"(\.|_)(qweight|qzeros|scales|weight_packed|weight_scale|quant_state.*|absmax|weight_scale_inv)$")
_PACKED_SHARE = 0.25
"""Above this share of a model's elements in whole numbers, they are packed weights, not buffers.
Masks (BOOL, or with a leading 1) do not count."""

DEEPEST = 30
"""Levels of nesting accepted in a config."""


@dataclass(frozen=True)
class Parents:
    """The parents in the plan's order."""

    refs: tuple[ModelRef, ...]
    facts: tuple[ModelFacts, ...]

    @classmethod
    def of(cls, refs: Iterable[ModelRef], facts: Mapping[ModelRef, ModelFacts]) -> Parents:
        listed = tuple(refs)
        return cls(listed, tuple(facts[ref] for ref in listed))

    @property
    def with_adapters(self) -> tuple[ModelFacts, ...]:
        """All parents, then the adapters on them."""
        return (*self.facts, *(one.adapter for one in self.facts if one.adapter is not None))

    @property
    def adapters(self) -> dict[int, int]:
        """For each parent with an adapter: where the adapter stands in ``with_adapters``."""
        adapted = [parent for parent, one in enumerate(self.facts) if one.adapter is not None]
        return {parent: len(self.facts) + number for number, parent in enumerate(adapted)}

    def index(self, ref: ModelRef) -> int:
        return self._indices[ref]

    def name(self, parent: int) -> str:
        return self._names[parent]

    @cached_property
    def _indices(self) -> dict[ModelRef, int]:
        return {ref: parent for parent, ref in enumerate(self.refs)}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self.refs))

    @cached_property
    def structures(self) -> tuple[Structure, ...]:
        return tuple(read_structure(facts) for facts in self.facts)

    @cached_property
    def suffixes(self) -> tuple[dict[tuple[str, int], list[str]], ...]:
        """For each parent: (stack, layer) -> what follows the layer's number in its tensors' names."""
        found: list[dict[tuple[str, int], list[str]]] = []
        for facts in self.facts:
            of: dict[tuple[str, int], list[str]] = {}
            for name in facts.tensors:
                place = position(name)
                if place.layer is not None:
                    of.setdefault((place.prefix, place.layer), []).append(place.suffix)
            found.append(of)
        return tuple(found)

    @cached_property
    def embeddings(self) -> tuple[TensorFacts | None, ...]:
        return tuple(token_embedding(facts) for facts in self.facts)


def token_embedding(facts: ModelFacts) -> TensorFacts | None:
    """The matrix with a row for each token: the embedding with as many rows as the config's vocabulary, else the
    one with most rows. None without a config: nobody says then that rows stand for tokens."""
    if not facts.config:
        return None
    sizes = set(vocabulary_sizes(facts.config))
    matrices = [one for one in facts.tensors.values() if len(one.shape) == 2 and position(one.name).layer is None]
    found = [one for one in matrices if outside_layers(one.name) == EMBEDDINGS]
    found.sort(key=lambda one: (one.shape[0] not in sizes, -one.shape[0], one.name))
    return found[0] if found else None


def vocabulary_sizes(config: Mapping[str, object]) -> Iterator[int]:
    for _, part in config_parts(config):
        value = part.get("vocab_size")
        if type(value) is int and value > 0:
            yield value


def says_untied(config: Mapping[str, object]) -> bool:
    """Whether the config says that embedding and head are two matrices."""
    return _tie_flag(config) is False


def says_tied(config: Mapping[str, object]) -> bool:
    """Whether the config says that embedding and head are one matrix."""
    return _tie_flag(config) is True


def _tie_flag(config: Mapping[str, object]) -> bool | None:
    said = (part.get("tie_word_embeddings") for _, part in config_parts(config))
    return next((flag for flag in said if isinstance(flag, bool)), None)


def unfit(ref: ModelRef, facts: ModelFacts) -> Iterator[Finding]:
    """Errors for a model that cannot be merged at all."""
    if is_adapter(facts):
        yield Finding(
            "error", "adapter-alone", str(ref), f"{ref} is an adapter, which needs the model it was made for.",
            f"Write {made_for(facts) or 'owner/model'}+{ref}.",
        )  # fmt: skip
        return
    if not facts.tensors:
        yield Finding("error", "no-weights", str(ref), f"{ref} has no weights.", "Choose a model with safetensors.")
        return
    if depth(facts.config) > DEEPEST:
        yield Finding(
            "error", "bad-config", str(ref), f"The config.json of {ref} is nested too deeply.", "Use another version."
        )
        return
    how = _quantised(facts)
    if how:
        yield Finding(
            "error", "quantised-parent", str(ref), f"{ref} is quantised ({how}): its numbers cannot be merged.",
            "Use the model it was made from, in BF16, F16 or F32.",
        )  # fmt: skip


def _quantised(facts: ModelFacts) -> str:
    """What shows that a model is quantised; empty if nothing does.

    A ``quantization_config`` beside plain weights is what training with a quantised base leaves behind: harmless, and
    left out of the result's config.
    """
    others = [tensor for tensor in facts.tensors.values() if tensor.dtype not in MERGEABLE]
    for tensor in others:
        if tensor.dtype.startswith("F8") or _PACKED.search(tensor.name):
            return f"{short(tensor.name)} is {tensor.dtype}"
    said = any(part.get("quantization_config") for _, part in config_parts(facts.config))
    matrices = [tensor for tensor in others if len(tensor.shape) > 1]
    if said and matrices:
        return f"{short(matrices[0].name)} is {matrices[0].dtype}"
    packed = [tensor for tensor in matrices if tensor.dtype != "BOOL" and tensor.shape[0] > 1]
    if sum(tensor.elements for tensor in packed) > _PACKED_SHARE * facts.parameters:
        largest = max(packed, key=lambda tensor: tensor.elements)
        return f"{short(largest.name)} is {largest.dtype}"
    return ""
