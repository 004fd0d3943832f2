"""Rotary position embeddings as a model's config describes them: how fast each pair of a head's numbers turns.

Formulas: RoPE, arXiv:2104.09864; its scaling for long texts as published with Llama 3.1 (``llama3``) and linear
interpolation (``linear``), arXiv:2306.15595.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from app.recipe.findings import refuse

_THETA = 10_000.0


def frequencies(config: Mapping[str, Any], head_dim: int, ref: str) -> tuple[float, ...]:
    """Radians that pair ``i`` of a head's ``head_dim`` numbers turns from one token to the next.

    Raises Refused for ways of scaling that are not known here. ``ref`` names the model.
    """
    settings = _settings(config)
    theta = _number(settings.get("rope_theta", config.get("rope_theta")), _THETA)
    kind = str(settings.get("rope_type", settings.get("type", "default")))
    partial = _number(settings.get("partial_rotary_factor", config.get("partial_rotary_factor")), 1.0)
    plain = [theta ** (-2 * pair / head_dim) for pair in range(head_dim // 2)]
    if partial == 1.0 and kind == "default":
        return tuple(plain)
    if partial == 1.0 and kind == "linear":
        factor = _number(settings.get("factor"), 1.0)
        return tuple(one / factor for one in plain)
    if partial == 1.0 and kind == "llama3":
        return tuple(_llama3(one, settings) for one in plain)
    raise refuse(
        "positions-unknown", ref, f"{ref} counts positions in a way ({kind[:40]}) that cannot be computed here.",
        "Choose gate_mode: cheap_embed, which needs no positions.",
    )  # fmt: skip


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Older configs call it rope_scaling."""
    for key in ("rope_parameters", "rope_scaling"):
        found = config.get(key)
        if isinstance(found, dict):
            return found
    return {}


def _llama3(frequency: float, settings: Mapping[str, Any]) -> float:
    """Slow pairs turn ``factor`` times slower, fast ones as ever, those between something between."""
    factor = _number(settings.get("factor"), 8.0)
    low, high = _number(settings.get("low_freq_factor"), 1.0), _number(settings.get("high_freq_factor"), 4.0)
    turns = _number(settings.get("original_max_position_embeddings"), 8192.0) * frequency / (2 * math.pi)
    if turns > high:
        return frequency
    if turns < low or high == low:
        return frequency / factor
    smooth = (turns - low) / (high - low)
    return (1 - smooth) * frequency / factor + smooth * frequency


def _number(value: Any, default: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if good else default
