"""What a config says of single layers, corrected for layers that were taken out, repeated or put in a new order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Any

from app.planning.config_edit import ConfigEdit, part_at
from app.planning.layers import LAYER_KEYS, layer_counts
from app.planning.parts import AUDIO, DECODER, ENCODER, TEXT, VISION
from app.recipe.findings import Finding

Path = tuple[str, ...]
Origin = tuple[Mapping[str, Any], int]
"""The config of the model that a layer comes from, and its number there."""

_NOT_PER_LAYER = re.compile(r"architectures|.*_tokens?(_ids?)?|.*_section|.*pinpoints|.*languages?|id2label|label2id")
_LAYER_NUMBERS = re.compile(r".*(_idxs?|_indices|_indexes|_layers|_layer_ids)")
_PERIODS = re.compile(r".*_(pattern|interval|period|every_n_layers)")
_ATTENTION = MappingProxyType({
    "gemma2": ("", 2, 1), "gemma3_text": ("", 6, 5), "gemma3n_text": ("", 5, 4), "cohere2": ("", 4, 3),
    "modernbert": ("global_attn_every_n_layers", 3, 0),
})  # fmt: skip
"""Models whose older configs leave it to a layer's number whether it attends to everything or to a window: the key of
the period if it has one, the period without it, and the remainder of the layers that attend to everything. Sources:
their published configs; Gemma 2 (arXiv 2408.00118), Gemma 3 (2503.19786), ModernBERT (2412.13663)."""
_SCALED = "scale_depth"
"""MiniCPM divides it by the root of the number of layers and multiplies what each layer adds by that."""
_LEADING = ("first_k_dense_replace", "num_dense_layers")
"""How many layers come first that have no experts."""
_STEP, _DENSE = "decoder_sparse_step", "mlp_only_layers"


@dataclass(frozen=True, slots=True)
class Stack:
    """How the result's layers came about: for each its origin, and how many layers the donor has. ``role`` is that of
    the part they belong to (see ``parts``), empty when there is only one."""

    origins: Sequence[Origin]
    before: int
    role: str = ""


def repair_layers(edit: ConfigEdit, stack: Stack) -> None:
    """Layer count, one entry for each layer in every list that had one for each, and kinds told by number alone."""
    path, before = _layer_part(edit.config, stack.before, stack.role)
    part, after = edit.part(path), len(stack.origins)
    kinds = {**_attention_kinds(part, path, stack), **_expert_kinds(part, path, stack), **_leading(part, path, stack)}
    for key, value in list(part.items()):
        if key in kinds:
            continue
        if key in LAYER_KEYS and value == before and _counts(stack.role, path, key):
            edit.set(path, key, after)
        elif key == "max_window_layers" and type(value) is int:
            edit.set(path, key, after if value >= before else min(value, after))
        elif _numbers_layers(key, value, before):
            edit.set(path, key, [new for new, origin in enumerate(stack.origins) if _listed(origin, path, key)])
        elif _per_layer(key, value, before):
            edit.set(path, key, [_entry(origin, path, key, value) for origin in stack.origins])
        elif _by_number(key, value, before):
            edit.set(path, key, _renumbered(stack.origins, path, key))
        elif key == _SCALED and type(value) in (int, float):
            edit.set(path, key, value * sqrt(after / before))
        elif type(value) is int and _PERIODS.fullmatch(key) and "layer_types" not in {**part, **kinds}:
            _check_period(edit, ".".join((*path, key)), value, stack)
    for key, value in kinds.items():
        edit.set(path, key, value)
    if before != after and after not in (edit.part(path).get(key) for key in LAYER_KEYS):
        text = f"The config does not tell in a known way that the donor has {before} layers, and so cannot tell that "
        text += f"the result has {after}. It may be loaded with layers missing or left out."
        fix = "Correct the number of layers in config.json by hand."
        edit.findings.append(Finding("warning", "layer-count-unknown", "config.json", text, fix))


def layer_marks(config: Mapping[str, Any], layers: int) -> list[tuple[Any, ...]]:
    """For each of a model's layers what its config says of this one: equal marks, equal kinds of layers."""
    path, count = _layer_part(config, layers)
    part = part_at(config, path)
    lists = [value for key, value in part.items() if _per_layer(key, value, count)]
    numbers = [value for key, value in part.items() if _numbers_layers(key, value, count)]
    numbered = [_numbered(value) for key, value in part.items() if _by_number(key, value, count)]
    return [
        (*(str(value[layer]) for value in lists if layer < count), *(layer in value for value in numbers),
         *(str(value.get(layer)) for value in numbered), *(_leads(part, key, layer) for key in _LEADING),
         _is_dense(part, layer))
        for layer in range(layers)
    ]  # fmt: skip


def _layer_part(config: Mapping[str, Any], before: int, role: str = "") -> tuple[Path, int]:
    """The part of the config that counts the layers, and its count (which may leave extra layers in the file out)."""
    counts = [one for one in layer_counts(config) if _counts(role, one[0], one[1])]
    path, _, count = next((one for one in counts if one[2] == before), counts[0] if counts else ((), "", before))
    return path, count


def _counts(role: str, path: Path, key: str) -> bool:
    """Whether a number of layers at ``path`` may be that of a part in this role."""
    where = ".".join(path)
    if role in (ENCODER, DECODER):
        return ("decoder" in where or "decoder" in key) == (role == DECODER)
    seen, heard = "vis" in where, "audio" in where
    return {TEXT: not (seen or heard), VISION: seen, AUDIO: heard}.get(role, True)


def _per_layer(key: str, value: Any, before: int) -> bool:
    return isinstance(value, list) and len(value) == before and not _NOT_PER_LAYER.fullmatch(key)


def _numbers_layers(key: str, value: Any, before: int) -> bool:
    """Whether a list says *which* layers are of a kind (``[3, 7, 11]``), by ascending numbers."""
    if not isinstance(value, list) or _LAYER_NUMBERS.fullmatch(key) is None:
        return False
    whole = all(type(one) is int and 0 <= one < before for one in value)
    return whole and sorted(set(value)) == value


def _entry(origin: Origin, path: Path, key: str, donor: list[Any]) -> Any:
    """The entry of a per-layer list for the layer this one was: from its own model's list, else from the donor's."""
    config, layer = origin
    theirs = part_at(config, path).get(key)
    source = theirs if isinstance(theirs, list) and layer < len(theirs) else donor
    return source[min(layer, len(source) - 1)]


def _listed(origin: Origin, path: Path, key: str) -> bool:
    config, layer = origin
    theirs = part_at(config, path).get(key)
    return isinstance(theirs, list) and layer in theirs


def _by_number(key: str, value: Any, before: int) -> bool:
    """Whether a mapping says by their numbers what is special about some layers (``{"05": {"head_dim": 512}}``)."""
    named = isinstance(value, dict) and value and "layer" in key and not _NOT_PER_LAYER.fullmatch(key)
    return bool(named) and all(str(one).isdecimal() and int(one) < before for one in value)


def _numbered(value: Any) -> dict[int, Any]:
    return {int(layer): one for layer, one in value.items()} if isinstance(value, dict) else {}


def _renumbered(origins: Sequence[Origin], path: Path, key: str) -> dict[str, Any]:
    """Such a mapping for the result, from each layer's own model. Numbers are as long as the longest."""
    digits = len(str(len(origins) - 1))
    found = [_numbered(part_at(config, path).get(key)).get(layer) for config, layer in origins]
    return {f"{new:0{digits}}": one for new, one in enumerate(found) if one is not None}


def _attention_kinds(part: Mapping[str, Any], path: Path, stack: Stack) -> dict[str, Any]:
    """``layer_types`` for a model that leaves them to the layers' numbers, once these have changed."""
    if isinstance(part.get("layer_types"), list):
        return {}
    kinds = [_attention(part_at(config, path), layer) for config, layer in stack.origins]
    if None in kinds or kinds == [_attention(part, layer) for layer in range(len(kinds))]:
        return {}
    return {"layer_types": kinds}


def _attention(part: Mapping[str, Any], layer: int) -> Any:
    """The kind of attention in a layer, None when the config does not tell in a known way."""
    listed = part.get("layer_types")
    if isinstance(listed, list) and layer < len(listed):
        return listed[layer]
    pattern = part.get("sliding_window_pattern")
    key, period, remainder = _ATTENTION.get(str(part.get("model_type")), ("", 0, 0))
    if type(pattern) is int and pattern > 0:
        period, remainder = pattern, pattern - 1
    elif type(part.get(key)) is int and part[key] > 0:
        period = part[key]
    if not period:
        return None
    return "full_attention" if layer % period == remainder else "sliding_attention"


def _expert_kinds(part: Mapping[str, Any], path: Path, stack: Stack) -> dict[str, Any]:
    """The layers without experts by number, where a step between those with experts does not fit any more."""
    step = part.get(_STEP)
    if type(step) is not int or step < 2 or not isinstance(part.get(_DENSE), list):
        return {}
    if all((new - layer) % step == 0 for new, (_, layer) in enumerate(stack.origins)):
        return {}
    dense = [new for new, (config, layer) in enumerate(stack.origins) if _is_dense(part_at(config, path), layer)]
    return {_STEP: 1, _DENSE: dense}


def _is_dense(part: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer of a mixture is told to have no experts, in the words of Qwen's mixtures."""
    step, dense = part.get(_STEP), part.get(_DENSE)
    listed = isinstance(dense, list) and layer in dense
    return listed or (type(step) is int and step > 0 and (layer + 1) % step != 0)


def _leading(part: Mapping[str, Any], path: Path, stack: Stack) -> dict[str, Any]:
    """How many layers without experts come first now, where they all do."""
    found: dict[str, Any] = {}
    for key in _LEADING:
        if type(part.get(key)) is int:
            dense = [_leads(part_at(config, path), key, layer) for config, layer in stack.origins]
            found |= {} if sorted(dense, reverse=True) != dense else {key: sum(dense)}
    return found


def _leads(part: Mapping[str, Any], key: str, layer: int) -> bool:
    count = part.get(key)
    return type(count) is int and layer < count


def _check_period(edit: ConfigEdit, key: str, period: int, stack: Stack) -> None:
    moved = [new for new, (_, layer) in enumerate(stack.origins) if period > 1 and (new - layer) % period]
    if moved:
        text = f"The config tells the kind of a layer by its number ({key}: {period}); layer {moved[0]} of the result "
        text += f"was layer {stack.origins[moved[0]][1]} before, which may be of another kind."
        fix = f"Choose ranges so that every layer keeps its number modulo {period}."
        edit.findings.append(Finding("warning", "layer-pattern", "slices", text, fix))
