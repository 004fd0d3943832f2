"""Tiny dense models made and saved by transformers, with a tokenizer, and mixtures made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf

from app.library.facts import Library
from app.library.local import LocalRoots
from tests.support.quiet import Quiet
from tests.support.tiny_models import _write_tokenizer
from worker.experts.making import make_mixture
from worker.steps.checkpoint import Order

VOCABULARY = 320
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 256, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": None, "initializer_range": 0.3,
}  # fmt: skip
CONFIGS = {
    "llama": hf.LlamaConfig, "mistral": hf.MistralConfig, "qwen2": hf.Qwen2Config, "qwen3": hf.Qwen3Config,
}  # fmt: skip


def dense(kind: str, folder: Path, seed: int, *, like: Path | None = None, **settings: Any) -> Path:
    """A model with random weights, fp32. ``like``: all but its MLPs are that model's."""
    own = {"head_dim": 16} if kind == "qwen3" else {}
    torch.manual_seed(seed)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[kind](**{**SIZES, **own, **settings}), dtype=torch.float32)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith(".bias") or "norm" in name:
                values.add_(torch.randn(values.shape) * 0.2)
        if like is not None:
            theirs = hf.AutoModelForCausalLM.from_pretrained(like, dtype=torch.float32).state_dict()
            kept = {name: values for name, values in theirs.items() if ".mlp." not in name}
            model.load_state_dict({**model.state_dict(), **kept})
    model.save_pretrained(folder)
    _write_tokenizer(folder, VOCABULARY)
    return folder


def loaded(folder: Path) -> Any:
    """By transformers, fp32. Nothing may be missing or left over."""
    model, told = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(told.values()), told
    return model.eval()


def ids(text: str, folder: Path) -> torch.Tensor:
    return torch.tensor([hf.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))(text).input_ids])


def library(folder: Path) -> Library:
    return Library(None, LocalRoots({"d": folder}))


def mixed(
    recipe: str, folder: Path, name: str = "out", *, watch: Quiet | None = None, threads: int | None = None
) -> Path:
    """The mixture of a recipe over ``local:d/...``, in ``folder``."""
    shelf = library(folder)
    try:
        make_mixture(
            Order(recipe, folder / f"{name}.work", folder / name, name, threads=threads), shelf, watch or Quiet()
        )
    finally:
        shelf.close()
    return folder / name


def recipe_of(experts: dict[str, str], **settings: Any) -> str:
    """Of ``local:d/base`` in fp32; experts by folder, each with a prompt."""
    lines = [f"{key}: {value}" for key, value in {"base_model": "local:d/base", "dtype": "float32", **settings}.items()]
    lines += ["experts:"]
    for name, prompt in experts.items():
        lines += [f"- source_model: local:d/{name.partition('#')[0]}", f"  positive_prompts: [{prompt!r}]"]
    return "\n".join(lines) + "\n"
