"""Laying out the result's files: which tensor goes into which shard, at which byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod

from app.planning.facts import DTYPE_BYTES, ModelFacts
from app.planning.header import write_header
from app.planning.index import INDEX_FILE
from app.planning.plan import Shard, Step

SHARD_BYTES = 5_000_000_000
"""Of one file of weights, at most."""
_ENTRY = 100
"""Upper bound in bytes of a header entry beside name and shape."""


def files_of(
    steps: Sequence[Step], donor: ModelFacts, shard_bytes: int, metadata: Mapping[str, str]
) -> tuple[tuple[Shard, ...], dict[str, str]]:
    """The files of the result and their index, called as libraries of language models look for them. A donor whose
    files have names of their own hands these on: whatever reads it finds the result by them."""
    if donor.own_names is None:
        shards = lay_out(steps, shard_bytes, metadata)
        return shards, write_index(shards)
    shards = lay_out_like(steps, donor, metadata)
    return shards, write_index(shards, donor.own_names.index) if donor.own_names.index else {}


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


def lay_out_like(steps: Sequence[Step], donor: ModelFacts, metadata: Mapping[str, str]) -> tuple[Shard, ...]:
    """Files called as the donor's, each tensor in the one where it lies there. What the donor lacks comes into the file
    of the tensor before it."""
    own = {file.name for file in donor.files}
    groups: dict[str, list[Step]] = {file: [] for file in donor.weight_files if file in own}
    home = next(iter(groups))
    for step in steps:
        there = donor.tensors.get(step.name)
        home = there.file if there is not None and there.file in own else home
        groups[home].append(step)
    return tuple(_like(group, file, metadata) for file, group in groups.items() if group)


def _like(group: Sequence[Step], file: str, metadata: Mapping[str, str]) -> Shard:
    """Of steps that stand for several, the size is right to a few bytes a tensor, and there is no header."""
    if any(step.alike > 1 for step in group):
        return Shard(file, b"", sum((nbytes(step) + _ENTRY) * step.alike for step in group), tuple(group), ())
    return _shard(group, file, metadata)


def write_index(shards: Sequence[Shard], file: str | None = None) -> dict[str, str]:
    """The index file's name and text; nothing for a single shard. ``file``: how it is called, and that there is one."""
    if len(shards) == 1 and file is None:
        return {}
    steps = [(step, shard.file) for shard in shards for step in shard.steps]
    content = {
        "metadata": {
            "total_parameters": sum(prod(step.shape) for step, _ in steps),
            "total_size": sum(nbytes(step) for step, _ in steps),
        },
        "weight_map": {step.name: file for step, file in sorted(steps, key=lambda pair: pair[0].name)},
    }
    return {file or INDEX_FILE: json.dumps(content, indent=2) + "\n"}


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
