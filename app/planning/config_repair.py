"""The result's config.json: the donor's, cleaned, and corrected where the result is not the donor any more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.planning.layers import LAYER_KEYS, config_parts, layer_counts
from app.planning.strict_json import short
from app.recipe.findings import Finding

_CODE_KEYS = frozenset(
    {
        "auto_map", "custom_pipelines", "custom_objects", "model_file", "code_revision", "trust_remote_code",
        "attn_implementation", "experts_implementation", "transformers_weights", "kernel_config", "use_kernels",
    }
)  # fmt: skip
"""Keys that name code or other files to load, in config.json and the tokenizer's and processor's configs."""
_CONFIG_KEYS = _CODE_KEYS | {"quantization_config"}
_TOKENIZER_KEYS = _CODE_KEYS | {"name_or_path", "tokenizer_file"}
_TOLD = frozenset({"auto_map", "quantization_config"})

_NOT_PER_LAYER = re.compile(r"architectures|.*_tokens?(_ids?)?|.*_section|.*pinpoints|.*languages?|id2label|label2id")
_LAYER_NUMBERS = re.compile(r".*(_idxs?|_indices|_indexes|_layers|_layer_ids)")
_PERIODS = re.compile(
    r".*_(pattern|interval|period|offset|layer_step|sparse_step|layer_freq)|first_k_dense_replace|moe_layer_start_index"
)
_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Stack:
    """How the result's layers came about: for each the config and number of the layer it was, and the count before."""

    origins: Sequence[tuple[Mapping[str, Any], int]]
    before: int


@dataclass(frozen=True, slots=True)
class Target:
    """What the result is like. ``dtype`` is a safetensors name; ``rows`` of the token embedding, None if there is
    none; ``donor_rows`` the same in the donor; ``untied``: the result has a head of its own; ``donor_head``: the
    donor has a head tensor."""

    dtype: str | None
    rows: int | None = None
    donor_rows: int | None = None
    untied: bool = False
    donor_head: bool = False
    stack: Stack | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the config, by its dotted path. ``before`` or ``after`` is None when the key was or is not there."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.key} left out"
        if isinstance(self.before, list) and isinstance(self.after, list):
            return f"{self.key} with {len(self.after)} entries instead of {len(self.before)}"
        before = "not set" if self.before is None else _shown(self.before)
        return f"{self.key} {before} → {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class Repaired:
    """The new config, every change made to the donor's, and findings about what cannot be repaired."""

    config: dict[str, Any]
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Repair:
    config: dict[str, Any]
    target: Target
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def set(self, path: tuple[str, ...], key: str, value: Any) -> None:
        part: dict[str, Any] = self.config
        for name in path:
            part = part[name]
        if part.get(key) != value or type(part.get(key)) is not type(value):
            self.changes.append(Change(".".join((*path, key)), part.get(key), value))
            part[key] = value


def repair_config(donor: Mapping[str, Any], target: Target) -> Repaired:
    """A config that tells the truth about the result. The donor's is not changed."""
    config, dropped = clean_config(donor)
    repair = _Repair(config, target)
    repair.changes += [Change(path, value, None) for path, value in dropped if path.rsplit(".")[-1] in _TOLD]
    if target.stack is not None:
        _repair_layers(repair, target.stack)
    _repair_vocabulary(repair)
    _repair_head(repair)
    _repair_dtype(repair)
    if any(change.key.endswith("auto_map") for change in repair.changes):
        text = "This model comes with its own code, which is not taken over."
        fix = "The result loads only where the library knows this kind of model by itself."
        repair.findings.append(Finding("warning", "custom-code", "config.json", text, fix))
    return Repaired(repair.config, tuple(repair.changes), tuple(repair.findings))


def told(changes: Sequence[Change]) -> Finding | None:
    """The changes as one remark."""
    if not changes:
        return None
    text = f"config.json is corrected: {'; '.join(map(str, changes))}."
    return Finding("info", "config-repaired", "config.json", text)


def clean_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """A copy without keys that name code, other files or a library's inner state, and what was dropped."""
    return _clean(config, _CONFIG_KEYS)


def clean_tokenizer_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The same for tokenizer_config.json, processor and generation configs."""
    return _clean(config, _TOKENIZER_KEYS)


def _clean(config: Mapping[str, Any], drop: frozenset[str], path: str = "") -> tuple[dict[str, Any], list[Any]]:
    kept: dict[str, Any] = {}
    dropped: list[tuple[str, Any]] = []
    for key, value in config.items():
        if key.startswith("_") or key in drop:
            dropped.append((path + key, value))
        else:
            kept[key], inner = _clean_value(value, drop, f"{path}{key}.")
            dropped += inner
    return kept, dropped


def _clean_value(value: Any, drop: frozenset[str], path: str) -> tuple[Any, list[Any]]:
    if isinstance(value, dict):
        return _clean(value, drop, path)
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        cleaned = [_clean_value(one, drop, path) for one in value]
        return [kept for kept, _ in cleaned], [one for _, dropped in cleaned for one in dropped]
    return value, []


def _repair_layers(repair: _Repair, stack: Stack) -> None:
    """Layer count, and one entry for each layer in every list that had one for each."""
    path, part, before = _layer_part(repair.config, stack.before)
    after = len(stack.origins)
    for key, value in list(part.items()):
        if key in LAYER_KEYS and value == before:
            repair.set(path, key, after)
        elif key == "max_window_layers" and type(value) is int:
            repair.set(path, key, after if value >= before else min(value, after))
        elif isinstance(value, list) and _numbers_of_layers(key, value, before):
            repair.set(path, key, [new for new, origin in enumerate(stack.origins) if _listed(origin, path, key)])
        elif isinstance(value, list) and len(value) == before and not _NOT_PER_LAYER.fullmatch(key):
            repair.set(path, key, [_entry(origin, path, key, value) for origin in stack.origins])
        elif type(value) is int and value > 1 and _PERIODS.fullmatch(key) and "layer_types" not in part:
            _check_period(repair, ".".join((*path, key)), value, stack)


def _layer_part(config: Mapping[str, Any], before: int) -> tuple[tuple[str, ...], Mapping[str, Any], int]:
    """The part of the config that counts the layers, and its count (which may leave extra layers in the file out)."""
    counts = list(layer_counts(config))
    path, _, count = next((one for one in counts if one[2] == before), counts[0] if counts else ((), "", before))
    return path, _at(config, path), count


def _numbers_of_layers(key: str, value: list[Any], before: int) -> bool:
    """Whether a list says *which* layers are of a kind (``[3, 7, 11]``), by ascending numbers."""
    whole = all(type(one) is int and 0 <= one < before for one in value)
    return whole and _LAYER_NUMBERS.fullmatch(key) is not None and sorted(set(value)) == value


def _entry(origin: tuple[Mapping[str, Any], int], path: tuple[str, ...], key: str, donor: list[Any]) -> Any:
    """The entry of a per-layer list for the layer this one was: from its own model's list, else from the donor's."""
    config, layer = origin
    theirs = _at(config, path).get(key)
    source = theirs if isinstance(theirs, list) and layer < len(theirs) else donor
    return source[min(layer, len(source) - 1)]


def _listed(origin: tuple[Mapping[str, Any], int], path: tuple[str, ...], key: str) -> bool:
    config, layer = origin
    theirs = _at(config, path).get(key)
    return isinstance(theirs, list) and layer in theirs


def _at(config: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for name in path:
        inner = config.get(name)
        config = inner if isinstance(inner, dict) else {}
    return config


def _check_period(repair: _Repair, key: str, period: int, stack: Stack) -> None:
    moved = [new for new, (_, layer) in enumerate(stack.origins) if (new - layer) % period]
    if moved:
        text = f"The config tells the kind of a layer by its number ({key}: {period}); layer {moved[0]} of the result "
        text += f"was layer {stack.origins[moved[0]][1]} before, which may be of another kind."
        fix = f"Choose ranges so that every layer keeps its number modulo {period}."
        repair.findings.append(Finding("warning", "layer-pattern", "slices", text, fix))


def _repair_vocabulary(repair: _Repair) -> None:
    rows, donor_rows = repair.target.rows, repair.target.donor_rows
    if rows is None or rows == donor_rows:
        return
    sizes = [(path, part.get("vocab_size")) for path, part in config_parts(repair.config)]
    sizes = [(path, size) for path, size in sizes if type(size) is int]
    counted = [path for path, size in sizes if size == donor_rows] or [path for path, _ in sizes[:1]]
    for path in counted:
        repair.set(path, "vocab_size", rows)


def _repair_head(repair: _Repair) -> None:
    """A head of its own is used only where the config does not tie it to the embedding."""
    if not repair.target.untied:
        return
    parts = list(config_parts(repair.config))
    said = [path for path, part in parts if isinstance(part.get("tie_word_embeddings"), bool)]
    for path in said:
        repair.set(path, "tie_word_embeddings", False)
    if not said and not repair.target.donor_head:
        repair.set((), "tie_word_embeddings", False)


def _repair_dtype(repair: _Repair) -> None:
    name = _DTYPE_NAMES.get(repair.target.dtype or "")
    if name is None:
        return
    found = False
    for path, part in list(config_parts(repair.config)):
        for key in ("dtype", "torch_dtype"):
            if isinstance(part.get(key), str):
                repair.set(path, key, name)
                found = True
    if not found:
        repair.set((), "torch_dtype", name)


def _shown(value: Any) -> str:
    return short(value) if isinstance(value, str | list) else str(value)[:40]
