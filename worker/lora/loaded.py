"""A LoRA adapter in memory: small matrices, two for each module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from app.planning.adapter_config import ADAPTER_CONFIG, read_settings
from app.planning.adapter_names import Factors, sort_tensors
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.strict_json import load_object, short
from app.recipe.findings import Finding, Refused
from worker.engine.dtypes import Array, decode
from worker.engine.sources import Source, SourceFile

_ON_MODELS = "Merge it as a parent instead: base+adapter in a recipe. The result is then a whole model."


@dataclass(frozen=True)
class LoraModule:
    """What one module gets: ``scale · up @ down``. ``up`` fp64 [outputs, rank], ``down`` fp64 [rank, inputs].

    ``shape`` is that of ``down`` in the file without the rank (a convolution's has more than one size).
    """

    up: Array
    down: Array
    scale: float
    shape: tuple[int, ...]
    embedding: bool = False

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])


@dataclass(frozen=True)
class Adapter:
    """``modules`` by their names, without PEFT's prefix. ``settings``: adapter_config.json as it stands."""

    ref: str
    modules: Mapping[str, LoraModule]
    settings: Mapping[str, Any]


def load_adapter(facts: ModelFacts, folder: Path) -> Adapter:
    """Raises Refused for an adapter that is more than products of two matrices (DoRA, biases, saved modules)."""
    known = read_settings(facts)
    parts = sort_tensors(facts.tensors.values())
    findings = list(_more_than_products(facts.ref, parts.factors, [*parts.whole, *parts.unknown]))
    if findings:
        raise Refused(findings)
    modules = {}
    with _Reader(facts, folder) as reader:
        for name, factors in parts.factors.items():
            if factors.up is None or factors.down is None:
                raise Refused(_bad(facts.ref, f"{short(name)} lacks one of its two factors."))
            up, down = reader.read(factors.up), reader.read(factors.down)
            rank = down.shape[0]
            if up.ndim < 2 or down.ndim < 2 or up.shape[1] != rank or up.size != up.shape[0] * rank:
                raise Refused(_bad(facts.ref, f"The two factors of {short(name)} do not fit each other."))
            scale = known.scale(name, rank)
            modules[name] = LoraModule(
                up.reshape(-1, rank), down.reshape(rank, -1), scale, down.shape[1:], factors.embedding
            )
    return Adapter(facts.ref, modules, load_object(facts.texts[ADAPTER_CONFIG].encode(), infinite=True))


class _Reader:
    """Tensors of one adapter, as fp64."""

    def __init__(self, facts: ModelFacts, folder: Path) -> None:
        (name,) = facts.weight_files
        size = next((one.size for one in facts.files if one.name == name), None)
        self._file = SourceFile(folder / name, facts.ref, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, tensor: TensorFacts) -> Array:
        """Raises Refused when it holds NaN or infinite values."""
        raw = np.empty(tensor.nbytes, np.uint8)
        Source(self._file, tensor).read(raw.data, 0)
        values = decode(raw, tensor.dtype).astype(np.float64).reshape(tensor.shape)
        if not np.isfinite(values).all():
            text = f"{short(tensor.name)} of {self._file.label} holds values that are NaN or infinite."
            raise Refused(Finding("error", "not-finite", tensor.name, text, "Use another version of this adapter."))
        return values


def _more_than_products(ref: str, factors: Mapping[str, Factors], others: list[str]) -> list[Finding]:
    found = []
    if any(one.magnitude is not None for one in factors.values()):
        found.append(Finding("error", "adapter-unsupported", ref, f"{ref} is a DoRA adapter.", _ON_MODELS))
    if any(one.bias is not None for one in factors.values()):
        found.append(Finding("error", "adapter-unsupported", ref, f"{ref} has biases of its own.", _ON_MODELS))
    if others:
        text = f"{ref} holds more than LoRA factors: {short(others[0])}."
        found.append(Finding("error", "adapter-unsupported", ref, text, _ON_MODELS))
    return found


def _bad(ref: str, text: str) -> Finding:
    return Finding("error", "adapter-shape", ref, text, "The adapter is damaged: choose another version of it.")
