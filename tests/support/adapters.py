"""Writes LoRA adapters in PEFT's format, and says with NumPy in float64 what they add."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.checkpoints import write_file, write_json

PREFIX = "base_model.model."
SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "base_model_name_or_path": None,
    "r": 4,
    "lora_alpha": 8,
    "use_rslora": False,
    "use_dora": False,
    "fan_in_fan_out": False,
    "bias": "none",
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "init_lora_weights": True,
    "target_modules": ["q_proj"],
}


def write_adapter(
    folder: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32", prefix: str = PREFIX, **settings: Any
) -> Path:
    """``tensors`` by their names without PEFT's prefix; ``settings`` go into adapter_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "adapter_model.safetensors", {prefix + name: one for name, one in tensors.items()}, dtype)
    write_json(folder / "adapter_config.json", SETTINGS | settings)
    return folder


def factors(module: str, outputs: int, inputs: int, rank: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """lora_A and lora_B of one linear layer, fp32."""
    rng = np.random.default_rng([seed, *module.encode()])
    return {
        f"{module}.lora_A.weight": rng.normal(0, 0.1, (rank, inputs)).astype(np.float32),
        f"{module}.lora_B.weight": rng.normal(0, 0.1, (outputs, rank)).astype(np.float32),
    }


def product(tensors: Mapping[str, np.ndarray], module: str) -> np.ndarray:
    """B @ A of a module in float64."""
    down, up = (tensors[f"{module}.lora_{letter}.weight"].astype(np.float64) for letter in "AB")
    return up @ down
