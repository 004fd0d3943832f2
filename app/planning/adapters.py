"""A model with an adapter on it: its facts, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.adapter_config import read_settings
from app.planning.adapter_fit import fit
from app.planning.facts import ModelFacts
from app.planning.layers import module_of
from app.planning.ledger import listed
from app.planning.module_names import EMBEDDINGS, HEAD, column_key, outside_layers
from app.planning.strict_json import short
from app.recipe.findings import Finding


def put_on(ref: str, model: ModelFacts, adapter: ModelFacts) -> ModelFacts:
    """The facts of ``model+adapter``, told as ``ref``. Raises Refused with everything that does not fit."""
    fitted = fit(model, adapter)
    return replace(
        model,
        ref=ref,
        tensors=MappingProxyType({**model.tensors, **fitted.tensors}),
        config=_untied(model.config) if fitted.untied else model.config,
        base_models=tuple(dict.fromkeys((model.ref.partition("@")[0], *model.base_models))),
        private=model.private or adapter.private,
        gated=model.gated or adapter.gated,
        adapter=adapter,
    )


def adapted(facts: ModelFacts) -> tuple[AdaptedTensor, ...]:
    """The tensors that an adapter changes."""
    return tuple(one for one in facts.tensors.values() if isinstance(one, AdaptedTensor))


def about_adapter(facts: ModelFacts) -> str:
    """``LoRA of rank 8 on q, k, v and up; replaces head``; empty without an adapter."""
    if facts.adapter is None:
        return ""
    changed = adapted(facts)
    ranks = {_rank(one.added) for one in changed if one.added is not None and one.added.down is not None}
    touched = _modules(one for one in changed if one.added is not None)
    replaced = _modules(one for one in changed if one.added is None and one.instead is not None)
    dora = any(one.added is not None and one.added.magnitude is not None for one in changed)
    parts = []
    if ranks:
        rank = str(min(ranks)) if len(ranks) == 1 else f"{min(ranks)} to {max(ranks)}"
        parts.append(f"{'DoRA' if dora else 'LoRA'} of rank {rank} on {touched}")
    if replaced:
        parts.append(f"replaces {replaced}")
    return "; ".join(parts)


def _modules(tensors: Iterable[AdaptedTensor]) -> str:
    return listed(sorted({module_of(one.name) for one in tensors}, key=column_key), most=9)


def remarks(ref: str, facts: ModelFacts) -> Iterator[Finding]:
    """What is worth knowing about a model with an adapter that fits."""
    if facts.adapter is None:
        return
    settings = read_settings(facts.adapter)
    if settings.strange:
        text = f"Settings of {facts.adapter.ref} that are not known here are left out of account: "
        fix = "If they change what the adapter adds, merge it with the tool that made it."
        yield Finding("warning", "adapter-settings", ref, text + f"{listed(list(settings.strange))}.", fix)
    made_for = settings.base
    named = {name.lower() for name in facts.base_models}
    if made_for is not None and made_for.count("/") == 1 and facts.commit and made_for.lower() not in named:
        text = f"{facts.adapter.ref} says it was made for {made_for}."
        yield Finding("warning", "adapter-of-another-base", ref, text, "On another model it may do anything.")
    grown = [one for one in adapted(facts) if one.instead is not None and _grew(one, facts)]
    if grown:
        rows = f"{grown[0].shape[0]} rows"
        text = f"{facts.adapter.ref} brings {short(grown[0].name)} with {rows}; the tokenizer stays that of the model."
        fix = "If it added tokens, take the tokenizer's files from the adapter."
        yield Finding("warning", "adapter-vocabulary", ref, text, fix)


def _grew(one: AdaptedTensor, facts: ModelFacts) -> bool:
    size = facts.config.get("vocab_size")
    return isinstance(size, int) and outside_layers(one.name) in (EMBEDDINGS, HEAD) and one.shape[:1] != (size,)


def _rank(added: LowRank) -> int:
    return added.down.shape[0] if added.down is not None else 0


def _untied(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a model whose head is a matrix of its own."""
    inner = {
        key: {**value, "tie_word_embeddings": False}
        for key, value in config.items()
        if isinstance(value, dict) and "tie_word_embeddings" in value
    }
    return {**config, **inner, "tie_word_embeddings": False}


def pinned_name(facts: ModelFacts) -> str:
    """``owner/model@commit+owner/adapter@commit``, without commits where there are none."""
    own = facts.ref.partition("+")[0].partition("@")[0] + (f"@{facts.commit}" if facts.commit else "")
    return own if facts.adapter is None else f"{own}+{pinned_name(facts.adapter)}"
