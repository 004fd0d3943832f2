"""Reads and writes checkpoints for tests, with the safetensors library and NumPy alone.

Independent of the readers and writers under test. Values travel as float32; bfloat16 is rounded to nearest even.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import TensorSpec, deserialize, serialize_file

NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
"""safetensors dtype name -> torch's."""

ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}


def to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 -> the uint16 bit patterns of the nearest bfloat16 (ties to even). Finite values only."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """uint16 bit patterns of bfloat16 -> float32, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """``values`` as float32 after one rounding to ``dtype``."""
    if dtype == "bfloat16":
        return from_bf16(to_bf16(values))
    return values.astype(dtype).astype(np.float32)


def encoded(values: np.ndarray, dtype: str) -> np.ndarray:
    """The array whose bytes go into the file for ``dtype`` (uint16 bits for bfloat16)."""
    return to_bf16(values) if dtype == "bfloat16" else np.ascontiguousarray(values, dtype)


def weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def read_file(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """One safetensors file: name -> (torch dtype name, float32 values; float64 stays float64)."""
    tensors = {}
    for name, view in deserialize(path.read_bytes()):
        dtype = NAMES[view["dtype"]]
        raw = np.frombuffer(view["data"], np.uint16 if dtype == "bfloat16" else dtype).reshape(view["shape"])
        values = from_bf16(raw) if dtype == "bfloat16" else raw
        tensors[name] = (dtype, values if dtype == "float64" else values.astype(np.float32, copy=False))
    return tensors


def metadata_of(content: bytes) -> dict[str, str]:
    """The ``__metadata__`` of a safetensors file that begins with ``content``; empty without one."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return found


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of every shard of a checkpoint folder, as float32 (float64 stays float64)."""
    return {name: values for path in weight_files(folder) for name, (_, values) in read_file(path).items()}


def read_dtypes(folder: Path) -> dict[str, str]:
    """Every tensor's dtype in a checkpoint folder, by torch's name."""
    return {name: dtype for path in weight_files(folder) for name, (dtype, _) in read_file(path).items()}


def write_file(path: Path, tensors: Mapping[str, np.ndarray], dtype: str) -> None:
    """One safetensors file with every tensor rounded once to ``dtype``."""
    arrays = {name: encoded(values, dtype) for name, values in tensors.items()}
    specs = {
        name: TensorSpec(
            dtype=dtype, shape=list(array.shape), data_ptr=array.ctypes.data, data_len=array.nbytes
        )
        for name, array in arrays.items()
    }  # fmt: skip
    serialize_file(specs, path, metadata={"format": "pt"})


def write_weights(folder: Path, tensors: Mapping[str, np.ndarray], dtype: str, shards: int = 1) -> None:
    """``model.safetensors``, or ``shards`` files of about equal size with their index."""
    if shards == 1:
        write_file(folder / "model.safetensors", tensors, dtype)
        return
    if shards > len(tensors):
        raise ValueError(f"{len(tensors)} tensors do not fill {shards} shards")
    parts = _split(tensors, shards)
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        file = f"model-{number:05}-of-{shards:05}.safetensors"
        write_file(folder / file, {name: tensors[name] for name in part}, dtype)
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.size for tensor in tensors.values())
    write_json(
        folder / "model.safetensors.index.json",
        {
            "metadata": {"total_parameters": total, "total_size": total * ITEM_BYTES[dtype]},
            "weight_map": weight_map,
        },
    )


def _split(tensors: Mapping[str, np.ndarray], shards: int) -> list[list[str]]:
    """Names in order, cut into ``shards`` non-empty runs of about equal element counts."""
    names, total = list(tensors), sum(tensor.size for tensor in tensors.values())
    parts: list[list[str]] = [[]]
    seen = 0
    for position, name in enumerate(names):
        left, needed = len(names) - position, shards - len(parts)
        due = needed and seen >= total * len(parts) / shards
        if parts[-1] and (due or left == needed):
            parts.append([])
        parts[-1].append(name)
        seen += tensors[name].size
    return parts


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
