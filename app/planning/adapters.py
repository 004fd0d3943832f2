"""A model with an adapter on it: its facts, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from app.planning.adapted import AdaptedTensor
from app.planning.adapter_config import read_settings
from app.planning.adapter_fit import fit
from app.planning.carried import OF_TOKENIZER
from app.planning.facts import DTYPE_BYTES, FileFacts, ModelFacts, TensorFacts
from app.planning.folding import Folded
from app.planning.layers import module_of
from app.planning.ledger import listed
from app.planning.module_names import EMBEDDINGS, HEAD, column_key, outside_layers
from app.planning.parents import token_embedding
from app.planning.strict_json import short
from app.planning.tokenizers import TOKENIZER_FILES
from app.recipe.findings import Finding


def put_on(ref: str, model: ModelFacts, adapter: ModelFacts) -> ModelFacts:
    """The facts of ``model+adapter``, told as ``ref``. Raises Refused with everything that does not fit."""
    fitted = fit(model, adapter)
    embedding = token_embedding(model)
    rows = _rows(embedding, fitted.tensors)
    texts, files = (model.texts, model.files) if rows is None else _vocabulary(model, adapter)
    config = model.config if rows is None or embedding is None else _sized(model.config, embedding.shape[0], rows)
    return replace(
        model,
        ref=ref,
        texts=texts,
        files=files,
        tensors=MappingProxyType({**model.tensors, **fitted.tensors}),
        folded=_folded(model.folded, fitted.tensors),
        config=_untied(config) if fitted.untied and config else config,
        base_models=tuple(dict.fromkeys((model.ref.partition("@")[0], *model.base_models))),
        private=model.private or adapter.private,
        gated=model.gated or adapter.gated,
        adapter=adapter,
    )


def _folded(folded: Folded | None, changed: Mapping[str, TensorFacts]) -> Folded | None:
    """Equals stay equal where the adapter changes none of them."""
    if folded is None or any(folded.holds(name) for name in changed):
        return None
    return replace(folded, tensors=MappingProxyType({**folded.tensors, **changed}))


def adapted(facts: ModelFacts) -> tuple[AdaptedTensor, ...]:
    """The tensors that an adapter changes."""
    return tuple(one for one in facts.tensors.values() if isinstance(one, AdaptedTensor))


def about_adapter(facts: ModelFacts) -> str:
    """``LoRA of rank 8 on q, k, v and up; replaces head``; empty without an adapter."""
    if facts.adapter is None:
        return ""
    changed = adapted(facts)
    ranks = {one.added.rank for one in changed if one.added is not None and one.added.down is not None}
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
    yield from _about_vocabulary(ref, facts, facts.adapter)


def _about_vocabulary(ref: str, facts: ModelFacts, adapter: ModelFacts) -> Iterator[Finding]:
    tokens = [one for one in adapted(facts) if outside_layers(one.name) in (EMBEDDINGS, HEAD) and one.instead]
    grown = next((one for one in tokens if one.nbytes != one.elements * DTYPE_BYTES[one.dtype]), None)
    if grown is None:
        return
    text = f"{adapter.ref} brings {short(grown.name)} with {grown.shape[0]} rows, more or fewer than the model has"
    if any(file.of_adapter for file in facts.files):
        yield Finding("info", "adapter-vocabulary", ref, f"{text}, and its tokenizer is taken with them.")
    else:
        fix = "If it added tokens, take the tokenizer from where it was trained."
        yield Finding("warning", "adapter-vocabulary", ref, f"{text}; the tokenizer stays that of the model.", fix)


def _rows(embedding: TensorFacts | None, changed: Mapping[str, AdaptedTensor]) -> int | None:
    """Rows of the embedding that the adapter brings, if they are others than the model has."""
    new = changed.get(embedding.name) if embedding is not None else None
    return None if new is None or embedding is None or new.shape == embedding.shape else new.shape[0]


def _sized(config: Mapping[str, Any], before: int, after: int) -> dict[str, Any]:
    """The config with another number of tokens."""

    def part(content: Mapping[str, Any]) -> dict[str, Any]:
        return {**content, "vocab_size": after} if content.get("vocab_size") == before else dict(content)

    return part({key: part(value) if isinstance(value, dict) else value for key, value in config.items()})


def _vocabulary(model: ModelFacts, adapter: ModelFacts) -> tuple[Mapping[str, str], tuple[FileFacts, ...]]:
    """Texts and files, those of the tokenizer the adapter's if it has any: it was trained with other tokens."""
    if not any(file.name in TOKENIZER_FILES for file in adapter.files):
        return model.texts, model.files
    texts = {name: text for name, text in model.texts.items() if name not in OF_TOKENIZER}
    texts |= {name: text for name, text in adapter.texts.items() if name in OF_TOKENIZER}
    kept = [file for file in model.files if file.name not in OF_TOKENIZER]
    taken = [replace(file, of_adapter=True) for file in adapter.files if file.name in OF_TOKENIZER]
    return MappingProxyType(texts), (*kept, *taken)


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
