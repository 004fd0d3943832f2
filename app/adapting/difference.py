"""What a fine-tune changed, tensor by tensor: which of it becomes LoRA, and which is saved whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from app.adapting.wanted import Wish
from app.planning.facts import MERGEABLE, ModelFacts, TensorFacts
from app.planning.layers import position, read_structure
from app.planning.ledger import listed
from app.planning.module_names import EMBEDDINGS, HEAD, outside_layers
from app.planning.parents import says_untied, token_embedding
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused, did_you_mean, refuse

Kind = Literal["lora", "whole"]
_TABLES = ("embed", "relative_attention_bias", "wpe", "wte")
"""In the names of matrices that are looked up by row, inside the layers."""
_CONV1D = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
"""Model types whose linear layers hold [inputs, outputs]."""


@dataclass(frozen=True)
class Pair:
    """One tensor of both models. ``base`` is None where only the fine-tune has it."""

    name: str
    tuned: TensorFacts
    base: TensorFacts | None
    kind: Kind

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]


@dataclass
class Difference:
    """``linear``: the names of all modules that could have LoRA, wished for or not."""

    pairs: list[Pair] = field(default_factory=list)
    linear: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def leaf(module: str) -> str:
    """``q_proj``: the last part of a module's name."""
    return module.rpartition(".")[2]


def compare(tuned: ModelFacts, base: ModelFacts, wish: Wish) -> Difference:
    """What of the two is to be compared, by headers alone. Raises Refused when they are not of one make, or when a
    module that is wished for does not exist."""
    shared = tuned.tensors.keys() & base.tensors.keys()
    if len(shared) * 2 < max(len(tuned.tensors), len(base.tensors)):
        raise refuse(
            "different-architecture", tuned.ref, f"Only {len(shared)} tensors have the same name in both models.",
            "Name a fine-tune and the model it was made from.",
        )  # fmt: skip
    _check_layers(tuned, base)
    found = Difference()
    errors: list[Finding] = []
    apart: list[str] = []
    for name, one in tuned.tensors.items():
        other = base.tensors.get(name)
        if one.dtype not in MERGEABLE:
            continue
        if other is not None and other.shape != one.shape and not _grew(one, other):
            errors.append(_unlike(name, one, other, tuned, base))
        elif not name.endswith((".weight", ".bias")):
            apart.append(name)
        else:
            found.pairs.append(Pair(name, one, other, _kind(name, one, other)))
    if errors:
        raise Refused(errors[:3])
    found.pairs += _tied_head(tuned, base)
    found.linear = [pair.module for pair in found.pairs if pair.kind == "lora"]
    _check_names(found.linear, wish)
    found.pairs = [pair for pair in found.pairs if _is_wished(pair, wish)]
    gone = base.tensors.keys() - tuned.tensors.keys() - {pair.name for pair in found.pairs}
    found.findings += [*_remarks(apart, gone, tuned, base), *_about_rows(found.pairs, tuned, base)]
    return found


def _check_layers(tuned: ModelFacts, base: ModelFacts) -> None:
    """No adapter can add a layer or take one away: loading would pass over it in silence. Raises Refused."""
    theirs = read_structure(base).stacks
    for stack, layers in read_structure(tuned).stacks.items():
        if layers != theirs.get(stack, layers):
            raise refuse(
                "layer-count-differs", tuned.ref, f"{tuned.ref} has {layers} layers, {base.ref} has {theirs[stack]}.",
                "An adapter changes the layers there are. Name the model that the fine-tune was made from.",
            )  # fmt: skip


def _tied_head(tuned: ModelFacts, base: ModelFacts) -> Iterator[Pair]:
    """The head of a fine-tune that uses its embedding as one, where the base has a matrix for it."""
    heads = [name for name in base.tensors.keys() - tuned.tensors.keys() if _is_head(name)]
    embedding = None if says_untied(tuned.config) else token_embedding(tuned)
    if embedding is not None and len(heads) == 1 and _grew(embedding, base.tensors[heads[0]]):
        yield Pair(heads[0], embedding, base.tensors[heads[0]], "whole")


def _is_head(name: str) -> bool:
    return name.endswith(".weight") and position(name).layer is None and outside_layers(name) == HEAD


def _about_rows(pairs: list[Pair], tuned: ModelFacts, base: ModelFacts) -> Iterator[Finding]:
    """PEFT loads saved embeddings only onto as many rows as they have."""
    for pair in pairs:
        if pair.base is not None and pair.base.shape != pair.tuned.shape:
            rows = pair.tuned.shape[0]
            text = f"{tuned.ref} has {rows} rows of tokens, {base.ref} has {pair.base.shape[0]}. "
            text += "The adapter brings all of them and the tokenizer."
            fix = f"Before PEFT loads it: model.resize_token_embeddings({rows}). Weightloom needs nothing of the kind."
            yield Finding("warning", "more-tokens", tuned.ref, text, fix)
            return


def _check_names(linear: list[str], wish: Wish) -> None:
    names = list(dict.fromkeys(leaf(module) for module in linear))
    unknown = next((name for name in wish.modules if name not in names), None)
    if unknown is not None:
        text = f"There is no linear layer called {short(unknown)}."
        known = f"There are {listed([short(name) for name in names], most=12)}."
        raise refuse("no-such-module", "modules", text, did_you_mean(unknown, names) or known)


def _is_wished(pair: Pair, wish: Wish) -> bool:
    return wish.whole if pair.kind == "whole" else not wish.modules or leaf(pair.module) in wish.modules


def is_transposed(model: ModelFacts) -> bool:
    return model.config.get("model_type") in _CONV1D


def _kind(name: str, one: TensorFacts, other: TensorFacts | None) -> Kind:
    if other is None or len(one.shape) != 2 or not name.endswith(".weight") or one.shape != other.shape:
        return "whole"
    if position(name).layer is None and outside_layers(name) in (EMBEDDINGS, HEAD):
        return "whole"
    return "whole" if any(word in name.lower() for word in _TABLES) else "lora"


def _grew(one: TensorFacts, other: TensorFacts) -> bool:
    """A matrix with a row for each token, of a model that added tokens."""
    tokens = position(one.name).layer is None and outside_layers(one.name) in (EMBEDDINGS, HEAD)
    return tokens and one.shape[1:] == other.shape[1:]


def _unlike(name: str, one: TensorFacts, other: TensorFacts, tuned: ModelFacts, base: ModelFacts) -> Finding:
    sizes = [" × ".join(map(str, tensor.shape)) for tensor in (one, other)]
    text = f"{short(name)} is {sizes[0]} in {tuned.ref} and {sizes[1]} in {base.ref}."
    return Finding("error", "shape-mismatch", short(name), text, "Name a fine-tune and the model it was made from.")


def _remarks(apart: list[str], gone: set[str], tuned: ModelFacts, base: ModelFacts) -> Iterator[Finding]:
    if apart:
        text = f"{listed([short(name) for name in apart])}: no weight or bias of a module, so no adapter can hold it."
        fix = "If it changed, that change is not in the result."
        yield Finding("warning", "not-in-an-adapter", tuned.ref, text, fix)
    if gone:
        text = f"{base.ref} has {listed([short(name) for name in sorted(gone)])}, and {tuned.ref} has not."
        yield Finding("warning", "left-out", tuned.ref, text, "The adapter leaves it as it is.")
