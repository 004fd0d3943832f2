"""Synthetic Llama checkpoints to time merges on: a base and three fine-tunes of it, in Hugging Face layout.

``python -m benchmarks.checkpoints 135M .cache/benchmarks`` makes the folders ``135M/{base,ft1,ft2,ft3}`` there. Weights
are bf16 and gaussian. A fine-tune is the base plus gaussian noise of 1e-3, 3e-3 or 1e-2 of each tensor's standard
deviation, rounded to bf16: like a real light fine-tune, most weights stay exactly as they were and the rest move by a
few steps of the bf16 grid, so that a selection by size meets a great many equal values. There is no tokenizer: copying
one is not what is timed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.planning.header import write_header

DELTAS = {"ft1": 1e-3, "ft2": 3e-3, "ft3": 1e-2}
"""A fine-tune's noise, as a share of the tensor's standard deviation."""
STD = 0.02
CHUNK = 1 << 20
SHARD_BYTES = 512 << 20
RECORD = "made.json"
_FORMAT = 1

Bits = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Size:
    """The measures of a Llama with tied embeddings and heads of ``head`` elements."""

    vocabulary: int
    hidden: int
    layers: int
    intermediate: int
    key_values: int
    head: int = 64

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every weight's name and shape, in file order."""
        wide, kept, inner = self.hidden, self.key_values, self.intermediate
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary, wide)}
        for layer in range(self.layers):
            parts = {
                "input_layernorm": (wide,),
                "mlp.down_proj": (wide, inner),
                "mlp.gate_proj": (inner, wide),
                "mlp.up_proj": (inner, wide),
                "post_attention_layernorm": (wide,),
                "self_attn.k_proj": (kept, wide),
                "self_attn.o_proj": (wide, wide),
                "self_attn.q_proj": (wide, wide),
                "self_attn.v_proj": (kept, wide),
            }
            shapes |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
        shapes["model.norm.weight"] = (wide,)
        return shapes

    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.tensors().values())

    def config(self) -> dict[str, Any]:
        """config.json as transformers writes it for a LlamaForCausalLM."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // self.head,
            "num_key_value_heads": self.key_values // self.head,
            "head_dim": self.head,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 2048,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
        }


SIZES = {
    "87K": Size(200, 64, 2, 128, 32, head=16),
    "135M": Size(49152, 576, 30, 1536, 192),
    "0.5B": Size(32000, 1536, 16, 4848, 256),
    "1.5B": Size(32000, 2048, 24, 8192, 512),
}


def make(name: str, under: Path) -> Path:
    """The folder ``under/name`` with its four checkpoints, made unless it is there whole.

    Memory stays at a few chunks of 4 MiB whatever the size; disk: eight bytes a parameter.
    """
    size, folder = SIZES[name], under / name
    record = folder / RECORD
    wanted = json.dumps({"format": _FORMAT, "size": asdict(size), "shard_bytes": SHARD_BYTES, "deltas": DELTAS})
    if record.exists() and record.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    shards = _shards(size)
    for index, names in enumerate(shards):
        _write_shard(size, names, folder, _file(index, len(shards)))
    for model in ("base", *DELTAS):
        _write_texts(size, shards, folder / model)
    record.write_text(wanted)
    return folder


def _file(index: int, count: int) -> str:
    return f"model-{index + 1:05}-of-{count:05}.safetensors"


def _shards(size: Size) -> list[list[str]]:
    """Tensor names file by file, in order, each file at most SHARD_BYTES unless a tensor alone is larger."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in size.tensors().items():
        nbytes = 2 * math.prod(shape)
        if shards[-1] and filled + nbytes > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += nbytes
    return shards


def _write_shard(size: Size, names: list[str], folder: Path, file: str) -> None:
    """The same shard of all four checkpoints at once, so that the base's numbers are drawn only once."""
    shapes = size.tensors()
    header, _ = write_header([(name, "BF16", shapes[name]) for name in names], {"format": "pt"})
    with ExitStack() as stack:
        outs = {}
        for model in ("base", *DELTAS):
            (folder / model).mkdir(parents=True, exist_ok=True)
            outs[model] = stack.enter_context((folder / model / file).open("wb"))
            outs[model].write(header)
        for name in names:
            for models in _tensor(name, math.prod(shapes[name])):
                for model, bits in models.items():
                    outs[model].write(bits.data)


def _tensor(name: str, count: int) -> Iterator[dict[str, Bits]]:
    """The bf16 values of a tensor of ``count`` elements in all four checkpoints, chunk by chunk."""
    seed = zlib.crc32(name.encode())
    draws = {model: np.random.Generator(np.random.SFC64([seed, index])) for index, model in enumerate(("", *DELTAS))}
    middle = 1.0 if "norm" in name else 0.0
    for start in range(0, count, CHUNK):
        length = min(CHUNK, count - start)
        base = _to_bf16(middle + STD * draws[""].standard_normal(length, np.float32))
        exact = (base.astype(np.uint32) << 16).view(np.float32)
        chunk = {"base": base}
        for model, relative in DELTAS.items():
            chunk[model] = _to_bf16(exact + relative * STD * draws[model].standard_normal(length, np.float32))
        yield chunk


def _to_bf16(values: npt.NDArray[Any]) -> Bits:
    """Finite numbers as bf16 bit patterns, rounded to nearest, ties to even."""
    bits = values.astype(np.float32, copy=False).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _write_texts(size: Size, shards: list[list[str]], folder: Path) -> None:
    weights = {name: _file(index, len(shards)) for index, names in enumerate(shards) for name in names}
    index = {"metadata": {"total_size": 2 * size.parameters()}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text(json.dumps(size.config(), indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make synthetic checkpoints.")
    parser.add_argument("sizes", nargs="+", choices=SIZES)
    parser.add_argument("under", type=Path)
    asked = parser.parse_args()
    os.nice(5)
    for name in asked.sizes:
        print(f"{make(name, asked.under)}: {SIZES[name].parameters():,} parameters a model", flush=True)


if __name__ == "__main__":
    main()
