"""The structure of a checkpoint, read from its tensor names and config: layer stacks, module names, natural order.

Nothing here knows an architecture by name: ``model.layers.3.mlp.up_proj.weight`` is layer 3 of the stack
``model.layers`` because all of 0..n-1 are there and look alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.planning.facts import ModelFacts
from app.planning.module_names import EMBEDDINGS, FINAL_NORM, HEAD, inside_layer, outside_layers

LAYER_KEYS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "decoder_layers",
    "num_encoder_layers", "encoder_layers", "depth", "num_blocks",
)  # fmt: skip
"""What configs call the number of layers."""
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "language_model", "thinker_config", "decoder")
_SENSES = re.compile(r"vis|image|audio|speech|qformer", re.IGNORECASE)
_TEXT = re.compile(r"language|text|llm|decoder", re.IGNORECASE)
"""In names of stacks that see or hear, and of those that write: of two equally long ones the text's is meant."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_DIGITS = re.compile(r"([0-9]+)")
_FEWEST_SUFFIXES = 3
"""A numbered pair of weight and bias is a small network's part, not a layer of a stack."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """``prefix.layer.suffix``; outside the layers ``layer`` is None and ``suffix`` the whole name."""

    prefix: str
    layer: int | None
    suffix: str

    def at(self, layer: int) -> str:
        """The name of the same tensor in another layer."""
        return ".".join(part for part in (self.prefix, str(layer), self.suffix) if part)


# Parents share their names, and a check asks for each some ten times; models with experts have tens of thousands.
@lru_cache(maxsize=1 << 16)
def position(name: str) -> TensorPlace:
    """Split a name at its first number: the layer, if the name lies in a stack at all."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if _NUMBER.fullmatch(part):
            return TensorPlace(".".join(parts[:index]), int(part), ".".join(parts[index + 1 :]))
    return TensorPlace("", None, name)


def module_of(name: str) -> str:
    """The short name of the module a tensor belongs to (``q``, ``up``, ``norm``, ``embeddings``, ``head``...).

    Experts of a mixture share the names of a dense layer; what is not known keeps its own name.
    """
    place = position(name)
    return outside_layers(name) if place.layer is None else inside_layer(place.suffix or place.prefix or name)


def natural_key(name: str) -> tuple[str | tuple[int, str], ...]:
    """Sorts ``layers.2`` before ``layers.10``."""
    pieces = _DIGITS.split(name)
    return tuple((len(piece.lstrip("0")), piece.lstrip("0")) if odd % 2 else piece for odd, piece in enumerate(pieces))


@dataclass(frozen=True)
class Structure:
    """The stacks of a checkpoint (prefix -> number of layers, most parameters first) and which one is meant by
    "the layers". ``ambiguous``: a second stack is as important, as in an encoder-decoder."""

    stacks: Mapping[str, int]
    main: str | None
    ambiguous: bool = False

    @property
    def layers(self) -> int:
        return self.stacks[self.main] if self.main is not None else 0

    def place(self, name: str) -> TensorPlace:
        """As ``position``, but numbers outside the stacks are part of the name."""
        place = position(name)
        inside = place.layer is not None and place.layer < self.stacks.get(place.prefix, 0)
        return place if inside else TensorPlace("", None, name)

    def cell(self, name: str) -> tuple[int | None, str]:
        """Layer and module in the main stack, else None and what it is: a whole other stack is one cell."""
        place = self.place(name)
        if place.layer is not None:
            return (place.layer, module_of(name)) if place.prefix == self.main else (None, place.prefix)
        return None, outside_layers(name)

    def after_layers(self, name: str) -> bool:
        """Whether a tensor outside the layers comes after them (final norm, head), not before (embeddings)."""
        kind = outside_layers(name)
        if kind == FINAL_NORM and self.main is not None:
            return _parent(name, 2) == _parent(self.main, 1)
        return kind == HEAD

    def order(self, name: str) -> tuple[int, tuple[str | tuple[int, str], ...]]:
        """Sorts tensors as a model runs: embeddings, layers, the rest, final norm, head."""
        place = position(name)
        if place.layer is not None and place.prefix in self.stacks:
            return 1, natural_key(name)
        return {EMBEDDINGS: 0, FINAL_NORM: 3, HEAD: 4}.get(outside_layers(name), 2), natural_key(name)


def read_structure(facts: ModelFacts) -> Structure:
    """Find the stacks and the main one: the one whose length the config gives, else the largest."""
    stacks = layer_stacks(facts)
    for path, _, count in layer_counts(facts.config):
        fitting = [prefix for prefix, layers in stacks.items() if layers == count]
        if path and path[0] in _TEXT_PARTS:
            fitting.sort(key=lambda prefix: (_SENSES.search(prefix) is not None, _TEXT.search(prefix) is None))
        if fitting:
            main = fitting[0]
            return Structure(stacks, main, _ambiguous(facts, stacks, named=bool(path)))
    return Structure(stacks, next(iter(stacks), None), _ambiguous(facts, stacks, named=False))


def layer_stacks(facts: ModelFacts) -> dict[str, int]:
    """Prefix -> number of layers, for every numbered run of alike layers; most parameters first."""
    suffixes: dict[str, dict[int, dict[str, int]]] = {}
    elements: dict[str, int] = {}
    for name, tensor in facts.tensors.items():
        place = position(name)
        if place.layer is not None:
            suffixes.setdefault(place.prefix, {}).setdefault(place.layer, {})[place.suffix] = tensor.alike
            elements[place.prefix] = elements.get(place.prefix, 0) + tensor.elements * tensor.alike
    counts = {count for _, _, count in layer_counts(facts.config)}
    found = [prefix for prefix, layers in suffixes.items() if _is_stack(layers, counts)]
    found.sort(key=lambda prefix: (-elements[prefix], prefix))
    return {prefix: len(suffixes[prefix]) for prefix in found}


def layer_counts(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Every ``(path of the part, key, number of layers)`` in a config; the language part's before other parts'."""
    for path, part in config_parts(config):
        for key in LAYER_KEYS:
            value = part.get(key)
            if type(value) is int and value > 0:
                yield path, key, value


def config_parts(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The config itself, its language part, then its other parts, two levels deep."""
    nested = {key: value for key, value in config.items() if isinstance(value, dict)}
    order = [*(key for key in _TEXT_PARTS if key in nested), *(key for key in nested if key not in _TEXT_PARTS)]
    yield (), config
    for key in order:
        yield (key,), nested[key]
        for inner in _TEXT_PARTS:
            if isinstance(nested[key].get(inner), dict):
                yield (key, inner), nested[key][inner]


def _is_stack(layers: Mapping[int, Mapping[str, int]], counts: Collection[int]) -> bool:
    """``layers``: what follows the number in each layer's names, and how many tensors that is. Layers share a name at
    least, but for hybrids of two kinds (Zamba), which are as many as one of the config's ``counts``."""
    if set(layers) != set(range(len(layers))):
        return False
    shared = set.intersection(*map(set, layers.values()))
    if not shared and (len(layers) < 2 or len(layers) not in counts):
        return False
    return max(sum(layer.values()) for layer in layers.values()) >= _FEWEST_SUFFIXES


def _ambiguous(facts: ModelFacts, stacks: Mapping[str, int], named: bool) -> bool:
    """``named``: a part of the config (``text_config``) tells which stack is meant."""
    if facts.config.get("is_encoder_decoder") is True:
        return len(stacks) > 1
    if len(stacks) < 2 or named:
        return False
    first, second = (_elements(facts, prefix) for prefix in list(stacks)[:2])
    return second * 2 > first


def _elements(facts: ModelFacts, prefix: str) -> int:
    tensors = (tensor for name, tensor in facts.tensors.items() if position(name).prefix == prefix)
    return sum(tensor.elements * tensor.alike for tensor in tensors)


def _parent(name: str, levels: int) -> str:
    return ".".join(name.split(".")[:-levels])
