"""Laying out the result's files: which tensor goes into which shard, at which byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod

from app.planning.facts import DTYPE_BYTES
from app.planning.header import write_header
from app.planning.index import INDEX_FILE
from app.planning.plan import Shard, Step

_ENTRY = 100
"""Upper bound in bytes of a header entry beside name and shape."""


def lay_out(steps: Sequence[Step], shard_bytes: int, metadata: Mapping[str, str]) -> tuple[Shard, ...]:
    """Fill shards in order; none is larger than ``shard_bytes`` unless it holds a single larger tensor. Steps that
    stand for several give shards without headers, whose sizes are right to a few bytes a tensor."""
    groups: list[list[Step]] = [[]]
    start = sum(len(json.dumps(text)) for text in (*metadata, *metadata.values())) + _ENTRY
    sizes = [start]
    for step in steps:
        need = nbytes(step) + len(json.dumps(step.name)) + len(str(step.shape)) + _ENTRY
        for number in range(step.alike):
            if sizes[-1] > start and sizes[-1] + need > shard_bytes:
                groups.append([])
                sizes.append(start)
            if number == 0:
                groups[-1].append(step)
            sizes[-1] += need
    named = [(_name(i, len(groups)), group) for i, group in enumerate(groups, start=1)]
    if any(step.alike > 1 for step in steps):
        return tuple(Shard(name, b"", size, tuple(group), ()) for (name, group), size in zip(named, sizes, strict=True))
    return tuple(_shard(group, name, metadata) for name, group in named)


def write_index(shards: Sequence[Shard]) -> dict[str, str]:
    """The index file's name and text; nothing for a single shard."""
    if len(shards) == 1:
        return {}
    steps = [(step, shard.file) for shard in shards for step in shard.steps]
    content = {
        "metadata": {
            "total_parameters": sum(prod(step.shape) for step, _ in steps),
            "total_size": sum(nbytes(step) for step, _ in steps),
        },
        "weight_map": {step.name: file for step, file in sorted(steps, key=lambda pair: pair[0].name)},
    }
    return {INDEX_FILE: json.dumps(content, indent=2) + "\n"}


def nbytes(step: Step) -> int:
    """Bytes of a step's result."""
    return prod(step.shape) * DTYPE_BYTES[step.dtype]


def _shard(steps: Sequence[Step], file: str, metadata: Mapping[str, str]) -> Shard:
    """Wide dtypes go first, so that every tensor begins at a multiple of its element's size."""
    ordered = sorted(steps, key=lambda step: -DTYPE_BYTES[step.dtype])
    header, offsets = write_header([(step.name, step.dtype, step.shape) for step in ordered], metadata)
    size = offsets[-1] + nbytes(ordered[-1]) if ordered else len(header)
    return Shard(file, header, size, tuple(ordered), offsets)


def _name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"
