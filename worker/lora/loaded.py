"""A LoRA adapter in memory: small matrices, two for each module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from app.adapting.sketch import AdapterSketch, sketch
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused
from worker.engine.dtypes import Array, decode
from worker.engine.sources import Source, SourceFile


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
    """``modules`` by their names, without PEFT's prefix, the experts of a parameter one by one. ``sketch``: what its
    header tells."""

    sketch: AdapterSketch
    modules: Mapping[str, LoraModule]

    @property
    def settings(self) -> Mapping[str, Any]:
        """adapter_config.json as it stands."""
        return self.sketch.raw


def expert_of(module: str, expert: int) -> str:
    """What one expert's share of a parameter is called here."""
    return f"{module}#{expert}"


def load_adapter(facts: ModelFacts, folder: Path) -> Adapter:
    """Raises Refused for an adapter that is damaged, or more than products of two matrices (DoRA, biases, saved
    modules)."""
    seen = sketch(facts)
    modules = {}
    with _Reader(facts, folder) as reader:
        for name, one in seen.modules.items():
            up, down = reader.read(one.up), reader.read(one.down)
            if one.experts:
                ups = up.reshape(-1, one.rank, one.experts)
                for expert, mine in enumerate(down.reshape(one.experts, one.rank, -1)):
                    modules[expert_of(name, expert)] = LoraModule(ups[:, :, expert], mine, one.scale, one.shape)
                continue
            up, down = up.reshape(-1, one.rank), down.reshape(one.rank, -1)
            modules[name] = LoraModule(up, down, one.scale, one.shape, one.embedding)
    return Adapter(seen, modules)


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
