"""Short names for the modules of a model, whatever its family calls them: the columns of the loom."""

from __future__ import annotations

from functools import lru_cache

EMBEDDINGS = "embeddings"
FINAL_NORM = "final norm"
HEAD = "head"
_ORDER = ("q", "k", "v", "qkv", "o", "gate", "up", "gate+up", "down", "router")
_LEAVES = {"weight", "bias", "gamma", "beta"}
_HEADS = {"lm_head", "embed_out", "score", "classifier", "qa_outputs", "proj_out", "v_head", "head", "pooler", "cls"}
_EMBEDDING_WORDS = {"wte", "wpe", "shared"}
_NORMS = {"ln", "ln_f"}

_ANYWHERE = {
    "q": ("q_proj", "q", "query", "wq", "q_lin", "to_q"),
    "k": ("k_proj", "k", "key", "wk", "k_lin", "to_k"),
    "v": ("v_proj", "v", "value", "wv", "v_lin", "to_v"),
    "qkv": ("qkv_proj", "qkv", "query_key_value", "c_attn", "wqkv", "in_proj_weight", "in_proj_bias", "w_pack"),
    "o": ("o_proj", "o", "out_lin", "to_out"),
    "gate": ("gate_proj", "w1", "wi_0"),
    "up": ("up_proj", "w3", "wi_1", "wi", "c_fc", "fc1", "lin1", "fc_in", "dense_h_to_4h"),
    "down": ("down_proj", "w2", "fc2", "lin2", "fc_out", "dense_4h_to_h"),
    "gate+up": ("gate_up_proj",),
    "router": ("router", "gate", "shared_expert_gate", "e_score_correction_bias"),
}
_IN_ATTENTION = ("wo", "dense", "c_proj", "out_proj", "proj")
_IN_MLP = {
    "up": ("intermediate.dense", "net.proj"),
    "down": ("output.dense", "ff.net", "wo", "c_proj", "out_proj", "proj"),
}
_SHORT = {word: short for short, words in _ANYWHERE.items() for word in words}


@lru_cache(maxsize=4096)  # layers are alike, so these are few and asked for again and again
def inside_layer(suffix: str) -> str:
    """The short name for what follows the layer's number (``self_attn.q_proj.weight`` -> ``q``)."""
    words = _words(suffix)
    last = words[-1]
    if _is_norm(last):
        return "norm"
    return _role(words) + (_SHORT.get(last) or _by_surroundings(words) or last)


@lru_cache(maxsize=4096)
def outside_layers(name: str) -> str:
    """``embeddings``, ``head``, ``final norm``, or the module's own name."""
    words = _words(name)
    last = words[-1]
    if last == "embed_out" or _HEADS & set(words) or words == ["output"]:
        return HEAD
    if last in _EMBEDDING_WORDS or any("embed" in word for word in words):
        return EMBEDDINGS
    return FINAL_NORM if _is_norm(last) else last


def column_key(module: str) -> tuple[int, str]:
    """Sorts columns as a layer runs: attention, MLP, what else there is, norms."""
    return _ORDER.index(module) if module in _ORDER else len(_ORDER) + (module == "norm"), module


def _words(name: str) -> list[str]:
    parts = [part for part in name.lower().split(".") if part and not part.isdigit()]
    named = [part for part in parts if part not in _LEAVES]
    return named or parts or [name]


def _is_norm(word: str) -> bool:
    return "norm" in word or word in _NORMS or word.startswith("ln_")


def _role(words: list[str]) -> str:
    """Attention to an encoder and shared experts stand beside the layer's own."""
    if any(word in ("encoder_attn", "crossattention", "encdecattention", "cross_attn") for word in words):
        return "cross "
    return "shared " if any(word in ("shared_expert", "shared_experts", "shared_mlp") for word in words) else ""


def _by_surroundings(words: list[str]) -> str | None:
    if "ff" not in words and any("attn" in word or "attention" in word for word in words[:-1]):
        return "o" if words[-1] in _IN_ATTENTION else None
    ending = ".".join(words[-2:])
    return next((short for short, ends in _IN_MLP.items() if ending in ends or words[-1] in ends), None)
