"""Tiny models of many families, made and saved by transformers itself: their names, configs and layouts are real.

One architecture, ``threadmill``, is made up here: transformers knows neither its tensors' names nor its settings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

VOCABULARY = 320
LAYERS = 4
_DECODER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 128, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_ENCODER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "vocab_size": VOCABULARY, "max_position_embeddings": 64,
}  # fmt: skip
_NEOX = {key: value for key, value in _DECODER.items() if key != "num_key_value_heads"}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": VOCABULARY}
_T5 = {
    "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4,
    "vocab_size": VOCABULARY, "decoder_start_token_id": 0,
}  # fmt: skip
_WHISPER = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 8,
    "max_source_positions": 16, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "begin_suppress_tokens": None,
}  # fmt: skip
_MODERNBERT = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2, "global_attn_every_n_layers": 2, "local_attention": 8,
}  # fmt: skip
_MIXED = ["full_attention", "full_attention", "sliding_attention", "sliding_attention"]
_ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
_SEEN = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16,
    "patch_size": 4,
}  # fmt: skip
_FALCON = {
    "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "vocab_size": VOCABULARY,
    "multi_query": True, "parallel_attn": True, "bias": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_HYBRID = {
    **_DECODER, "layer_types": ["mamba", "attention", "mamba", "attention"], "num_local_experts": 4,
    "num_experts_per_tok": 2, "shared_intermediate_size": 48, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 4,
    "mamba_n_groups": 1, "mamba_expand": 2, "position_embedding_type": "rope",
}  # fmt: skip
_VISION = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 4}


class ThreadmillConfig(hf.PreTrainedConfig):
    """Settings with names of their own, one of them a list with an entry for each layer."""

    model_type = "threadmill"

    def __init__(self, threads: int = 24, turns: int = 64, n_layers: int = LAYERS, pulls: Any = (), **more: Any):
        self.threads, self.turns, self.n_layers = threads, turns, n_layers
        self.pulls = list(pulls) or [0.5 + layer for layer in range(n_layers)]
        self.vocab_size = VOCABULARY
        super().__init__(**more)


class _Spindle(nn.Module):
    def __init__(self, config: ThreadmillConfig, pull: float) -> None:
        super().__init__()
        self.pull = pull
        self.warp = nn.Linear(config.threads, config.turns, bias=True)
        self.weft = nn.Linear(config.turns, config.threads, bias=False)
        self.tension = nn.Parameter(torch.randn(config.threads))

    def forward(self, thread: torch.Tensor) -> torch.Tensor:
        return thread + self.pull * self.weft(torch.tanh(self.warp(thread * self.tension)))


class ThreadmillForWeaving(hf.PreTrainedModel):
    """Not a transformer at all."""

    config_class = ThreadmillConfig

    def __init__(self, config: ThreadmillConfig) -> None:
        super().__init__(config)
        self.bobbin = nn.Embedding(config.vocab_size, config.threads)
        self.mill = nn.ModuleDict({"spindles": nn.ModuleList([_Spindle(config, pull) for pull in config.pulls])})
        self.cloth = nn.Linear(config.threads, 7)
        self.register_buffer("dye", torch.arange(7))
        self.post_init()

    def forward(self, input_ids: torch.Tensor) -> Any:
        thread = self.bobbin(input_ids)
        for spindle in self.mill["spindles"]:
            thread = spindle(thread)
        return hf.modeling_outputs.MaskedLMOutput(logits=self.cloth(thread) + self.dye)


@dataclass(frozen=True)
class Family:
    """``model`` and ``config`` name classes; ``stack`` is where the layers are in the model, empty when there are
    several; ``older`` are keys that published configs lack; ``heard`` are inputs beside the tokens."""

    model: str
    config: str
    settings: dict[str, Any]
    stack: str = "model.layers"
    older: tuple[str, ...] = ()
    heard: dict[str, tuple[int, ...]] = field(default_factory=dict)
    decoder_too: bool = False


FAMILIES: dict[str, Family] = {
    "bert": Family("BertForMaskedLM", "BertConfig", _ENCODER, "bert.encoder.layer"),
    "bert-classifier": Family(
        "BertForSequenceClassification", "BertConfig", {**_ENCODER, "num_labels": 3}, "bert.encoder.layer"
    ),
    "cohere": Family("CohereForCausalLM", "CohereConfig", _DECODER),
    "falcon": Family("FalconForCausalLM", "FalconConfig", _FALCON, "transformer.h"),
    "gemma2": Family(
        "Gemma2ForCausalLM", "Gemma2Config", {**_DECODER, "head_dim": 8, "sliding_window": 8}, older=("layer_types",)
    ),
    "gemma3": Family(
        "Gemma3ForCausalLM", "Gemma3TextConfig",
        {**_DECODER, "head_dim": 8, "sliding_window": 8, "layer_types": _MIXED[::-1]},
    ),
    "gemma3-vl": Family(
        "Gemma3ForConditionalGeneration", "Gemma3Config",
        {"text_config": {**_DECODER, "head_dim": 8, "sliding_window": 8, "layer_types": _MIXED}, "vision_config": _SEEN,
         "mm_tokens_per_image": 4},
        "model.language_model.layers",
    ),
    "gemma3-older": Family(
        "Gemma3ForCausalLM", "Gemma3TextConfig",
        {**_DECODER, "head_dim": 8, "sliding_window": 8, "sliding_window_pattern": 3}, older=("layer_types",),
    ),
    "gpt-neox": Family("GPTNeoXForCausalLM", "GPTNeoXConfig", _NEOX, "gpt_neox.layers"),
    "gpt2": Family(
        "GPT2LMHeadModel", "GPT2Config", {**_GPT2, "bos_token_id": 1, "eos_token_id": 2}, "transformer.h"
    ),
    "granite-hybrid": Family("GraniteMoeHybridForCausalLM", "GraniteMoeHybridConfig", _HYBRID),
    "llama": Family("LlamaForCausalLM", "LlamaConfig", {**_DECODER, "attention_bias": True, "mlp_bias": True}),
    "llama-classifier": Family("LlamaForSequenceClassification", "LlamaConfig", {**_DECODER, "num_labels": 3}),
    "mistral3": Family(
        "Mistral3ForConditionalGeneration", "Mistral3Config",
        {"text_config": {**_DECODER, "model_type": "mistral", "head_dim": 8},
         "vision_config": {**_SEEN, "model_type": "pixtral", "head_dim": 8}},
        "model.language_model.layers",
    ),
    "mixtral": Family(
        "MixtralForCausalLM", "MixtralConfig", {**_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2}
    ),
    "modernbert": Family("ModernBertForMaskedLM", "ModernBertConfig", _MODERNBERT),
    "phi3": Family("Phi3ForCausalLM", "Phi3Config", _DECODER),
    "qwen2-tied": Family("Qwen2ForCausalLM", "Qwen2Config", {**_DECODER, "tie_word_embeddings": True}),
    "qwen2.5-vl": Family(
        "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLConfig",
        {"text_config": {**_DECODER, "rope_parameters": _ROPE},
         "vision_config": {"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48, "patch_size": 4,
                           "out_hidden_size": 32, "fullatt_block_indexes": [1]}},
        "model.language_model.layers",
    ),
    "qwen2-vl": Family(
        "Qwen2VLForConditionalGeneration", "Qwen2VLConfig",
        {"text_config": {**_DECODER, "rope_parameters": _ROPE}, "vision_config": _VISION},
        "model.language_model.layers",
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM", "Qwen3Config",
        {**_DECODER, "head_dim": 8, "use_sliding_window": True, "max_window_layers": 2, "sliding_window": 8,
         "layer_types": _MIXED},
    ),
    "qwen3-moe": Family(
        "Qwen3MoeForCausalLM", "Qwen3MoeConfig",
        {**_DECODER, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
         "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    "roberta": Family("RobertaModel", "RobertaConfig", _ENCODER, "encoder.layer"),
    "t5": Family("T5ForConditionalGeneration", "T5Config", _T5, "", decoder_too=True),
    "threadmill": Family("ThreadmillForWeaving", "ThreadmillConfig", {}, "mill.spindles"),
    "whisper": Family(
        "WhisperForConditionalGeneration", "WhisperConfig", _WHISPER, "",
        heard={"input_features": (1, 8, 32)}, decoder_too=True,
    ),
}  # fmt: skip


def make_family(name: str, folder: Path, seed: int, shard_size: str = "5GB") -> Path:
    """A tiny checkpoint in bfloat16 with random weights, none of them zero or one throughout."""
    family = FAMILIES[name]
    torch.manual_seed(seed)
    model = _class(family.model)(_class(family.config)(**family.settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=shard_size)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in family.older}))
    return folder


def load(folder: Path) -> Any:
    """The model as transformers loads it. Fails for any missing, unexpected or mismatched key."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = _class(name).from_pretrained(folder, output_loading_info=True, experts_implementation="eager")
    assert not info["missing_keys"], info
    assert not info["unexpected_keys"], info
    assert not info["mismatched_keys"], info
    return model.eval()


def answer(name: str, model: Any) -> torch.Tensor:
    """What a model says to the same few tokens, as fp64. Shape [1, ...]."""
    family = FAMILIES[name]
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(3, VOCABULARY, (1, 12), generator=generator)
    given: dict[str, Any] = {"decoder_input_ids": tokens} if family.decoder_too else {"input_ids": tokens}
    if family.decoder_too and not family.heard:
        given["input_ids"] = tokens
    for key, shape in family.heard.items():
        given[key] = torch.randn(shape, generator=generator).to(model.dtype)
    with torch.no_grad():
        said = model(**given)
    return (said.logits if "logits" in said else said.last_hidden_state).double()


def _class(name: str) -> Any:
    return globals().get(name) or getattr(hf, name)
