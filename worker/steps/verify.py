"""Fifth step: read back what was written and hold it against the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.planning.header import header_length, parse_header
from app.planning.index import index_among
from app.planning.plan import Plan, Shard
from app.recipe.findings import Refused, refuse
from worker.steps.watch import Watch


def verify(plan: Plan, out: Path, watch: Watch) -> None:
    """Raises Refused (``bad-result``) when a file differs from what the plan says it must be."""
    watch.enter("verifying", "Reading the result back.")
    seen: dict[str, str] = {}
    for shard in plan.shards:
        watch.check()
        seen.update(dict.fromkeys(_tensors_of(shard, out), shard.file))
    if len(seen) != sum(1 for _ in plan.steps()):
        raise _bad("", "A tensor is in two files.")
    index = index_among(plan.texts)
    if index is not None:
        _check_index(_read_json(out, index), seen, index)
    if "config.json" in plan.texts and _read(out, "config.json") != plan.texts["config.json"].encode():
        raise _bad("config.json", "config.json is not what was planned.")
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


def _check_index(index: Mapping[str, Any], seen: Mapping[str, str], file: str) -> None:
    if index.get("weight_map") != dict(seen):
        raise _bad(file, "The index does not name each tensor's file.")


def _read_json(out: Path, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(_read(out, name))
    except ValueError:
        raise _unreadable(name) from None
    if not isinstance(content, dict):
        raise _bad(name, f"{name} is not an object.")
    return content


def _read(out: Path, name: str) -> bytes:
    try:
        return (out / name).read_bytes()
    except OSError:
        raise _unreadable(name) from None


def _unreadable(name: str) -> Refused:
    return _bad(name, f"{name} cannot be read back.")


def _bad(where: str, text: str) -> Refused:
    return refuse("bad-result", where, text, "Try again; if it happens again, check the disk and report the recipe.")
