"""The CPU back end: NumPy buffers and Numba kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.engine.dtypes import BLOCK, CODES, ITEMSIZE, Array, keep_freed_memory
from worker.engine.histogram import histogram
from worker.engine.kernels import combine, philox, rows, select, shares, sparse
from worker.engine.kernels.sparse import PackedMasks, pack
from worker.engine.masks import Cut, Mask, Stream
from worker.engine.sources import Source

_APART = 256
"""Bytes between rows beyond a power of two, so that rows do not compete for the same cache lines."""


@dataclass(slots=True)
class CpuChunk:
    """``raw`` uint8 [inputs, bytes] and ``out`` uint8 hold dtypes ``codes`` int64 [inputs] and ``out_code``."""

    bench: CpuBench
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
        self._least = BLOCK
        self._codes: dict[tuple[str, ...], Array] = {}
        self.scratch = np.empty(1 << 20, np.uint8)
        self._make(width)

    def _make(self, width: int) -> None:
        self._width = width
        self._rows_of: dict[str, Array] = {}
        self.raw = np.empty((self._rows, width + _APART), np.uint8)
        self.out = np.empty(width, np.uint8)
        self.views = [row.data for row in self.raw]

    def fit(self, width: int) -> None:
        if width > self._width:
            self._make(width)

    def rows(self, kind: type[np.float32 | np.uint32], rows: int, count: int) -> Array:
        """A buffer [rows, count] that stays valid until it is asked for again."""
        name = kind.__name__
        have = self._rows_of.get(name)
        if have is None or have.size < rows * count:
            have = self._rows_of[name] = np.empty(self._rows * max(count, self._least), kind)
        return have[: rows * count].reshape(rows, count)

    def codes(self, dtypes: tuple[str, ...]) -> Array:
        if dtypes not in self._codes:
            self._codes[dtypes] = np.array([CODES[dtype] for dtype in dtypes], np.int64)
        return self._codes[dtypes]


class CpuBackend:
    """``rows``: the most inputs of any tensor; ``itemsize``: the widest dtype in or out, in bytes."""

    def __init__(self, rows: int, itemsize: int, chunk: int) -> None:
        self.chunk = max(BLOCK, chunk // BLOCK * BLOCK)
        keep_freed_memory()
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
        return CpuChunk(bench, start, count, raw, codes, bench.out, CODES[dtype], count * ITEMSIZE[dtype])

    def result(self, chunk: CpuChunk) -> memoryview:
        return chunk.out.data[: chunk.out_bytes]

    def combine(self, chunk: CpuChunk, coefficients: Array, deltas: bool) -> None:
        factors = coefficients.astype(np.float32)
        chunk.unsound |= combine.combine(
            chunk.raw, chunk.codes, factors, deltas, chunk.count, chunk.out, chunk.out_code
        )

    def gram(self, chunk: CpuChunk, sums: Array, deltas: bool) -> None:
        chunk.unsound |= combine.gram(chunk.raw, chunk.codes, deltas, chunk.count, sums)

    def masks(self, masks: Sequence[Mask]) -> PackedMasks:
        return pack(masks)

    def sizes(self, chunk: CpuChunk, masks: PackedMasks, sums: Array) -> None:
        chunk.unsound |= sparse.sizes(chunk.raw, chunk.codes, masks, chunk.start, chunk.count, sums)

    def add_up(self, chunk: CpuChunk, masks: PackedMasks, factors: Array) -> None:
        chunk.unsound |= sparse.add_up(
            chunk.raw, chunk.codes, masks, factors.astype(np.float32), chunk.start, chunk.count, chunk.out,
            chunk.out_code,
        )  # fmt: skip

    def elect(
        self, chunk: CpuChunk, masks: PackedMasks, factors: Array, weights: Array, divide: bool, scale: float
    ) -> None:
        chunk.unsound |= sparse.elect(
            chunk.raw, chunk.codes, masks, factors.astype(np.float32), weights.astype(np.float32), divide,
            np.float32(scale), chunk.start, chunk.count, chunk.out, chunk.out_code,
        )  # fmt: skip

    def magnitudes(self, chunk: CpuChunk) -> Array:
        rows = chunk.bench.rows(np.uint32, len(chunk.codes) - 1, chunk.count)
        chunk.unsound |= select.magnitudes(chunk.raw, chunk.codes, chunk.count, rows)
        return rows

    def bits(self, values: Array) -> Array:
        return values.view(np.uint32)

    def variances(self, chunk: CpuChunk) -> Array:
        rows = chunk.bench.rows(np.uint32, 1, chunk.count)
        chunk.unsound |= shares.variances(chunk.raw, chunk.codes, chunk.count, rows[0])
        return rows

    def to_numpy(self, bits: Array) -> Array:
        return bits

    def tally(self, bits: Array, low: int, high: int) -> tuple[int, int, int, Array]:
        inside = np.empty(len(bits) + 1, np.uint32)
        above, at_high, at_low, found = select.tally(bits, np.uint32(low), np.uint32(high), inside)
        return above, at_high, at_low, inside[:found].copy()

    def histogram(self, bits: Array, low_bits: int, prefix: int | None) -> Array:
        return histogram(bits, low_bits, prefix)

    def keep_by_rank(self, bits: Array, stream: Stream, start: int, thresholds: Array, depth: int, inner: int) -> Array:
        def lines(values: Array) -> Array:
            return np.ascontiguousarray(values.reshape(-1, depth, inner).swapaxes(1, 2)).reshape(-1, depth)

        words = np.empty(len(bits), np.uint32)
        philox.fill(stream.words, start, words)
        magnitudes = lines(bits)
        kept = np.empty(magnitudes.shape, np.uint8)
        rows.keep_by_rank(magnitudes, lines(words), thresholds, kept)
        return kept.reshape(-1, inner, depth).swapaxes(1, 2).reshape(-1)

    def energies(self, chunk: CpuChunk, cut: Cut | None, sums: Array) -> None:
        shares.energies(chunk.raw, chunk.codes, _least(cut), chunk.start, chunk.count, sums)

    def agree(self, chunk: CpuChunk, cut: Cut | None, shares_of: Array) -> None:
        chunk.unsound |= shares.agree(
            chunk.raw, chunk.codes, _least(cut), shares_of.astype(np.float32), chunk.start, chunk.count, chunk.out,
            chunk.out_code,
        )  # fmt: skip

    def count_changes(self, chunk: CpuChunk, epsilon: float, counts: Array) -> None:
        chunk.unsound |= shares.count_changes(chunk.raw, chunk.codes, np.float32(epsilon), chunk.count, counts)

    def share_out(self, chunk: CpuChunk, epsilon: float, alone: Array) -> None:
        chunk.unsound |= shares.share_out(
            chunk.raw, chunk.codes, np.float32(epsilon), alone.astype(np.float32), chunk.count, chunk.out,
            chunk.out_code,
        )  # fmt: skip

    def floats(self, chunk: CpuChunk) -> Array:
        values = chunk.bench.rows(np.float32, len(chunk.codes), chunk.count)
        chunk.unsound |= rows.widen(chunk.raw, chunk.codes, chunk.count, values)
        return values

    def put(self, chunk: CpuChunk, values: Array) -> None:
        chunk.unsound |= rows.narrow(np.ascontiguousarray(values, np.float32), chunk.out, chunk.out_code)


def _least(cut: Cut | None) -> Array:
    """``Cut.least`` as int64 [3]; [0] for no cut."""
    return np.array(() if cut is None else cut.least, np.int64)
