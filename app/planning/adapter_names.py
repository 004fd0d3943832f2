"""The names in an adapter's file, and which tensors of the base model they mean.

PEFT names a tensor by its module in memory: ``base_model.model.<module>.lora_A.weight``. A checkpoint may name the same
module a little differently: with or without the outermost part, or with ``model`` in another place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from app.planning.facts import TensorFacts

_PREFIXES = ("base_model.model.", "base_model.")
_FACTOR = re.compile(
    r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.default)?(\.(?P<kind>weight|bias))?"
)
_WRAPPERS = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")
_TUNER = re.compile(r"(^|\.)(lora_|token_adapter\.|original_module\.|ia3_|hada_|oft_|vera_|adaption_)")
_OUTER = ("model", "transformer")


@dataclass(slots=True)
class Factors:
    """The LoRA tensors of one module."""

    down: TensorFacts | None = None
    up: TensorFacts | None = None
    bias: TensorFacts | None = None
    magnitude: TensorFacts | None = None
    embedding: bool = False


@dataclass(slots=True)
class Sorted:
    """An adapter's tensors: ``factors`` by module, ``whole`` by the name of the tensor they stand for, and names that
    nobody here can read."""

    factors: dict[str, Factors] = field(default_factory=dict)
    whole: dict[str, TensorFacts] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def sort_tensors(tensors: Iterable[TensorFacts]) -> Sorted:
    found = Sorted()
    for tensor in tensors:
        name = _without_prefix(tensor.name)
        match = _FACTOR.fullmatch(name)
        if match is not None:
            _put(found, match, tensor)
        elif _TUNER.search(name):
            found.unknown.append(tensor.name)
        else:
            found.whole[_WRAPPERS.sub("", name)] = tensor
    return found


def _without_prefix(name: str) -> str:
    return next((name[len(prefix) :] for prefix in _PREFIXES if name.startswith(prefix)), name)


def _put(found: Sorted, match: re.Match[str], tensor: TensorFacts) -> None:
    part, kind = match["part"], match["kind"]
    factors = found.factors.setdefault(match["module"], Factors())
    if kind == "bias":
        if part == "B":
            factors.bias = tensor
        else:
            found.unknown.append(tensor.name)
    elif part == "magnitude_vector":
        factors.magnitude = tensor
    else:
        factors.embedding = part.startswith("embedding")
        if part.endswith("A"):
            factors.down = tensor
        else:
            factors.up = tensor


class Names:
    """Finds a base model's tensor by the name an adapter has for it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find(self, name: str) -> str | None:
        """The base's name: the same; the same but for ``model`` and ``transformer``; or the only one that is the same
        once outer parts (before a layer's number) are left out of one or both. None when there is none, or several."""
        if name in self._names:
            return name
        parts = name.split(".")
        loose = self._loose.get(_loosely(parts), ())
        if len(loose) == 1:
            return loose[0]
        number = next((index for index, part in enumerate(parts) if part.isdecimal()), None)
        for start in range(len(parts) - 1 if number is None else number + 1):
            rest = ".".join(parts[start:])
            if rest in self._names:
                return rest
            ends = self._ends.get(rest, ()) if start == 0 or number is not None else ()
            if ends:
                return ends[0] if len(ends) == 1 else None
        return None

    @cached_property
    def _loose(self) -> dict[tuple[str, ...], list[str]]:
        found: dict[tuple[str, ...], list[str]] = {}
        for name in self._names:
            found.setdefault(_loosely(name.split(".")), []).append(name)
        return found

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        """What names end in, outer parts left out -> those names."""
        found: dict[str, list[str]] = {}
        for name in self._names:
            parts = name.split(".")
            for start in range(1, len(parts) - 1):
                found.setdefault(".".join(parts[start:]), []).append(name)
        return found


def _loosely(parts: list[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part not in _OUTER)
