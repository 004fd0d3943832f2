"""What a dense model makes of prompts, layer by layer: a forward pass in fp32, NumPy alone.

The layers of Llama, Mistral, Qwen2 and Qwen3: RMSNorm, attention with rotary positions and shared heads of keys and
values (arXiv:2305.13245), with biases or normed queries and keys where there are some, and a SwiGLU MLP
(arXiv:2002.05202). Every token sees itself and those before it, as far back as the layer's window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.experts.costs import GROUP
from app.experts.dense import LAYER, Dense
from app.experts.rope import frequencies
from app.planning.facts import TensorFacts
from worker.engine.dtypes import Array
from worker.experts.weights import Weights, embedded


def entering(
    dense: Dense, weights: Weights, prompts: Sequence[Sequence[int]], told: Callable[[int], None]
) -> Iterator[list[Array]]:
    """For each layer in turn what enters it: fp32 [tokens, hidden] of each prompt. The last layer's own weights are
    not read. ``told`` hears the number of every layer that was passed."""
    layers = [_tensors(dense, layer) for layer in range(dense.layers - 1)]
    turns = frequencies(dense.facts.config, dense.head_dim, dense.facts.ref)
    states = embedded(weights, dense, prompts)
    for turn, tensors in enumerate(layers, start=1):
        weights.expect(tensors, turn)
    yield states
    for number, tensors in enumerate(layers):
        layer = _Layer(dense, number, weights, turns)
        states = [state for group in _groups(states) for state in layer.through(group)]
        weights.release(tensors)
        told(number)
        yield states


def _tensors(dense: Dense, layer: int) -> list[TensorFacts]:
    prefix = LAYER.format(layer)
    return [one for name, one in dense.facts.tensors.items() if name.startswith(prefix) and name not in dense.buffers]


def _groups(states: Sequence[Array]) -> Iterator[list[Array]]:
    """Prompts that pass a layer together: as many as there is room for."""
    group: list[Array] = []
    for state in states:
        if group and sum(map(len, group)) + len(state) > GROUP:
            yield group
            group = []
        group.append(state)
    if group:
        yield group


@dataclass(frozen=True)
class _Layer:
    dense: Dense
    number: int
    weights: Weights
    turns: Sequence[float]

    def through(self, prompts: Sequence[Array]) -> list[Array]:
        """What leaves the layer. The matrices see all prompts at once, attention each by itself."""
        cuts = np.cumsum([len(one) for one in prompts])[:-1]
        states = np.concatenate(prompts)
        states = states + self._attention(self._normed(states, "input_layernorm.weight"), cuts)
        states = states + self._mlp(self._normed(states, "post_attention_layernorm.weight"))
        return np.split(states, cuts)

    def _tensor(self, suffix: str) -> TensorFacts:
        return self.dense.tensor(self.number, suffix)

    def _normed(self, states: Array, suffix: str) -> Array:
        return rms_norm(states, self.weights.vector(self._tensor(suffix)), self.dense.eps)

    def _project(self, states: Array, name: str) -> Array:
        bias = self.dense.find(self.number, f"{name}.bias")
        return self.weights.times(states, self._tensor(f"{name}.weight"), bias)

    def _mlp(self, states: Array) -> Array:
        gate = self._project(states, "mlp.gate_proj")
        gate *= 0.5 * (1 + np.tanh(0.5 * gate))
        gate *= self._project(states, "mlp.up_proj")
        return self._project(gate, "mlp.down_proj")

    def _attention(self, states: Array, cuts: Array) -> Array:
        queries = self._heads(states, "q", self.dense.heads)
        keys = self._heads(states, "k", self.dense.keys)
        values = self._heads(states, "v", self.dense.keys)
        seen = [
            self._look_back(*parts)
            for parts in zip(*(np.split(one, cuts) for one in (queries, keys, values)), strict=True)
        ]
        return self._project(np.concatenate(seen), "self_attn.o_proj")

    def _heads(self, states: Array, name: str, count: int) -> Array:
        """fp32 [tokens, heads, head_dim], normed where the model does so."""
        heads = self._project(states, f"self_attn.{name}_proj").reshape(len(states), count, self.dense.head_dim)
        norm = self.dense.find(self.number, f"self_attn.{name}_norm.weight")
        return heads if norm is None else rms_norm(heads, self.weights.vector(norm), self.dense.eps)

    def _look_back(self, queries: Array, keys: Array, values: Array) -> Array:
        """One prompt's attention, fp32 [tokens, heads · head_dim]."""
        dense, tokens = self.dense, len(queries)
        queries, keys = rotated(queries, self.turns), rotated(keys, self.turns)
        shared = dense.heads // dense.keys
        grouped = queries.reshape(tokens, dense.keys, shared, dense.head_dim).transpose(1, 2, 0, 3)
        scores = grouped @ keys.transpose(1, 2, 0)[:, None] * np.float32(dense.head_dim**-0.5)
        scores[..., ~visible(tokens, dense.windows[self.number])] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        seen = scores @ values.transpose(1, 0, 2)[:, None]
        return seen.transpose(2, 0, 1, 3).reshape(tokens, dense.heads * dense.head_dim)


def rms_norm(states: Array, weight: Array, eps: float) -> Array:
    """x / √(mean x² + ε) · w along the last axis. arXiv:1910.07467."""
    scale = np.sqrt(np.mean(states * states, axis=-1, keepdims=True, dtype=np.float32) + np.float32(eps))
    return states / scale * weight


def rotated(heads: Array, turns: Sequence[float]) -> Array:
    """Pairs (i, i + head_dim/2) of ``heads`` [tokens, heads, head_dim] turned by ``turns[i]`` times the token."""
    angles = np.outer(np.arange(len(heads)), np.asarray(turns, np.float32)).astype(np.float32)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def visible(tokens: int, window: int | None) -> Array:
    """Who sees whom, bool [tokens, tokens]: those before and itself, of them the last ``window``."""
    back = np.arange(tokens)[:, None] - np.arange(tokens)[None]
    return (back >= 0) if window is None else (back >= 0) & (back < window)
