"""A dense model as a mixture needs to know it: sizes from its tensors, the rest from its config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.experts.targets import PROJECTIONS, Target
from app.planning.facts import MERGEABLE, ModelFacts, TensorFacts
from app.planning.ledger import TENSORS, Ledger
from app.recipe.findings import Finding, Refused, refuse

EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
LAYER = "model.layers.{}."
_BUFFER = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "llama": {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048},
        "mistral": {"rms_norm_eps": 1e-6, "max_position_embeddings": 131_072, "sliding_window": 4096},
        "qwen2": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32_768},
        "qwen3": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32_768},
    }
)
"""What these models take for granted where a config is silent, and what a mixture would take otherwise."""


@dataclass(frozen=True)
class Dense:
    """``inner``: width of the MLP. ``keys``: heads of keys and values. ``windows``: for each layer how many tokens back
    it sees, None for all. ``buffers``: tensors that no model needs any more."""

    facts: ModelFacts
    model_type: str
    layers: int
    hidden: int
    inner: int
    heads: int
    keys: int
    head_dim: int
    eps: float
    activation: str
    windows: tuple[int | None, ...]
    buffers: tuple[str, ...]

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding."""
        said = self.facts.config.get("tie_word_embeddings")
        return said if isinstance(said, bool) else HEAD not in self.facts.tensors

    def tensor(self, layer: int, suffix: str) -> TensorFacts:
        return self.facts.tensors[LAYER.format(layer) + suffix]

    def find(self, layer: int, suffix: str) -> TensorFacts | None:
        return self.facts.tensors.get(LAYER.format(layer) + suffix)

    def of_layer(self, layer: int) -> Iterator[tuple[str, TensorFacts]]:
        """What follows the layer's prefix, and the tensor, of all but the MLP, in a fixed order."""
        for suffix in sorted(self._suffixes):
            found = self.find(layer, suffix)
            if found is not None:
                yield suffix, found

    @property
    def _suffixes(self) -> set[str]:
        return {name for name, _ in _outline(self.heads, self.keys, self.head_dim, self.hidden, self.inner)
                if not name.startswith("mlp.")}  # fmt: skip


def read_dense(facts: ModelFacts, target: Target) -> Dense:
    """Raises Refused with every tensor that is missing, has another shape, or finds no place in ``target``."""
    ref, config = facts.ref, facts.config
    layers, hidden, inner = mlp_size(facts)
    model_type = str(config.get("model_type", ""))
    query = facts.tensors.get(LAYER.format(0) + "self_attn.q_proj.weight")
    key = facts.tensors.get(LAYER.format(0) + "self_attn.k_proj.weight")
    heads = _count(config.get("num_attention_heads"))
    if query is None or key is None or heads is None or len(query.shape) != 2 or len(key.shape) != 2:
        raise _strange(ref, "its attention is built in another way")
    head_dim = _count(config.get("head_dim")) or (128 if model_type == "qwen3" else hidden // heads)
    if head_dim < 2 or head_dim % 2 or query.shape[0] != heads * head_dim or key.shape[0] % head_dim:
        raise _strange(ref, f"its {heads} heads do not fit the {query.shape[0]} rows of its queries")
    keys = key.shape[0] // head_dim
    if keys == 0 or heads % keys:
        raise _strange(ref, f"its {heads} heads do not share {keys} heads of keys")
    outline = dict(_outline(heads, keys, head_dim, hidden, inner))
    buffers = _check_tensors(facts, target, layers, outline, hidden)
    return Dense(
        facts, model_type, layers, hidden, inner, heads, keys, head_dim, _eps(config, ref),
        str(config.get("hidden_act", "silu")), _windows(config, model_type, layers, ref), buffers,
    )  # fmt: skip


def mlp_size(facts: ModelFacts) -> tuple[int, int, int]:
    """Layers, hidden size and the MLP's inner size. Raises Refused where its MLPs are not three matrices each."""
    embedding, first = facts.tensors.get(EMBEDDING), facts.tensors.get(LAYER.format(0) + "mlp.gate_proj.weight")
    if embedding is None or len(embedding.shape) != 2 or first is None or len(first.shape) != 2:
        raise _strange(facts.ref, f"there is no {EMBEDDING if embedding is None else 'mlp.gate_proj.weight'}")
    layers = _count(facts.config.get("num_hidden_layers"))
    hidden, inner = embedding.shape[1], first.shape[0]
    if layers is None or layers > len(facts.tensors):
        raise _strange(facts.ref, "its config does not say how many layers there are")
    shapes = {"gate_proj": (inner, hidden), "up_proj": (inner, hidden), "down_proj": (hidden, inner)}
    ledger = Ledger()
    for layer in range(layers):
        for name, shape in shapes.items():
            _check(facts, f"{LAYER.format(layer)}mlp.{name}.weight", shape, ledger)
            if f"{LAYER.format(layer)}mlp.{name}.bias" in facts.tensors:
                text = f"The MLPs of {facts.ref} have biases ({TENSORS}), and experts of a mixture cannot."
                finding = Finding("error", "no-place", facts.ref, text, "Use a model without them.")
                ledger.note(finding, f"{LAYER.format(layer)}mlp.{name}.bias")
    _refuse(ledger)
    return layers, hidden, inner


def _outline(heads: int, keys: int, head_dim: int, hidden: int, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor a layer can have, and its shape."""
    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    for name, rows in (("q_proj", heads), ("k_proj", keys), ("v_proj", keys)):
        yield f"self_attn.{name}.weight", (rows * head_dim, hidden)
        yield f"self_attn.{name}.bias", (rows * head_dim,)
    yield "self_attn.o_proj.weight", (hidden, heads * head_dim)
    yield "self_attn.o_proj.bias", (hidden,)
    yield "self_attn.q_norm.weight", (head_dim,)
    yield "self_attn.k_norm.weight", (head_dim,)
    for name in PROJECTIONS:
        yield f"mlp.{name}.weight", (hidden, inner) if name == "down_proj" else (inner, hidden)


def _check_tensors(
    facts: ModelFacts, target: Target, layers: int, outline: Mapping[str, tuple[int, ...]], hidden: int
) -> tuple[str, ...]:
    """The buffers that may be left out. Raises Refused."""
    ledger = Ledger()
    rows = facts.tensors[EMBEDDING].shape[0]
    wanted = {EMBEDDING: (rows, hidden), NORM: (hidden,)}
    if HEAD in facts.tensors:
        wanted[HEAD] = (rows, hidden)
    for layer in range(layers):
        for suffix, shape in outline.items():
            name = LAYER.format(layer) + suffix
            if name in facts.tensors or _is_needed(suffix, target):
                wanted[name] = shape
            if name in facts.tensors and not _has_place(suffix, target):
                text = f"{target.title} has no place for {TENSORS} of {facts.ref}."
                ledger.note(Finding("error", "no-place", facts.ref, text, "Choose another base."), name)
    for name, shape in wanted.items():
        _check(facts, name, shape, ledger)
    buffers = tuple(name for name in facts.tensors if _BUFFER.search(name))
    for name in facts.tensors:
        if name not in wanted and name not in buffers:
            text = f"{target.title} has no place for {TENSORS} of {facts.ref}."
            ledger.note(Finding("error", "no-place", facts.ref, text, "Choose another base."), name)
    _refuse(ledger)
    return buffers


def _has_place(suffix: str, target: Target) -> bool:
    if suffix.endswith(".bias"):
        return suffix.split(".")[1] in target.biases
    return target.normed or "_norm." not in suffix


def _is_needed(suffix: str, target: Target) -> bool:
    if suffix.endswith(".bias"):
        return target.model_type == "qwen2_moe" and _has_place(suffix, target)
    return target.normed or not suffix.startswith(("self_attn.q_norm", "self_attn.k_norm"))


def _check(facts: ModelFacts, name: str, shape: tuple[int, ...], ledger: Ledger) -> None:
    tensor = facts.tensors.get(name)
    if tensor is None:
        text = f"{facts.ref} lacks {TENSORS}."
        ledger.note(Finding("error", "missing-tensor", facts.ref, text, "Choose a complete model."), name)
    elif tensor.shape != shape:
        told = " × ".join(map(str, shape))
        text = f"{TENSORS} of {facts.ref}: another shape than {told}, which the rest of the model asks for."
        ledger.note(Finding("error", "shape-mismatch", facts.ref, text, "Choose another model."), name)
    elif tensor.dtype not in MERGEABLE:
        text = f"{TENSORS} of {facts.ref}: stored as {tensor.dtype}, which is no format for weights here."
        ledger.note(Finding("error", "not-weights", facts.ref, text, "Use a version in BF16, F16 or F32."), name)


def _refuse(ledger: Ledger) -> None:
    if findings := ledger.findings():
        raise Refused(findings)


def _windows(config: Mapping[str, Any], model_type: str, layers: int, ref: str) -> tuple[int | None, ...]:
    """Raises Refused where only some layers see everything: a mixture's config has no words for that."""
    window = _count(config.get("sliding_window", DEFAULTS[model_type].get("sliding_window")))
    if model_type == "llama" or (model_type.startswith("qwen") and config.get("use_sliding_window") is not True):
        window = None
    kinds = config.get("layer_types")
    mixed = isinstance(kinds, list) and len({str(one) for one in kinds}) > 1
    if window is not None and (mixed or model_type.startswith("qwen")):
        text = f"In {ref} some layers see only {window} tokens back, which a mixture's config cannot say."
        raise refuse("windows-differ", "base_model", text, "Choose a base whose layers are all alike.")
    return (window,) * layers


def _eps(config: Mapping[str, Any], ref: str) -> float:
    value = config.get("rms_norm_eps", 1e-6)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise _strange(ref, "its rms_norm_eps is no small number")
    return float(value)


def _count(value: Any) -> int | None:
    """A number of things; None for what is none."""
    return value if type(value) is int and 0 < value < 2**31 else None


def _strange(ref: str, why: str) -> Refused:
    text = f"{ref} is not built as its model type says: {why}."
    return refuse("cannot-be-mixed", ref, text, "Use a Llama, Mistral, Qwen2 or Qwen3 model as it is published.")
