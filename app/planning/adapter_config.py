"""adapter_config.json: the settings of a LoRA adapter in PEFT's format, as far as they decide what it adds.

Format and meaning: the LoraConfig of the PEFT documentation. Rank patterns and alpha patterns are matched against the
end of a module's name. They may be regular expressions; of those only ones that cannot run away are tried.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.planning.facts import ModelFacts
from app.planning.strict_json import BadJson, load_object, short
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.references import is_hub_id

ADAPTER_CONFIG = "adapter_config.json"
_USE_MERGED = "Merge the adapter into its base with the tool that made it, and use the merged model."
_CANNOT: Mapping[str, str] = {
    "alora_invocation_tokens": "acts on some tokens only (aLoRA)",
    "arrow_config": "chooses between adapters while it runs (Arrow)",
    "kasa_config": "also changes the base model (KaSA)",
    "layer_replication": "repeats layers of its base (layer_replication)",
    "monteclora_config": "draws its factors at random (MonteCLoRA)",
    "trainable_token_indices": "changes single tokens' rows (trainable_token_indices)",
    "use_bdlora": "has factors in blocks (BD-LoRA)",
    "use_qalora": "pools its inputs (QA-LoRA)",
}
"""Settings that make more of an adapter than a sum of two matrices."""
_PARAMETERS = "target_parameters"
_CHANGED_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""Ways to begin the training that change the base's own weights."""
_KNOWN = frozenset(
    {
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying",
        "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
        "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config",
        "megatron_config", "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r",
        "rank_pattern", "revision", "runtime_config", "target_modules", _PARAMETERS, "task_type", "use_dora",
        "use_rslora", "velora_config", "merge_weights", "enable_lora",
    }
)  # fmt: skip
_LITERAL = re.compile(r"\^?[\w.\\-]+\$?", re.ASCII)
_QUANTIFIER = re.compile(r"[*+?{]")
_NESTED = re.compile(r"\)[*+?{]|\\\d|\(\?[^:]")
_MOST_QUANTIFIERS = 3
_LONGEST_PATTERN = 300
_LARGEST_RANK = 65_536


@dataclass(frozen=True)
class AdapterSettings:
    """``rank`` and ``alpha`` hold for modules that no pattern names. ``parameters``: ends of the names of parameters
    that are changed though they are no linear layer's weight."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rslora: bool
    transposed: bool
    keeps_tie: bool
    saved: tuple[str, ...]
    parameters: tuple[str, ...]
    base: str | None
    strange: tuple[str, ...]

    def rank_of(self, module: str) -> int:
        key = _matching(self.ranks, module)
        return self.rank if key is None else self.ranks[key]

    def scale(self, module: str, rank: int) -> float:
        """alpha / r, or alpha / √r when the rank is stabilised (arXiv 2312.03732)."""
        key = _matching(self.alphas, module)
        alpha = self.alpha if key is None else self.alphas[key]
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def is_adapter(facts: ModelFacts) -> bool:
    """Whether these are the facts of an adapter on its own."""
    return not facts.config and ADAPTER_CONFIG in facts.texts


def made_for(facts: ModelFacts) -> str | None:
    """The Hub id of the model that an adapter says it was made for."""
    try:
        base = _word(load_object(facts.texts[ADAPTER_CONFIG].encode(errors="replace")).get("base_model_name_or_path"))
    except BadJson:
        return None
    return base if base and is_hub_id(base) else None


def read_settings(facts: ModelFacts) -> AdapterSettings:
    """The settings of an adapter. Raises Refused: unreadable, another kind than LoRA, or doing more than LoRA."""
    where = facts.ref
    try:
        raw = load_object(facts.texts.get(ADAPTER_CONFIG, "").encode(errors="replace"), infinite=True)
    except BadJson as error:
        raise _bad(where, f"{ADAPTER_CONFIG} {error}.") from error
    findings = list(_unsupported(raw, where))
    if findings:
        raise Refused(findings)
    return AdapterSettings(
        rank=_rank(raw.get("r"), "r", where),
        alpha=_number(raw.get("lora_alpha"), "lora_alpha", where),
        ranks={key: _rank(value, "rank_pattern", where) for key, value in _pattern(raw, "rank_pattern", where)},
        alphas={key: _number(value, "alpha_pattern", where) for key, value in _pattern(raw, "alpha_pattern", where)},
        rslora=raw.get("use_rslora") is True,
        transposed=raw.get("fan_in_fan_out") is True,
        keeps_tie=raw.get("ensure_weight_tying") is True,
        saved=_words(raw.get("modules_to_save")),
        parameters=_words(raw.get(_PARAMETERS)),
        base=_word(raw.get("base_model_name_or_path")),
        strange=tuple(short(key, 40) for key, value in raw.items() if value and key not in _KNOWN | _CANNOT.keys()),
    )


def _unsupported(raw: Mapping[str, Any], where: str) -> Iterator[Finding]:
    kind = raw.get("peft_type")
    if kind != "LORA":
        text = f"This adapter is of the kind {short(kind, 40)}, not LORA." if kind else "It does not say it is LORA."
        yield Finding("error", "adapter-unsupported", where, text, _USE_MERGED)
        return
    for key, does in _CANNOT.items():
        if raw.get(key):
            text = f"This adapter {does}, which cannot be added to weights here."
            yield Finding("error", "adapter-unsupported", where, text, _USE_MERGED)
    begun = raw.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(_CHANGED_BASE):
        text = f"This adapter was begun with {short(begun, 40)}, which changes the base's weights: it fits only those."
        fix = "Save it again converted to plain LoRA (PEFT: path_initial_model_for_weight_conversion)."
        yield Finding("error", "adapter-unsupported", where, text, fix)


def _pattern(raw: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[str, Any]]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise _bad(where, f"{key} is not an object.")
    for pattern in value:
        if not _LITERAL.fullmatch(pattern) and not _harmless(pattern):
            raise _bad(where, f"{key} has a pattern that is not tried here: {short(pattern, 60)}.")
    yield from value.items()


def _harmless(pattern: str) -> bool:
    """Whether a regular expression can be tried on a name without taking long."""
    if len(pattern) > _LONGEST_PATTERN or _NESTED.search(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return len(_QUANTIFIER.findall(pattern)) <= _MOST_QUANTIFIERS


def _matching(patterns: Mapping[str, Any], module: str) -> str | None:
    """The first pattern that matches the whole name, or what follows one of its dots."""
    return next((key for key in patterns if re.match(rf"(?:.*\.)?(?:{key})$", module)), None)


def _rank(value: Any, key: str, where: str) -> int:
    if type(value) is not int or not 0 < value <= _LARGEST_RANK:
        raise _bad(where, f"{key} is {short(str(value), 40)}, not a rank.")
    return value


def _number(value: Any, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(where, f"{key} is {short(str(value), 40)}, not a number.")
    return float(value)


def _words(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value and value.isprintable() and len(value) < 200 else None


def _bad(where: str, text: str) -> Refused:
    return refuse("bad-adapter-config", where, text, "Repair the adapter's settings, or use another version of it.")
