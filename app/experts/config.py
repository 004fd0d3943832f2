"""The config.json of a mixture: the base's, turned into that of the target, with nothing left to defaults."""

from __future__ import annotations

from typing import Any

from app.experts.dense import DEFAULTS, Dense
from app.experts.targets import Target
from app.planning.config_edit import ConfigEdit
from app.planning.config_repair import Repaired, repair_config
from app.planning.config_repair import Target as Like


def mixture_config(dense: Dense, target: Target, experts: int, per_token: int, dtype: str) -> Repaired:
    """``dtype`` is safetensors' name. What the base's class takes for granted is written out, since the mixture's class
    takes other things for granted."""
    repaired = repair_config(dense.facts.config, Like(dtype=dtype))
    edit = ConfigEdit(repaired.config, list(repaired.changes), list(repaired.findings))
    edit.set((), "architectures", [target.loaded_by])
    edit.set((), "model_type", target.model_type)
    for key, value in {**_said_before(dense), **_of_target(dense, target, experts, per_token)}.items():
        edit.set((), key, value)
    return Repaired(edit.config, tuple(edit.changes), tuple(edit.findings))


def _said_before(dense: Dense) -> dict[str, Any]:
    """What the base meant, said or not."""
    config = dense.facts.config
    told: dict[str, Any] = {key: config.get(key, value) for key, value in DEFAULTS[dense.model_type].items()}
    told |= {
        "num_key_value_heads": dense.keys, "hidden_act": dense.activation, "intermediate_size": dense.inner,
        "head_dim": dense.head_dim, "tie_word_embeddings": dense.tied,
    }  # fmt: skip
    if not isinstance(config.get("rope_parameters"), dict):
        told["rope_theta"] = config.get("rope_theta", 10_000.0)
    return told


def _of_target(dense: Dense, target: Target, experts: int, per_token: int) -> dict[str, Any]:
    told: dict[str, Any] = {"num_experts_per_tok": per_token, "output_router_logits": False}
    if target.model_type == "mixtral":
        return {**told, "num_local_experts": experts, "sliding_window": dense.windows[0], "router_jitter_noise": 0.0}
    told |= {
        "num_experts": experts, "moe_intermediate_size": dense.inner, "norm_topk_prob": True, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "use_sliding_window": False,
    }  # fmt: skip
    if target.shared is not None:
        return {**told, "shared_expert_intermediate_size": dense.inner, "qkv_bias": True}
    return {**told, "attention_bias": dense.find(0, "self_attn.q_proj.bias") is not None}
