"""What the pages and the API tell of a model, out of its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.planning.adapters import about_adapter
from app.planning.facts import ModelFacts
from app.planning.layers import read_structure
from app.planning.strict_json import BadJson, load_object

_CONFIG_KEYS = (
    "model_type", "architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "vocab_size", "max_position_embeddings", "tie_word_embeddings", "dtype", "torch_dtype",
)  # fmt: skip
_ADAPTER_KEYS = (
    "peft_type", "base_model_name_or_path", "task_type", "r", "lora_alpha", "target_modules", "use_dora", "use_rslora",
    "modules_to_save",
)  # fmt: skip
_LONGEST = 200


def summary(facts: ModelFacts) -> dict[str, Any]:
    """A model in JSON's types: where it comes from, how large it is, what it is made of, which files it has."""
    return {
        "ref": facts.ref,
        "commit": facts.commit,
        "licence": facts.licence,
        "private": facts.private,
        "gated": facts.gated,
        "downloads": facts.downloads,
        "base_models": list(facts.base_models),
        "adapter": _adapter(facts),
        "parameters": facts.parameters,
        "tensors": len(facts.tensors),
        "dtypes": list(facts.dtypes),
        "layers": layers_of(facts) or None,
        "config": config_summary(facts.config),
        "files": [
            {"name": file.name, "size": file.size, "sha256": file.sha256, "present": file.present}
            for file in facts.files
        ],
    }


def _adapter(facts: ModelFacts) -> dict[str, Any] | None:
    if facts.adapter is None:
        return None
    return {"ref": facts.adapter.ref, "commit": facts.adapter.commit, "licence": facts.adapter.licence,
            "about": about_adapter(facts)}  # fmt: skip


def layers_of(facts: ModelFacts) -> int:
    """What the config tells; without a config, the layers of the main stack by its tensors' names (slow for many)."""
    return (layer_count(facts.config) or 0) if facts.config else read_structure(facts).layers


def layer_count(config: Mapping[str, Any]) -> int | None:
    """The number of layers the config tells, of the text model where there are several."""
    layers = _of_text_model(config, "num_hidden_layers")
    return layers if isinstance(layers, int) and not isinstance(layers, bool) else None


def config_summary(config: Mapping[str, Any]) -> dict[str, Any]:
    """The few keys of a config that people compare. Values of a kind they never have are left out: the file is a
    stranger's."""
    told = {key: _of_text_model(config, key) for key in _CONFIG_KEYS}
    return {key: value for key, value in told.items() if _is_plain(value)}


def adapter_summary(text: str) -> dict[str, Any]:
    """The few keys of an ``adapter_config.json`` that people compare; nothing of one that cannot be read."""
    try:
        told = load_object(text.encode(errors="replace"), infinite=True)
    except BadJson:
        return {}
    return {key: told[key] for key in _ADAPTER_KEYS if _is_plain(told.get(key))}


def _of_text_model(config: Mapping[str, Any], key: str) -> Any:
    inner = config.get("text_config")
    return config.get(key) if key in config or not isinstance(inner, Mapping) else inner.get(key)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST
    if isinstance(value, list):
        return len(value) <= 8 and all(isinstance(one, str) and len(one) <= _LONGEST for one in value)
    return isinstance(value, bool | int)
