"""A LoRA adapter as its header and settings tell it: modules, ranks, sizes, scales. No weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from app.planning.adapter_config import ADAPTER_CONFIG, AdapterSettings, read_settings
from app.planning.adapter_names import Factors, Sorted, sort_tensors
from app.planning.adapter_parameters import parameter_keys
from app.planning.facts import MERGEABLE, ModelFacts, TensorFacts
from app.planning.strict_json import load_object, short
from app.recipe.findings import Finding, Refused

_ON_MODELS = "Merge it as a parent instead: base+adapter in a recipe. The result is then a whole model."
_DAMAGED = "The adapter is damaged: choose another version of it."


@dataclass(frozen=True)
class ModuleSketch:
    """What one module gets: ``scale`` · ``up`` [outputs, rank] @ ``down`` [rank, inputs].

    ``shape`` is that of ``down`` without the rank: a convolution's has more than one size. ``experts``: so many such
    products lie in the two tensors, of a parameter that holds all experts of a mixture; 0 for a layer's weight.
    """

    up: TensorFacts
    down: TensorFacts
    scale: float
    embedding: bool = False
    experts: int = 0

    @property
    def rank(self) -> int:
        return self.down.shape[0] // max(1, self.experts)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.down.shape[1:]

    @property
    def outputs(self) -> int:
        return self.up.shape[0]

    @property
    def inputs(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> tuple[object, ...]:
        """Equal for modules that can be added up."""
        return self.outputs, self.shape, self.embedding, self.experts

    def __str__(self) -> str:
        sizes = " × ".join(map(str, (self.outputs, *self.shape)))
        return f"{self.experts} times {sizes}" if self.experts else sizes


@dataclass(frozen=True)
class AdapterSketch:
    """``modules`` by their names, without PEFT's prefix. ``raw``: adapter_config.json as it stands."""

    ref: str
    modules: Mapping[str, ModuleSketch]
    settings: AdapterSettings
    raw: Mapping[str, Any]


def sketch(facts: ModelFacts) -> AdapterSketch:
    """Raises Refused for an adapter that is damaged, or more than products of two matrices (DoRA, biases, saved
    modules)."""
    settings = read_settings(facts)
    parts = sort_tensors(facts.tensors.values())
    findings = list(_more_than_products(facts.ref, parts))
    findings += _ranks_of_parameters(facts.ref, settings)
    findings += [one for name, each in parts.factors.items() for one in _misfits(facts.ref, name, each, settings)][:3]
    if not parts.factors and not findings:
        text = f"{facts.ref} changes nothing: there is no LoRA factor in its file."
        findings.append(Finding("error", "adapter-empty", facts.ref, text, _DAMAGED))
    if findings:
        raise Refused(findings)
    modules = {name: made for name, one in parts.factors.items() if (made := _module(name, one, settings)) is not None}
    raw = load_object(facts.texts[ADAPTER_CONFIG].encode(), infinite=True)
    return AdapterSketch(facts.ref, modules, settings, raw)


def _module(name: str, factors: Factors, settings: AdapterSettings) -> ModuleSketch | None:
    up, down = factors.up, factors.down
    if up is None or down is None:
        return None
    if any(parameter_keys(name, settings.parameters)):
        experts = down.shape[0] // settings.rank
        return ModuleSketch(up, down, settings.scale(name, settings.rank), experts=experts)
    return ModuleSketch(up, down, settings.scale(name, down.shape[0]), factors.embedding)


def _ranks_of_parameters(ref: str, settings: AdapterSettings) -> Iterator[Finding]:
    if settings.parameters and (settings.ranks or settings.alphas):
        text = f"{ref} changes parameters (target_parameters) and has ranks or alphas of their own (rank_pattern, "
        text += "alpha_pattern): which of its factors they are for can only be told beside the model."
        yield Finding("error", "adapter-unsupported", ref, text, _ON_MODELS)


def _more_than_products(ref: str, parts: Sorted) -> Iterator[Finding]:
    others = [*parts.whole, *parts.unknown]
    if any(one.magnitude is not None for one in parts.factors.values()):
        yield Finding("error", "adapter-unsupported", ref, f"{ref} is a DoRA adapter.", _ON_MODELS)
    if any(one.bias is not None for one in parts.factors.values()):
        yield Finding("error", "adapter-unsupported", ref, f"{ref} has biases of its own.", _ON_MODELS)
    if others:
        text = f"{ref} holds more than LoRA factors: {short(others[0])}."
        yield Finding("error", "adapter-unsupported", ref, text, _ON_MODELS)


def _misfits(ref: str, module: str, factors: Factors, settings: AdapterSettings) -> Iterator[Finding]:
    name, rank = f"{short(module)} of {ref}", settings.rank_of(module)
    of_parameter = any(parameter_keys(module, settings.parameters))
    up, down = factors.up, factors.down
    if up is None or down is None:
        yield Finding("error", "adapter-shape", ref, f"{name} lacks one of its two factors.", _DAMAGED)
    elif not _fit(up.shape, down.shape):
        yield Finding("error", "adapter-shape", ref, f"The two factors of {name} do not fit each other.", _DAMAGED)
    elif down.shape[0] % rank if of_parameter else down.shape[0] != rank:
        text = f"{name} has rank {down.shape[0]}, and adapter_config.json says {rank}."
        fix = "Correct r or rank_pattern: how much is added depends on it."
        yield Finding("error", "adapter-rank", ref, text, fix)
    elif unread := _unread((up, down)):
        text = f"{name} is stored as {unread}, which is no plain number format."
        fix = "Use a version of the adapter in float32, bfloat16 or float16."
        yield Finding("error", "adapter-unsupported", ref, text, fix)


def _fit(up: tuple[int, ...], down: tuple[int, ...]) -> bool:
    """[outputs, rank, 1, 1...] and [rank, inputs...], nothing of size 0."""
    return len(up) > 1 and len(down) > 1 and up[1] == down[0] and prod(up[2:]) == 1 and 0 not in (*up, *down)


def _unread(factors: Iterable[TensorFacts]) -> str:
    return next((one.dtype for one in factors if one.dtype not in MERGEABLE), "")
