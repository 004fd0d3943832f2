"""Fifth step: read back what was written and hold it against the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.planning.header import header_length, parse_header
from app.planning.plan import Plan, Shard
from app.recipe.findings import Refused, refuse
from worker.steps.watch import Watch

INDEX = "model.safetensors.index.json"
_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


def verify(plan: Plan, out: Path, watch: Watch) -> None:
    """Raises Refused (``bad-result``) when a file differs from what the plan says it must be."""
    watch.enter("verifying", "Reading the result back.")
    seen: dict[str, str] = {}
    for shard in plan.shards:
        watch.check()
        seen.update(dict.fromkeys(_tensors_of(shard, out), shard.file))
    if len(seen) != sum(1 for _ in plan.steps()):
        raise _bad("", "A tensor is in two files.")
    if INDEX in plan.texts or len(plan.shards) > 1:
        _check_index(_read_json(out, INDEX), seen)
    _check_config(plan, _read_json(out, "config.json"))
    watch.log(f"All {len(seen)} tensors are in place.")


def _tensors_of(shard: Shard, out: Path) -> set[str]:
    """The names in a shard, once its size and every dtype, shape and place in it are as planned."""
    path = out / shard.file
    size = path.stat().st_size
    if size != shard.size:
        raise _bad(shard.file, f"{shard.file} has {size} bytes and not {shard.size}.")
    with path.open("rb") as file:
        first = file.read(8)
        raw = first + file.read(header_length(first, shard.file, size))
    found = {name: (one.dtype, one.shape, one.begin) for name, one in parse_header(raw, shard.file, size).items()}
    planned = {
        step.name: (step.dtype, step.shape, offset) for step, offset in zip(shard.steps, shard.offsets, strict=True)
    }
    if found != planned:
        wrong = sorted(name for name in found.keys() | planned.keys() if found.get(name) != planned.get(name))
        raise _bad(shard.file, f"{shard.file} does not hold {wrong[0]} as planned.")
    return set(found)


def _check_index(index: Mapping[str, Any], seen: Mapping[str, str]) -> None:
    if index.get("weight_map") != dict(seen):
        raise _bad(INDEX, "The index does not name each tensor's file.")


def _check_config(plan: Plan, config: Mapping[str, Any]) -> None:
    """The number of layers, where the config tells it in one of the usual words."""
    layers = {step.layer for step in plan.steps() if step.layer is not None}
    told = {name: config[name] for name in _LAYER_COUNTS if isinstance(config.get(name), int)}
    for name, count in told.items():
        if layers and count != len(layers):
            raise _bad("config.json", f"config.json says {name} = {count}, but there are {len(layers)} layers.")


def _read_json(out: Path, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads((out / name).read_bytes())
    except (OSError, ValueError):
        raise _bad(name, f"{name} cannot be read back.") from None
    if not isinstance(content, dict):
        raise _bad(name, f"{name} is not an object.")
    return content


def _bad(where: str, text: str) -> Refused:
    return refuse("bad-result", where, text, "Try again; if it happens again, check the disk and report the recipe.")
