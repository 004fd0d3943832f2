"""Small checkpoints and plans over them, built by hand, for the engine's tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from app.planning.facts import DTYPE_BYTES, FileFacts, ModelFacts, TensorFacts
from app.planning.plan import Input, Plan, Shard, Step
from app.recipe.schema import Recipe

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
METHODS_WITH_BASE = {
    "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties", "della",
    "della_linear", "transfer", "consensus_ta", "consensus_ties", "model_stock", "sce", "nearswap", "arcee_fusion",
    "ram", "ramplus_tl",
}  # fmt: skip


def save_parent(
    folder: Path, tensors: Mapping[str, torch.Tensor], ref: str = "", file: str = "model.safetensors"
) -> ModelFacts:
    """Writes one checkpoint with the official writer and reads its header back."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file)
    raw = (folder / file).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    facts = {
        name: TensorFacts(name, one["dtype"], tuple(one["shape"]), file, *(8 + length + x for x in one["data_offsets"]))
        for name, one in header.items()
    }  # fmt: skip
    return ModelFacts(ref or folder.name, {}, facts, (FileFacts(file, len(raw), present=True),))


@dataclass
class Case:
    """Parents in ``folders`` and what to make of them. The first parent is the base when ``base`` is set."""

    parents: Sequence[ModelFacts]
    folders: list[Path]
    method: str
    base: bool = False
    dtype: str | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    each: Sequence[Mapping[str, Any]] = ()
    """Parameters of each parent that is not the base."""
    seed: int = 0
    shards: int = 1

    def step(self, name: str) -> Step:
        inputs = [Input(index, facts.tensors[name]) for index, facts in enumerate(self.parents)]
        base = inputs.pop(0) if self.base else None
        inputs = [
            Input(one.parent, one.tensor, each)
            for one, each in zip(inputs, self.each or [{}] * len(inputs), strict=True)
        ]
        tensor = self.parents[0].tensors[name]
        return Step(name, self.dtype or tensor.dtype, tensor.shape, self.method, tuple(inputs), base, self.shared)

    def plan(self) -> Plan:
        names = list(self.parents[0].tensors)
        size = -(-len(names) // self.shards)
        groups = [names[at : at + size] for at in range(0, len(names), size)]
        shards = [
            lay_out(f"model-{i + 1:05}.safetensors", [self.step(name) for name in group])
            for i, group in enumerate(groups)
        ]
        return Plan(Recipe(self.method), tuple(self.parents), tuple(shards), seed=self.seed)


def lay_out(file: str, steps: Sequence[Step]) -> Shard:
    entries: dict[str, Any] = {}
    offsets = []
    at = 0
    for step in steps:
        size = prod(step.shape) * DTYPE_BYTES[step.dtype]
        entries[step.name] = {"dtype": step.dtype, "shape": list(step.shape), "data_offsets": [at, at + size]}
        offsets.append(at)
        at += size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    return Shard(file, header, len(header) + at, tuple(steps), tuple(len(header) + offset for offset in offsets))


def make_case(tmp: Path, models: Sequence[Mapping[str, torch.Tensor]], method: str, **settings: Any) -> Case:
    """Writes ``models`` under ``tmp`` as parents p0, p1, ...; the method decides whether p0 is the base."""
    folders = [tmp / f"p{index}" for index in range(len(models))]
    parents = [save_parent(folder, tensors) for folder, tensors in zip(folders, models, strict=True)]
    settings.setdefault("base", method in METHODS_WITH_BASE)
    return Case(parents, folders, method, **settings)


def load_result(out: Path) -> dict[str, torch.Tensor]:
    """All tensors of the result, read with the official reader."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(out.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors
