"""The files of an adapter in PEFT's format, made from products of two matrices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.planning.adapter_config import ADAPTER_CONFIG
from app.planning.facts import TORCH_TO_SAFETENSORS
from app.planning.header import write_header
from app.recipe.findings import refuse
from worker.engine.dtypes import Array

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
_SETTINGS: Mapping[str, Any] = {
    "peft_type": "LORA",
    "task_type": None,
    "base_model_name_or_path": None,
    "revision": None,
    "inference_mode": True,
    "r": 8,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "target_modules": [],
    "rank_pattern": {},
    "alpha_pattern": {},
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "modules_to_save": None,
    "use_dora": False,
    "use_rslora": False,
}


@dataclass(frozen=True)
class Made:
    """One module of the result. ``up`` [outputs, rank], ``down`` [rank, inputs]; ``shape``: sizes of its inputs."""

    up: Array
    down: Array
    shape: tuple[int, ...]
    embedding: bool = False

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    def tensors(self, module: str) -> dict[str, Array]:
        rank = self.rank
        down = self.down.reshape(rank, *self.shape)
        if self.embedding:
            return {f"{module}.lora_embedding_A": down, f"{module}.lora_embedding_B": self.up}
        up = self.up.reshape(-1, rank, *(1 for _ in self.shape[1:]))
        return {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}


@dataclass(frozen=True)
class MadeExperts:
    """The same for a parameter that holds all experts of a mixture: ``each`` expert's product, filled up with zeros to
    ``rank``. In the file inputs come expert by expert, and outputs rank by rank."""

    each: tuple[Made, ...]
    rank: int

    def tensors(self, module: str) -> dict[str, Array]:
        downs = [np.pad(one.down, ((0, self.rank - one.rank), (0, 0))) for one in self.each]
        ups = [np.pad(one.up, ((0, 0), (0, self.rank - one.rank))) for one in self.each]
        up = np.stack(ups, axis=2)
        return {
            f"{module}.lora_A.weight": np.concatenate(downs),
            f"{module}.lora_B.weight": up.reshape(len(up), -1),
        }


def settings_of(modules: Mapping[str, Made | MadeExperts], told: Mapping[str, Any]) -> dict[str, Any]:
    """adapter_config.json for these modules, alpha equal to the rank in each; ``told`` goes before the defaults. All
    parameters have one rank, since PEFT's patterns would have to name them, and modules are all that is known."""
    ranks = {name: one.rank for name, one in modules.items()}
    shared = [one.rank for one in modules.values() if isinstance(one, MadeExperts)]
    usual = Counter(shared or ranks.values()).most_common(1)[0][0] if ranks else 1
    others = {name: rank for name, rank in ranks.items() if rank != usual}
    return {**_SETTINGS, **told, "r": usual, "lora_alpha": usual, "rank_pattern": others, "alpha_pattern": others}


def adapter_files(
    modules: Mapping[str, Made | MadeExperts], whole: Mapping[str, Array], settings: Mapping[str, Any], dtype: str
) -> dict[str, bytes]:
    """Name -> content. ``whole``: tensors saved along, by their names; ``dtype`` a torch name.

    Raises Refused when values are too large for ``dtype``.
    """
    tensors = {name: array for module, one in modules.items() for name, array in one.tensors(module).items()}
    tensors = {PREFIX + name: array for name, array in {**tensors, **whole}.items()}
    kind = TORCH_TO_SAFETENSORS[dtype]
    header, _ = write_header([(name, kind, array.shape) for name, array in tensors.items()], {"format": "pt"})
    pieces = [_encoded(array, kind, name) for name, array in tensors.items()]
    config = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {WEIGHTS: b"".join([header, *pieces]), ADAPTER_CONFIG: config.encode()}


def target_modules(modules: Sequence[str], everybody: Sequence[str]) -> list[str]:
    """Names of the modules with LoRA, as short as is safe: the last part of a name stands for all that end in it, if
    all of those among ``everybody`` have LoRA."""
    chosen = set(modules)
    left_out = {name.rpartition(".")[2] for name in everybody if name not in chosen}
    return sorted({name if name.rpartition(".")[2] in left_out else name.rpartition(".")[2] for name in modules})


def _encoded(array: Array, kind: str, name: str) -> bytes:
    """Rounded once to nearest even."""
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(array, np.float16 if kind == "F16" else np.float32)
    if not np.isfinite(out).all():
        raise refuse("not-finite", name, f"{name} holds values too large for {kind}.", "Ask for float32.")
    if kind == "BF16":
        bits = out.view(np.uint32)
        bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        return bits.astype(np.uint16).tobytes()
    return out.tobytes()
