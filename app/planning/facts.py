"""What is known of a model before its weights are read: config and safetensors headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.recipe.findings import Finding

if TYPE_CHECKING:
    from app.planning.folding import Folded

DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
        "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    }
)  # fmt: skip
"""Bytes of one element, by the name safetensors gives the dtype."""

MERGEABLE = ("F64", "F32", "F16", "BF16")
"""Dtypes the engine does arithmetic on; every other tensor is copied when all parents agree on it."""

TORCH_TO_SAFETENSORS: Mapping[str, str] = MappingProxyType(
    {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor as its shard's header tells it. ``begin`` and ``end`` are absolute byte offsets in ``file``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.end - self.begin

    @property
    def alike(self) -> int:
        """How many tensors it stands for; more than itself only in a check, where experts are folded."""
        return 1

    @property
    def files(self) -> tuple[str, ...]:
        """Where it and those lie that it stands for."""
        return (self.file,)

    @property
    def stored(self) -> str:
        """The dtype its numbers are read in."""
        return self.dtype

    @property
    def plain(self) -> bool:
        """Whether its bytes lie in the file as they are."""
        return True


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of a model. ``sha256`` is known for files the Hub keeps in LFS; ``oid`` identifies the content
    otherwise (git blob id). ``present``: already on this machine, so it need not be fetched. ``of_adapter``: among the
    files of a model with an adapter, one that lies with the adapter."""

    name: str
    size: int
    sha256: str | None = None
    oid: str | None = None
    present: bool = False
    of_adapter: bool = False


@dataclass(frozen=True, slots=True)
class OwnNames:
    """Weights in files that are not called as libraries of language models call them. ``index``: the one they have."""

    index: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """A model's headers, config and the Hub's remarks on it.

    ``ref`` is the reference as written in the recipe; ``commit`` the 40-hex commit it stands for (None for a local
    folder); ``texts`` holds the small JSON and text files that were read (config.json is parsed into ``config``).
    ``adapter``: what is known of the adapter in ``ref``; ``config`` and ``tensors`` are then those of the model with
    the adapter on it, ``commit`` and ``files`` the model's own. ``remarks``: what people should know of how this was
    read. ``folded``: the tensors with one for each set of equals, None where all differ. ``own_names``: its weights'
    files have names of their own. ``config`` is empty for weights without a config.json.
    """

    ref: str
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorFacts]
    files: tuple[FileFacts, ...]
    commit: str | None = None
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    licence: str | None = None
    base_models: tuple[str, ...] = ()
    private: bool = False
    gated: bool = False
    downloads: int | None = None
    adapter: ModelFacts | None = None
    remarks: tuple[Finding, ...] = ()
    folded: Folded | None = None
    own_names: OwnNames | None = None

    @cached_property
    def parameters(self) -> int:
        return sum(tensor.elements * tensor.alike for tensor in self.tensors.values())

    @property
    def weight_files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for tensor in self.tensors.values() for file in tensor.files))

    @cached_property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of its tensors, most elements first."""
        count: dict[str, int] = {}
        for tensor in self.tensors.values():
            count[tensor.dtype] = count.get(tensor.dtype, 0) + tensor.elements * tensor.alike
        return tuple(sorted(count, key=lambda dtype: -count[dtype]))
