"""The mapping of a mixture's recipe, checked key by key. Nothing is passed over: what has no meaning is an error."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from app.recipe.findings import Finding, Refused, did_you_mean
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef

MOST_EXPERTS = 128
MOST_PROMPTS = 64
"""For one expert, of each kind."""
LONGEST_PROMPT = 16_384
"""Letters."""
MOST_SEED = 2**63 - 1
_TOP = (
    "base_model", "gate_mode", "dtype", "experts_per_token", "architecture", "experts", "shared_experts", "seed",
)  # fmt: skip
_EXPERT = ("source_model", "positive_prompts", "negative_prompts", "noise_scale", "residual_scale")
_ARCHITECTURES = {
    "mixtral": "mixtral", "qwen": "qwen2_moe", "qwen2_moe": "qwen2_moe", "qwen3": "qwen3_moe",
    "qwen3_moe": "qwen3_moe",
}  # fmt: skip


def read_mapping(params: Mapping[str, Any], modes: Collection[str], dtypes: Collection[str]) -> dict[str, Any]:
    """The fields of a ``WantedMixture``; ``experts`` and ``shared`` list those of an ``Expert``. Raises Refused."""
    reader = _Reader()
    reader.keys(params, _TOP, "")
    read = {
        "base": reader.reference(params.get("base_model"), "base_model"),
        "gate_mode": reader.one_of(params, "gate_mode", modes, "hidden", "way to make routers"),
        "dtype": reader.one_of(params, "dtype", dtypes, "bfloat16", "number format a mixture can have"),
        "experts_per_token": reader.whole(params, "experts_per_token", 2, 1, MOST_EXPERTS),
        "architecture": reader.architecture(params.get("architecture")),
        "seed": reader.whole(params, "seed", 0, 0, MOST_SEED),
    }
    experts = reader.experts(params.get("experts"), "experts")
    shared = reader.experts(params.get("shared_experts"), "shared_experts")
    if not experts and not reader.findings:
        reader.error("no-experts", "experts", "There is no expert yet.", "Name two or more models as experts.")
    if reader.findings:
        raise Refused(dict.fromkeys(reader.findings))
    return {**read, "experts": experts, "shared": shared}


class _Reader:
    """Collects what is wrong on the way."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def error(self, code: str, where: str, text: str, fix: str = "") -> None:
        self.findings.append(Finding("error", code, where, text, fix))

    def keys(self, raw: Mapping[str, Any], known: Collection[str], where: str) -> None:
        for key in raw:
            if key not in known:
                place = f"{where}.{key}" if where else str(key)
                guess = did_you_mean(str(key), known) or f"Remove it. Known: {', '.join(known)}."
                self.error("unknown-key", place[:160], f'There is no key "{str(key)[:60]}" here.', guess)

    def reference(self, raw: Any, where: str) -> ModelRef | None:
        if not isinstance(raw, str) or not raw.strip():
            self.error("missing-model", where, "No model is named here.", "Write a Hub id (owner/name) or a folder.")
            return None
        try:
            return parse_reference(raw, where)
        except Refused as problem:
            self.findings.extend(problem.findings)
            return None

    def one_of(self, raw: Mapping[str, Any], key: str, known: Collection[str], default: str, what: str) -> str:
        value = raw.get(key)
        if value is None:
            return default
        name = str(value).removeprefix("torch.")
        if name in known:
            return name
        self.error(
            "bad-value", key, f'"{name[:40]}" is no {what}.', did_you_mean(name, known) or f"Known: {', '.join(known)}."
        )
        return default

    def architecture(self, raw: Any) -> str | None:
        if raw is None:
            return None
        name = str(raw).lower().replace("-", "_")
        if name.startswith("deepseek"):
            text = "A DeepSeek mixture would need code that lies on the Hub to be executed, which is never done here."
            self.error("needs-code", "architecture", text, "Use mixtral, or leave the key out.")
        elif name not in _ARCHITECTURES:
            fix = did_you_mean(name, _ARCHITECTURES) or "There are mixtral, qwen2_moe and qwen3_moe."
            self.error("bad-value", "architecture", f'"{name[:40]}" is no kind of mixture that can be made.', fix)
        return _ARCHITECTURES.get(name)

    def whole(self, raw: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
        value = raw.get(key)
        if value is None:
            return default
        if type(value) is not int or not least <= value <= most:
            self.error("bad-value", key, f'"{key}" is a whole number from {least} to {most}.', f"{default} is usual.")
            return default
        return value

    def experts(self, raw: Any, where: str) -> list[dict[str, Any]]:
        if raw is None:
            return []
        if not isinstance(raw, list):
            self.error("not-a-list", where, f'"{where}" must be a list.', 'Start each with "- source_model:".')
            return []
        if len(raw) > MOST_EXPERTS:
            self.error("too-many-experts", where, f"More than {MOST_EXPERTS} experts are not taken.", "Take some out.")
            return []
        return [self.expert(one, f"{where}[{index}]") for index, one in enumerate(raw)]

    def expert(self, raw: Any, where: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.error("missing-model", where, "This entry names no model.", 'Write "- source_model: owner/name".')
            return {}
        self.keys(raw, _EXPERT, where)
        noise = self.number(raw, "noise_scale", where)
        if noise:
            text = "Noise on an expert's weights cannot be made: how it is scaled is written down nowhere."
            self.error("noise-unknown", f"{where}.noise_scale", text, "Remove it, or set it to 0.")
        return {
            "source": self.reference(raw.get("source_model"), f"{where}.source_model"),
            "positive": self.prompts(raw, "positive_prompts", where),
            "negative": self.prompts(raw, "negative_prompts", where),
            "residual": self.number(raw, "residual_scale", where),
        }

    def number(self, raw: Mapping[str, Any], key: str, where: str) -> float | None:
        value = raw.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.error("bad-value", f"{where}.{key}", f'"{key}" is a finite number.', "1 changes nothing.")
            return None
        return float(value)

    def prompts(self, raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value, place = raw.get(key), f"{where}.{key}"
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.error("bad-prompts", place, f'"{key}" is a list of texts.', 'Write each as - "…", in quotes.')
        elif len(value) > MOST_PROMPTS:
            text = f"More than {MOST_PROMPTS} prompts for one expert are not taken."
            self.error("too-many-prompts", place, text, "Keep the most telling ones.")
        elif any(len(one) > LONGEST_PROMPT for one in value):
            text = f"A prompt has more than {LONGEST_PROMPT:,} letters."
            self.error("prompt-too-long", place, text, "A sentence or two say as much.")
        else:
            return tuple(value)
        return ()
