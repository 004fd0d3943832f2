"""A LoRA adapter out of a fine-tune and its base: the difference of each matrix, as well as a low rank can say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from app.adapting.difference import Pair, compare, is_transposed
from app.adapting.wanted import Wish
from app.planning.adapter_fit import HEAD_NAME
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.ledger import listed
from app.planning.module_names import HEAD, outside_layers
from app.planning.parents import says_tied, token_embedding
from app.planning.plan import Input
from app.planning.strict_json import short
from app.recipe.findings import Finding, refuse
from app.recipe.references import is_hub_id, parse_reference
from worker.engine.dtypes import Array, decode
from worker.engine.opened import Sources
from worker.lora.files import Made, adapter_files, settings_of, target_modules
from worker.lora.low_rank import factor

_PIECE = 1 << 20
"""Elements read at a time."""
_CAUSAL = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Extracted:
    """``files``: name -> content. ``ranks`` and ``kept`` (share of the change's squares) by module; ``saved``: modules
    that are in it whole."""

    files: Mapping[str, bytes]
    ranks: Mapping[str, int]
    kept: Mapping[str, float]
    saved: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass
class _Work:
    modules: dict[str, Made] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)
    short_of: list[str] = field(default_factory=list)
    whole: dict[str, Array] = field(default_factory=dict)


def extract(
    tuned: ModelFacts, base: ModelFacts, sources: Sources, wish: Wish, tell: Callable[[int, str], None]
) -> Extracted:
    """``sources`` opens both: ``tuned`` is parent 0, ``base`` parent 1. ``tell(bytes, tensor)`` after each tensor.

    One matrix is in memory at a time. Raises Refused: models of different make, no change at all, values that are not
    finite.
    """
    difference = compare(tuned, base, wish)
    turned = is_transposed(base)
    work = _Work()
    done = 0
    for pair in difference.pairs:
        _extract_one(pair, sources, wish, turned, work)
        done += pair.tuned.nbytes
        tell(done, pair.name)
    if not work.modules and not work.whole:
        text = f"{tuned.ref} and {base.ref} have the same weights{'' if _is_all(wish) else ' in what was asked for'}."
        raise refuse("no-change", tuned.ref, text, "Name a fine-tune and the model it was made from.")
    stays_tied = says_tied(tuned.config) and not any(outside_layers(name) == HEAD for name in base.tensors)
    embedding = work.whole.get(_embedding(tuned)) if stays_tied else None
    told, whole = _told(base, difference.linear, work, turned, tied=embedding is not None)
    if embedding is not None:
        whole.setdefault(HEAD_NAME, embedding)  # PEFT looks for both copies of what it is told to keep tied
    files = adapter_files(work.modules, whole, settings_of(work.modules, told), wish.dtype)
    ranks = {name: one.rank for name, one in work.modules.items()}
    saved = tuple(dict.fromkeys(name.rpartition(".")[0] for name in work.whole))
    findings = (*difference.findings, *_too_short(work, wish))
    return Extracted(MappingProxyType(files), ranks, work.kept, saved, findings)


def _is_all(wish: Wish) -> bool:
    return wish.whole and not wish.modules


def _extract_one(pair: Pair, sources: Sources, wish: Wish, turned: bool, work: _Work) -> None:
    change = _read(sources, 0, pair.tuned)
    own = None if pair.kind == "lora" else change.copy()
    if pair.base is not None and pair.base.shape == pair.tuned.shape:
        _read(sources, 1, pair.base, change)
        if not change.any():
            return
    if own is not None:
        work.whole[pair.name] = own.reshape(pair.tuned.shape)
        return
    matrix = change.reshape(pair.tuned.shape)
    matrix = matrix.T if turned else matrix
    found = factor(matrix, wish.rank, max_error=wish.max_error, key=f"{wish.seed}:{pair.name}")
    if found is None:
        return
    work.modules[pair.module] = Made(found.up, found.down, (matrix.shape[1],))
    work.kept[pair.module] = found.kept
    if wish.max_error is not None and found.error > wish.max_error:
        work.short_of.append(pair.module)


def _read(sources: Sources, parent: int, tensor: TensorFacts, less: Array | None = None) -> Array:
    """The tensor's values, fp32 [elements]; with ``less`` they are taken away from that. Raises Refused."""
    source = sources.open(Input(parent, tensor))
    count = prod(tensor.shape)
    values = np.empty(count, np.float32) if less is None else less
    for start in range(0, count, _PIECE):
        size = min(_PIECE, count - start)
        raw = np.empty(size * source.itemsize, np.uint8)
        source.read(raw.data, start)
        piece = decode(raw, source.dtype)
        if not np.isfinite(piece).all():
            text = f"{short(tensor.name)} of {source.label} holds values that are NaN or infinite."
            raise refuse("not-finite", short(tensor.name), text, "Use another version of it.")
        if less is None:
            values[start : start + size] = piece
        else:
            values[start : start + size] -= piece
    source.release()
    return values


def _embedding(facts: ModelFacts) -> str:
    found = token_embedding(facts)
    return found.name if found else ""


def _told(
    base: ModelFacts, linear: list[str], work: _Work, turned: bool, *, tied: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Settings, and the whole tensors by the names that PEFT has for them: a bias beside LoRA belongs to the layer
    underneath."""
    whole, saved, biases = {}, [], False
    for name, values in work.whole.items():
        module, _, leaf = name.rpartition(".")
        if module in work.modules:
            whole[f"{module}.base_layer.{leaf}"] = values
            biases = True
        else:
            whole[name] = values
            saved.append(module)
    ref = parse_reference(base.ref)
    on_hub = base.commit is not None and is_hub_id(ref.name)
    classes = base.config.get("architectures")
    first = str(classes[0]) if isinstance(classes, list) and classes else ""
    told = {
        "base_model_name_or_path": ref.name if on_hub else None,
        "revision": base.commit if on_hub else None,
        "task_type": "CAUSAL_LM" if first.endswith(_CAUSAL) else None,
        "target_modules": target_modules(list(work.modules), linear),
        "modules_to_save": sorted(set(saved)) or None,
        "bias": "lora_only" if biases else "none",
        "fan_in_fan_out": turned,
        "ensure_weight_tying": tied,
    }
    return told, whole


def _too_short(work: _Work, wish: Wish) -> list[Finding]:
    if not work.short_of:
        return []
    text = f"Rank {wish.rank} leaves more than {wish.max_error:g} of the change out in "
    text += f"{listed([short(name) for name in work.short_of])}."
    return [Finding("warning", "error-too-large", "--max-error", text, "Allow a higher rank, or a larger error.")]
