"""The result's config.json: the donor's, cleaned, and corrected where the result is not the donor any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.planning.config_edit import Change, ConfigEdit
from app.planning.layer_repair import Stack, repair_layers
from app.planning.layers import config_parts
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
_NUMBERS = tuple({"__float__": word} for word in ("Infinity", "-Infinity", "NaN"))
"""What transformers writes for numbers that JSON has no word for (the step limits of Mamba)."""
_CLASS_KEYS = frozenset({"_class_name", "_diffusers_version"})
"""Where diffusers keeps what a config is of: a name among its own classes."""
_PLAIN_KEYS = frozenset({"_remove_final_layer_norm"})
"""Settings of a model (OPT) that only look like a library's inner state."""
_TOLD = frozenset({"auto_map", "quantization_config"})

_DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Target:
    """What the result is like. ``dtype`` is a safetensors name; ``rows`` of the token embedding, None if there is
    none; ``donor_rows`` the same in the donor; ``untied``: the result has a head of its own; ``donor_head``: the
    donor has a head tensor; ``stack``: its layers, ``parts``: those of its parts, where they were put together anew."""

    dtype: str | None
    rows: int | None = None
    donor_rows: int | None = None
    untied: bool = False
    donor_head: bool = False
    stack: Stack | None = None
    parts: tuple[Stack, ...] = ()


@dataclass(frozen=True, slots=True)
class Repaired:
    """The new config, every change made to the donor's, and findings about what cannot be repaired."""

    config: dict[str, Any]
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()


def repair_config(donor: Mapping[str, Any], target: Target) -> Repaired:
    """A config that tells the truth about the result. The donor's is not changed."""
    config, dropped = clean_config(donor)
    edit = ConfigEdit(config)
    edit.changes += [Change(path, value, None) for path, value in dropped if path.rsplit(".")[-1] in _TOLD]
    for stack in (*([target.stack] if target.stack else []), *target.parts):
        repair_layers(edit, stack)
    _repair_vocabulary(edit, target)
    _repair_head(edit, target)
    _repair_dtype(edit, target)
    if any(change.key.endswith("auto_map") for change in edit.changes):
        text = "This model comes with its own code, which is not taken over."
        fix = "The result loads only where the library knows this kind of model by itself."
        edit.findings.append(Finding("warning", "custom-code", "config.json", text, fix))
    return Repaired(edit.config, tuple(edit.changes), tuple(edit.findings))


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
        if (key.startswith("_") and not _is_setting(key, value, path)) or key in drop:
            dropped.append((path + key, value))
        else:
            kept[key], inner = _clean_value(value, drop, f"{path}{key}.")
            dropped += inner
    return kept, dropped


def _is_setting(key: str, value: Any, path: str) -> bool:
    """Whether a key counts although it begins with an underscore."""
    return (key in _CLASS_KEYS and not path and isinstance(value, str)) or (
        key in _PLAIN_KEYS and isinstance(value, bool)
    )


def _clean_value(value: Any, drop: frozenset[str], path: str) -> tuple[Any, list[Any]]:
    if value in _NUMBERS:
        return value, []
    if isinstance(value, dict):
        return _clean(value, drop, path)
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        cleaned = [_clean_value(one, drop, path) for one in value]
        return [kept for kept, _ in cleaned], [one for _, dropped in cleaned for one in dropped]
    return value, []


def _repair_vocabulary(edit: ConfigEdit, target: Target) -> None:
    rows, donor_rows = target.rows, target.donor_rows
    if rows is None or rows == donor_rows:
        return
    sizes = [
        (path, key, size)
        for path, part in config_parts(edit.config)
        for key, size in part.items()
        if key.startswith("vocab_size") and type(size) is int
    ]
    counted = [(path, key) for path, key, size in sizes if size == donor_rows]
    counted = counted or [(path, key) for path, key, _ in sizes if key == "vocab_size"][:1]
    for path, key in counted:
        edit.set(path, key, rows)


def _repair_head(edit: ConfigEdit, target: Target) -> None:
    """A head of its own is used only where the config does not tie it to the embedding."""
    if not target.untied:
        return
    parts = list(config_parts(edit.config))
    said = [path for path, part in parts if isinstance(part.get("tie_word_embeddings"), bool)]
    for path in said:
        edit.set(path, "tie_word_embeddings", False)
    if not said and not target.donor_head:
        edit.set((), "tie_word_embeddings", False)


def _repair_dtype(edit: ConfigEdit, target: Target) -> None:
    name = _DTYPE_NAMES.get(target.dtype or "")
    if name is None:
        return
    found = False
    for path, part in list(config_parts(edit.config)):
        for key in ("dtype", "torch_dtype"):
            if isinstance(part.get(key), str):
                edit.set(path, key, name)
                found = True
    if not found and "_class_name" not in edit.config:
        edit.set((), "torch_dtype", name)
