"""Before the weights: matrices with a row for each token, laid out in the order of the result's vocabulary."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

from app.planning.facts import DTYPE_BYTES
from app.planning.plan import Alignment, Input, MadeTensor, Plan, PreparedTensor, Shard, Step
from app.recipe.counted import counted
from worker.engine.dtypes import Array, decode
from worker.engine.reading import reading
from worker.engine.sources import Place, Source
from worker.steps.watch import Watch

FOLDER = ".aligned"
"""In the unfinished folder."""
KEPT = ".kept-"
"""How the names of files begin, in the unfinished folder, that the next attempt makes use of."""
BLOCK_BYTES = 4 << 20
"""Of a matrix in memory at a time."""


Combined = Mapping[int, tuple[Array, Array]]
"""By a row of the result: rows of the matrix it is laid out from, int [n], and how much of each goes in, fp64 [n]."""
NOTHING: Combined = MappingProxyType({})
Combine = Callable[[Alignment, Plan, tuple[Path | Place, ...]], Combined]
"""Finds the rows that are made of others, before a matrix is laid out. Raises likewise."""


def _as_planned(*_: object) -> Combined:
    return NOTHING


@contextmanager
def aligned(
    plan: Plan, folders: Sequence[Path | Place], work: Path, watch: Watch, threads: int | None = None, *,
    combine: Combine = _as_planned,
) -> Iterator[tuple[Plan, tuple[Path | Place, ...]]]:  # fmt: skip
    """The plan and folders that the engine takes: those given, or with the aligned matrices written into ``work`` and
    standing beside the parents. They are gone afterwards. ``threads`` make what is made on the way. What ``combine``
    finds goes before the plan's fillings. Raises Refused, OSError, or what ``watch`` raises."""
    if not plan.alignments:
        yield plan, tuple(folders)
        return
    folder = work / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        watch.log(f"Laying out {counted(len(plan.alignments), 'matrix', 'matrices')} for the new vocabulary.")
        prepared, places = beside(plan, folders, folder)
        for one in prepared.alignments:
            combined = combine(one, prepared, places)
            write_aligned(one, prepared, places, folder / one.tensor.file, watch, threads, combined)
        yield prepared, places
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(plan: Plan, folders: Sequence[Path | Place], folder: Path) -> tuple[Plan, tuple[Path | Place, ...]]:
    """The plan with every parent once more, as the one whose files are the tensors prepared in ``folder``."""
    count = len(plan.parents)

    def moved(one: Input) -> Input:
        if isinstance(one.tensor, MadeTensor):
            return replace(one, tensor=replace(one.tensor, step=step(one.tensor.made_by)))
        return replace(one, parent=one.parent + count) if isinstance(one.tensor, PreparedTensor) else one

    def step(one: Step) -> Step:
        return replace(one, inputs=tuple(map(moved, one.inputs)), base=moved(one.base) if one.base else None)

    def shard(one: Shard) -> Shard:
        return replace(one, steps=tuple(map(step, one.steps)))

    def alignment(one: Alignment) -> Alignment:
        tensor = replace(one.tensor, laid_out=moved(one.tensor.origin))
        return replace(one, tensor=tensor, sources={source: moved(matrix) for source, matrix in one.sources.items()})

    shadows = tuple(replace(parent, tensors={}, files=(), commit=None) for parent in plan.parents)
    prepared = replace(
        plan, parents=(*plan.parents, *shadows), shards=tuple(map(shard, plan.shards)),
        alignments=tuple(map(alignment, plan.alignments)),
    )  # fmt: skip
    return prepared, (*folders, *(folder for _ in plan.parents))


def write_aligned(
    one: Alignment, plan: Plan, places: Sequence[Path | Place], path: Path, watch: Watch, threads: int | None = None,
    combined: Combined = NOTHING,
) -> None:  # fmt: skip
    """Write the raw rows of ``one.tensor`` to ``path``, a block of rows at a time."""

    def write(opened: Sequence[Source], check: Callable[[], None]) -> None:
        origin, *others = (Matrix(source, matrix) for source, matrix in zip(opened, one.inputs, strict=True))
        with path.open("wb") as file:
            sources = dict(zip(one.sources, others, strict=True))
            _Writer(one, origin, sources, check, combined).write(file.fileno())

    reading(plan, places, one.inputs, write, check=watch.check, threads=threads)


class _Writer:
    def __init__(
        self, one: Alignment, origin: Matrix, sources: dict[int, Matrix], check: Callable[[], None], combined: Combined
    ) -> None:
        self._one, self._origin, self._sources, self._check = one, origin, sources, check
        self._combined = combined
        self._own = np.asarray(one.own, np.int64)
        self._mean: Array | None = None

    def write(self, descriptor: int) -> None:
        rows = self._one.tensor.shape[0]
        step = max(1, BLOCK_BYTES // max(1, self._origin.elements * 8))
        for start in range(0, rows, step):
            _write_all(descriptor, self._block(start, min(start + step, rows)))
            self._check()

    def _block(self, start: int, end: int) -> Array:
        """Rows ``[start, end)`` as they go into the file, uint8 [bytes]."""
        own, dtype = self._own[start:end], self._one.tensor.dtype
        there = own >= 0
        raw = np.zeros((end - start, self._origin.elements * DTYPE_BYTES[dtype]), np.uint8)
        if there.any():
            raw[there] = _cast(self._origin.read(own[there]), self._origin.dtype, dtype)
        for row in np.flatnonzero(~there):
            raw[row] = self._filled(start + int(row), dtype)
        return raw.reshape(-1)

    def _filled(self, row: int, dtype: str) -> Array:
        """The row that stands in for one the parent lacks."""
        if row in self._combined:
            rows, weights = self._combined[row]
            return encode(weights @ decode(self._origin.read(rows), self._origin.dtype).astype(np.float64), dtype)
        sources = self._one.fill[row]
        if sources is None:
            return encode(self._mean_row(), dtype)
        if len(sources) == 1:
            parent, number = sources[0]
            source = self._sources[parent]
            return _cast(source.read(np.array([number])), source.dtype, dtype).reshape(-1)
        total = np.zeros(self._origin.elements, np.float64)
        for parent, number in sources:
            source = self._sources[parent]
            total += decode(source.read(np.array([number]))[0], source.dtype)
        return encode(total / max(1, len(sources)), dtype)

    def _mean_row(self) -> Array:
        """The mean of all rows of the parent's own matrix, fp64 [elements of a row]."""
        if self._mean is None:
            self._mean = mean_row(self._origin, self._check)
        return self._mean


class Matrix:
    """A matrix that is read row by row."""

    def __init__(self, source: Source, matrix: Input) -> None:
        self.rows, self.elements, self.dtype = matrix.tensor.shape[0], prod(matrix.tensor.shape[1:]), source.dtype
        self._source = source

    def read(self, rows: Array) -> Array:
        """These rows, raw: uint8 [rows, bytes of a row]. Rows that follow each other are read at once."""
        raw = np.empty((len(rows), self.elements * DTYPE_BYTES[self.dtype]), np.uint8)
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(rows)], strict=True):
            self._source.read(raw[first:last].reshape(-1).data, int(rows[first]) * self.elements)
        return raw


def mean_row(matrix: Matrix, check: Callable[[], None]) -> Array:
    """The mean of all rows, fp64 [elements of a row]."""
    total = np.zeros(matrix.elements, np.float64)
    step = max(1, BLOCK_BYTES // max(1, matrix.elements * 8))
    for start in range(0, matrix.rows, step):
        block = matrix.read(np.arange(start, min(start + step, matrix.rows)))
        total += decode(block, matrix.dtype).sum(axis=0, dtype=np.float64)
        check()
    mean: Array = total / matrix.rows
    return mean


def encode(values: Array, dtype: str) -> Array:
    """The raw form (uint8) of numbers that ``dtype`` holds exactly, or as F32 and F64 rounded once."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32) >> np.uint32(16)
        return bits.astype(np.uint16).view(np.uint8)
    kind = {"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype]
    return np.ascontiguousarray(values, kind).view(np.uint8)


def _cast(raw: Array, before: str, after: str) -> Array:
    return raw if before == after else encode(decode(raw, before), after)


def _write_all(descriptor: int, raw: Array) -> None:
    left = raw.data
    while left:
        left = left[os.write(descriptor, left) :]
