"""Compiling the kernels before they are needed: one tiny merge with every method of the catalogue."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from app.planning.facts import FileFacts, ModelFacts
from app.planning.header import parse_header, write_header
from app.planning.plan import Input, Plan, Shard, Step, Values
from app.recipe.catalogue import METHODS, Method, Parameter
from app.recipe.schema import Recipe, Scalar
from worker.engine.adapted import add_low_rank
from worker.engine.execute import execute

_SHAPE = (520, 512)
"""Large enough for the exact selection of large tensors, small enough for a second."""
_FILE = "model.safetensors"
_PARENTS = 3
_PARTLY = ("density", "select_topk")
"""At their defaults these keep everything, and what leaves things out would not be compiled."""


def warm_up() -> None:
    """Compile and cache every kernel of the CPU back end. A few seconds the first time, then almost nothing."""
    add_low_rank(np.zeros(1, np.float32), 0, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), np.float32(1))
    with tempfile.TemporaryDirectory(prefix="weightloom-warm-up-") as name:
        folders = [Path(name) / str(index) for index in range(_PARENTS)]
        parents = tuple(_parent(folder, seed) for seed, folder in enumerate(folders))
        steps = tuple(_steps(parents))
        header, offsets = write_header([(step.name, step.dtype, step.shape) for step in steps], {})
        shard = Shard(_FILE, header, offsets[-1] + prod(_SHAPE) * 4, steps, offsets)
        execute(Plan(Recipe("linear"), parents, (shard,)), folders, Path(name))


def _parent(folder: Path, seed: int) -> ModelFacts:
    header, _ = write_header([("weight", "F32", _SHAPE)], {})
    raw = header + np.random.default_rng(seed).standard_normal(_SHAPE, np.float32).tobytes()
    folder.mkdir()
    (folder / _FILE).write_bytes(raw)
    return ModelFacts(folder.name, {}, parse_header(header, _FILE, len(raw)), (FileFacts(_FILE, len(raw)),))


def _steps(parents: tuple[ModelFacts, ...]) -> Iterator[Step]:
    for method in METHODS.values():
        yield _step(f"{method.name}", method, parents, {})
        for parameter in method.parameters:
            if parameter.kind == "boolean" and parameter.used:
                other = {parameter.name: not parameter.default}
                yield _step(f"{method.name}.{parameter.name}", method, parents, other)


def _step(name: str, method: Method, parents: tuple[ModelFacts, ...], changed: Values) -> Step:
    based = method.base == "required"
    most = method.max_parents or _PARENTS
    count = min(most - method.base_counts, _PARENTS - based)
    each = {one.name: _value(one) for one in method.parameters if one.scope != "tensor"}
    shared = {one.name: _value(one) for one in method.parameters if one.scope == "tensor"} | dict(changed)
    inputs = tuple(Input(i + based, parents[i + based].tensors["weight"], each) for i in range(count))
    base = Input(0, parents[0].tensors["weight"]) if based else None
    return Step(name, "F32", _SHAPE, method.name, inputs, base, shared)


def _value(parameter: Parameter) -> Scalar:
    if parameter.name in _PARTLY or parameter.default is None:
        return (parameter.low + parameter.high) / 2
    return parameter.default
