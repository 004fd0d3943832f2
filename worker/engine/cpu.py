"""The CPU back end: NumPy buffers and Numba kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import BLOCK, CODES, ITEMSIZE, Array
from worker.engine.kernels import combine
from worker.engine.sources import Source

_APART = 256
"""Bytes between rows beyond a power of two, so that rows do not compete for the same cache lines."""


@dataclass(slots=True)
class CpuChunk:
    """``raw`` uint8 [inputs, bytes] and ``out`` uint8 hold dtypes ``codes`` int64 [inputs] and ``out_code``."""

    start: int
    count: int
    raw: Array
    codes: Array
    out: Array
    out_code: int
    out_bytes: int
    unsound: int = 0


class CpuBench:
    """Buffers for up to ``rows`` inputs; they grow when a method needs longer rows."""

    def __init__(self, rows: int, width: int) -> None:
        self._rows = rows
        self._codes: dict[tuple[str, ...], Array] = {}
        self.scratch = np.empty(1 << 20, np.uint8)
        self._make(width)

    def _make(self, width: int) -> None:
        self._width = width
        self.raw = np.empty((self._rows, width + _APART), np.uint8)
        self.out = np.empty(width, np.uint8)
        self.views = [row.data for row in self.raw]

    def fit(self, width: int) -> None:
        if width > self._width:
            self._make(width)

    def codes(self, dtypes: tuple[str, ...]) -> Array:
        if dtypes not in self._codes:
            self._codes[dtypes] = np.array([CODES[dtype] for dtype in dtypes], np.int64)
        return self._codes[dtypes]


class CpuBackend:
    """``rows``: the most inputs of any tensor; ``itemsize``: the widest dtype in or out, in bytes."""

    def __init__(self, rows: int, itemsize: int, chunk: int) -> None:
        self.chunk = max(BLOCK, chunk // BLOCK * BLOCK)
        self._rows = rows
        self._itemsize = itemsize

    def bench(self) -> CpuBench:
        return CpuBench(self._rows, self.chunk * self._itemsize)

    def fill(self, bench: CpuBench, sources: tuple[Source, ...], start: int, count: int, dtype: str) -> CpuChunk:
        bench.fit(count * self._itemsize)
        for view, source in zip(bench.views, sources, strict=False):
            source.read(view[: count * source.itemsize], start)
        codes = bench.codes(tuple(source.dtype for source in sources))
        raw = bench.raw[: len(sources)]
        return CpuChunk(start, count, raw, codes, bench.out, CODES[dtype], count * ITEMSIZE[dtype])

    def result(self, chunk: CpuChunk) -> memoryview:
        return chunk.out.data[: chunk.out_bytes]

    def combine(self, chunk: CpuChunk, coefficients: Array, deltas: bool) -> None:
        factors = coefficients.astype(np.float32)
        chunk.unsound |= combine.combine(
            chunk.raw, chunk.codes, factors, deltas, chunk.count, chunk.out, chunk.out_code
        )

    def gram(self, chunk: CpuChunk, sums: Array, deltas: bool) -> None:
        chunk.unsound |= combine.gram(chunk.raw, chunk.codes, deltas, chunk.count, sums)
