"""Tiny, real Hugging Face checkpoints, made in milliseconds without transformers.

``make_tiny`` makes a causal language model that transformers loads without a missing or unexpected key, alone or as
a fine-tune of another. Models of other families are made by ``families``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tests.support.checkpoints import read_dtypes, read_tensors, weight_files, write_json, write_weights

Kind = Literal["llama", "mistral", "qwen2"]
Shapes = dict[str, tuple[int, ...]]

SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
SMALLEST_VOCABULARY = len(SPECIAL) + 256
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def make_tiny(
    folder: Path,
    *,
    seed: int,
    base: Path | None = None,
    scale: float = 0.02,
    layers: int = 4,
    hidden: int = 32,
    vocab: int = 320,
    dtype: str | None = None,
    shards: int = 1,
    tied: bool = False,
    kind: Kind = "llama",
) -> Path:
    """Write a checkpoint (config, generation config, weights, tokenizer) into ``folder`` and return it.

    Without ``base``: weights drawn from N(0, ``scale``²), norms around 1. With ``base``: that model plus a change
    drawn from N(0, (``scale``/10)²) in every tensor, rounded once; its config, vocabulary, layers, kind and, unless
    ``dtype`` says otherwise, its dtype. ``hidden`` is a multiple of 16 (heads of 8 or more, half as many key heads).
    ``dtype`` is ``bfloat16`` (the default), ``float16`` or ``float32``.

    About ``layers · 12.5 · hidden² + 2 · vocab · hidden`` parameters: 8 layers of 128 with 2000 words are 4 MB in
    bfloat16. The same arguments give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    if base is None:
        dtype = dtype or "bfloat16"
        config = _config(kind, layers, hidden, vocab, tied, dtype)
        tensors = {name: _fresh(rng, name, shape, scale) for name, shape in shapes(config).items()}
    else:
        dtype = dtype or next(iter(read_dtypes(base).values()))
        config = json.loads((base / "config.json").read_text()) | {"dtype": dtype}
        tensors = {
            name: values + rng.normal(0, scale / 10, values.shape).astype(np.float32)
            for name, values in sorted(read_tensors(base).items())
        }
    for old in [*weight_files(folder), *folder.glob("*.index.json")]:
        old.unlink()
    write_weights(folder, tensors, dtype, shards)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False})
    _write_tokenizer(folder, config["vocab_size"])
    return folder


def shapes(config: Mapping[str, Any]) -> Shapes:
    """The tensors a causal language model with this config has: name -> shape, in a fixed order."""
    width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    result: Shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        result[f"{prefix}.input_layernorm.weight"] = (width,)
        for name, out in (("q_proj", width), ("k_proj", keys), ("v_proj", keys)):
            result[f"{prefix}.self_attn.{name}.weight"] = (out, width)
            if config["model_type"] == "qwen2":
                result[f"{prefix}.self_attn.{name}.bias"] = (out,)
        result[f"{prefix}.self_attn.o_proj.weight"] = (width, width)
        result[f"{prefix}.post_attention_layernorm.weight"] = (width,)
        result[f"{prefix}.mlp.gate_proj.weight"] = (inner, width)
        result[f"{prefix}.mlp.up_proj.weight"] = (inner, width)
        result[f"{prefix}.mlp.down_proj.weight"] = (width, inner)
    result["model.norm.weight"] = (width,)
    if not config["tie_word_embeddings"]:
        result["lm_head.weight"] = (vocabulary, width)
    return result


def _config(kind: Kind, layers: int, hidden: int, vocab: int, tied: bool, dtype: str) -> dict[str, Any]:
    if vocab < SMALLEST_VOCABULARY:
        raise ValueError(f"the byte-level tokenizer needs at least {SMALLEST_VOCABULARY} entries, not {vocab}")
    heads = 4 if hidden < 256 else hidden // 64
    return {
        "architectures": [_CLASSES[kind]],
        "model_type": kind,
        "hidden_size": hidden,
        "intermediate_size": hidden * 3,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "hidden_act": "silu",
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
        "vocab_size": vocab,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "dtype": dtype,
    }


def _fresh(rng: np.random.Generator, name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    values = rng.normal(0, scale, shape).astype(np.float32)
    return values + np.float32(1) if name.endswith("norm.weight") else values


def _write_tokenizer(folder: Path, vocab: int) -> None:
    (folder / "tokenizer.json").write_text(_tokenizer(vocab), encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": 512,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )


@lru_cache
def _tokenizer(vocab: int) -> str:
    """A byte-level BPE tokenizer of exactly ``vocab`` entries: five specials, the 256 bytes, then merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(islice(_merges(), vocab - SMALLEST_VOCABULARY))
    entries = [*SPECIAL, *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(entries)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    if tokenizer.get_vocab_size() != vocab:
        raise ValueError(f"no more than {tokenizer.get_vocab_size()} entries can be made, not {vocab}")
    return tokenizer.to_str(pretty=True)


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs of letters, common ones first, then a letter and a pair: 52 + 26² + 26³ of them."""
    letters = "etaoinshrdlcumwfgypbvkjxqz"
    yield from (("Ġ", letter) for letter in letters)
    yield from (("Ġ", letter) for letter in letters.upper())
    pairs = [("".join(pair)) for pair in product(letters, letters)]
    yield from ((pair[0], pair[1]) for pair in pairs)
    yield from ((letter, pair) for letter, pair in product(letters, pairs))
