"""Recipes applied by hand: the few rules of the golden recipes' language, with the oracle's arithmetic.

Independent of the reader, the planner and the engine. Source of the rules: docs/recipes.md.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.engine import oracle
from tests.support.checkpoints import read_tensors

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
_LAYER = re.compile(r"\.layers\.(\d+)\.")


def merged(recipe_file: Path) -> dict[str, np.ndarray]:
    """Every tensor of the merge a golden recipe asks for, in float64. Model references are relative to ``GOLDEN``."""
    recipe = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    result: dict[str, np.ndarray] = {}
    first = 0
    slices = recipe.get("slices") or [{"sources": recipe["models"]}]
    for number, piece in enumerate(slices):
        ranges = [source.get("layer_range") or (0, _layers(source["model"])) for source in piece["sources"]]
        count = ranges[0][1] - ranges[0][0]
        for name in _weights(piece["sources"][0]["model"]):
            layer = _layer(name)
            if layer is None:
                if number == (0 if "embed" in name else len(slices) - 1):
                    result[name] = _tensor(recipe, piece, name, [name] * len(ranges), 0.0)
            elif ranges[0][0] <= layer < ranges[0][1]:
                index = layer - ranges[0][0]
                names = [_LAYER.sub(f".layers.{start + index}.", name) for start, _ in ranges]
                out = _LAYER.sub(f".layers.{first + index}.", name)
                result[out] = _tensor(recipe, piece, out, names, index / (count - 1) if count > 1 else 1.0)
        first += count
    return result


def _tensor(recipe: dict[str, Any], piece: dict[str, Any], out: str, names: list[str], t: float) -> np.ndarray:
    """``names`` are the tensor's names in the sources, ``t`` is the place in the slice, from 0 to 1."""
    shared = {name: _value(setting, out, t) for name, setting in recipe.get("parameters", {}).items()}
    base_model = recipe.get("base_model")
    base = None
    inputs, each = [], []
    for source, name in zip(piece["sources"], names, strict=True):
        tensor = _weights(source["model"])[name]
        if source["model"] == base_model:
            base = tensor
            continue
        inputs.append(tensor)
        own = source.get("parameters", {})
        each.append({key: _value(setting, name, t) for key, setting in own.items()})
    if base_model and base is None:
        base = _weights(base_model)[out]
    return oracle.merge(recipe["merge_method"], base, inputs, shared, each)


def _value(setting: Any, name: str, t: float) -> Any:
    """A number, a list of anchors, or rules with filters of which the first that matches counts."""
    if isinstance(setting, dict):
        setting = [setting]
    if isinstance(setting, list) and setting and isinstance(setting[0], dict):
        rule = next(one for one in setting if one.get("filter", "*") == "*" or one["filter"] in name)
        return _value(rule["value"], name, t)
    if not isinstance(setting, list):
        return setting
    place = t * (len(setting) - 1)
    low = min(math.floor(place), len(setting) - 2)
    return setting[low] + (place - low) * (setting[low + 1] - setting[low])


_loaded: dict[str, dict[str, np.ndarray]] = {}


def _weights(model: str) -> dict[str, np.ndarray]:
    if model not in _loaded:
        _loaded[model] = read_tensors(GOLDEN / model)
    return _loaded[model]


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _layers(model: str) -> int:
    return 1 + max(layer for name in _weights(model) if (layer := _layer(name)) is not None)
