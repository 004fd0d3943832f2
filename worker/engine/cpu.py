"""The CPU back end: NumPy buffers and Numba kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from worker.engine.backend import Tallied
from worker.engine.dtypes import BLOCK, CODES, ITEMSIZE, LANES, STEP, TILE_ROW, Array, keep_freed_memory
from worker.engine.histogram import histogram
from worker.engine.kernels.native import Flat, entry
from worker.engine.masks import MARKED, RANDOM, ByRank, Cut, Mask, pack
from worker.engine.sources import Source

_APART = 256
"""Bytes between rows beyond a power of two, so that rows do not compete for the same cache lines."""

_REMEMBERED = 32 << 20
"""Bytes that the draws for one tensor may take; those of larger tensors are drawn again."""

_KEPT = 1 << 19
"""Bytes of results that stay valid, to be written together: more would not stay in a core's own cache."""

_MANY = 64
_LINE = 64
"""Bytes of a cache line."""


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """An empty array that begins with a cache line: wide loads that cross lines take longer."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE, np.uint8)
    skip = -memory.ctypes.data % _LINE
    return memory[skip : skip + size].view(dtype).reshape(shape)


@dataclass(slots=True)
class CpuChunk:
    """Elements ``start``... of ``parents`` inputs, in the buffers of ``bench``.

    ``inputs``: the raw rows uint8 [parents, bytes] and their dtypes int64 [parents], as kernels take them; ``out``:
    the buffer of the result uint8 and its dtype.
    """

    bench: CpuBench
    start: int
    count: int
    parents: int
    inputs: tuple[Flat, Flat]
    out: tuple[Flat, int]
    out_bytes: int
    unsound: int = 0


class CpuBench:
    """Buffers for up to ``rows`` inputs; they grow when a method needs longer rows."""

    _inputs: tuple[Flat, Flat]

    def __init__(self, rows: int, width: int) -> None:
        self._rows = rows
        kept = (
            aligned((rows + 8, TILE_ROW), np.float32),
            aligned((4, TILE_ROW), np.float64),
            aligned((rows, BLOCK), np.uint32),
            aligned((rows * (rows + 1) // 2 + rows, LANES), np.float64),
        )
        kept[3][:] = 0.0
        self.tiles, wide, self.words, self.lanes = map(Flat, kept)
        self.spread = (self.tiles, wide)
        self.voting = (self.tiles, wide, self.words)
        self._least = BLOCK
        self._inside = np.empty(0, np.uint32)
        self._known: dict[int, tuple[Array, Flat]] = {}
        self.scratch = np.empty(1 << 20, np.uint8)
        self._make(width)

    def _make(self, width: int) -> None:
        self._width = width
        self._rows_of: dict[str, Array] = {}
        self.raw = aligned((self._rows, width + _APART), np.uint8)
        self.kept = max(1, _KEPT // width)
        self._outs = [Flat(aligned((width,), np.uint8)) for _ in range(self.kept)]
        self.views = [row.data for row in self.raw]
        self._inputs_of: tuple[Source, ...] | None = None
        self._turn = 0

    def out(self) -> Flat:
        """Room for the result of the next chunk, uint8: that of ``kept`` chunks before."""
        self._turn = (self._turn + 1) % self.kept
        return self._outs[self._turn]

    def fit(self, width: int) -> None:
        if width > self._width:
            self._make(width)

    def inputs(self, sources: tuple[Source, ...]) -> tuple[Flat, Flat]:
        """The rows of ``raw`` that ``sources`` are read into, and their dtypes."""
        if self._inputs_of is not sources:
            dtypes = np.array([CODES[source.dtype] for source in sources], np.int64)
            self._inputs_of, self._inputs = sources, (Flat(self.raw[: len(sources)]), Flat(dtypes))
        return self._inputs

    def rows(self, kind: type[np.float32 | np.uint32], rows: int, count: int) -> Array:
        """A buffer [rows, count] that stays valid until it is asked for again."""
        name = kind.__name__
        have = self._rows_of.get(name)
        if have is None or have.size < rows * count:
            have = self._rows_of[name] = np.empty(self._rows * max(count, self._least), kind)
        return have[: rows * count].reshape(rows, count)

    def inside(self, rows: int, count: int) -> Array:
        """Room for values that are collected, uint32 [rows, count]; most of it is seldom touched."""
        if self._inside.size < rows * count:
            self._inside = np.empty(rows * count, np.uint32)
        return self._inside[: rows * count].reshape(rows, count)

    def flat(self, values: Array, dtype: type[np.generic]) -> Flat:
        """``values`` as ``dtype``. Methods give the same array chunk after chunk: what was made of it is kept."""
        known = self._known.get(id(values))
        if known is None or known[0] is not values:
            if len(self._known) > _MANY:
                self._known.clear()
            known = self._known[id(values)] = (values, Flat(values.astype(dtype, copy=False)))
        return known[1]


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
        out = (bench.out(), CODES[dtype])
        return CpuChunk(bench, start, count, len(sources), bench.inputs(sources), out, count * ITEMSIZE[dtype])

    def result(self, chunk: CpuChunk) -> memoryview:
        return chunk.out[0].array.data[: chunk.out_bytes]

    def combine(self, chunk: CpuChunk, coefficients: Array, deltas: bool) -> None:
        factors = chunk.bench.flat(coefficients, np.float32)
        chunk.unsound |= entry("combine.combine")(
            *chunk.inputs, factors, deltas, chunk.count, *chunk.out, chunk.bench.tiles
        )

    def gram(self, chunk: CpuChunk, sums: Array, deltas: bool) -> None:
        chunk.unsound |= entry("combine.gram")(
            *chunk.inputs, deltas, chunk.count, chunk.bench.flat(sums, np.float64), chunk.bench.tiles, chunk.bench.lanes
        )

    def masks(self, masks: Sequence[Mask], elements: int = 0) -> tuple[Flat, ...]:
        room = -(-elements // 8)
        return tuple(map(Flat, pack(masks, room if room * len(masks) <= _REMEMBERED else 0)))

    def remember(self, masks: tuple[Flat, ...]) -> None:
        kinds, *_, bits = (one.array for one in masks)
        if bits.shape[1]:
            kinds[kinds == RANDOM] = MARKED

    def sizes(self, chunk: CpuChunk, masks: tuple[Flat, ...], sums: Array) -> None:
        bench = chunk.bench
        chunk.unsound |= entry("sparse.sizes")(
            *chunk.inputs, *masks, chunk.start, chunk.count, bench.flat(sums, np.float64), bench.tiles, bench.words,
            bench.lanes,
        )  # fmt: skip

    def add_up(self, chunk: CpuChunk, masks: tuple[Flat, ...], factors: Array) -> None:
        chunk.unsound |= entry("sparse.add_up")(
            *chunk.inputs, *masks, chunk.bench.flat(factors, np.float32), chunk.start, chunk.count, *chunk.out,
            chunk.bench.tiles, chunk.bench.words,
        )  # fmt: skip

    def elect(
        self, chunk: CpuChunk, masks: tuple[Flat, ...], factors: Array, weights: Array, divide: bool, scale: float
    ) -> None:
        bench = chunk.bench
        chunk.unsound |= entry("sparse.elect")(
            *chunk.inputs, *masks, bench.flat(factors, np.float32), bench.flat(weights, np.float32), divide, scale,
            chunk.start, chunk.count, *chunk.out, *bench.voting,
        )  # fmt: skip

    def consent(
        self, chunk: CpuChunk, masks: tuple[Flat, ...], weights: Array, thresholds: Array, least: int, vote: bool,
        divide: bool, scale: float,
    ) -> None:  # fmt: skip
        bench = chunk.bench
        chunk.unsound |= entry("consensus.consent")(
            *chunk.inputs, *masks, bench.flat(weights, np.float32), bench.flat(thresholds, np.float32), least, vote,
            divide, scale, chunk.start, chunk.count, *chunk.out, *bench.voting,
        )  # fmt: skip

    def magnitudes(self, chunk: CpuChunk) -> Array:
        rows = chunk.bench.rows(np.uint32, chunk.parents - 1, chunk.count)
        chunk.unsound |= entry("select.magnitudes")(*chunk.inputs, chunk.count, rows, chunk.bench.tiles)
        return rows

    def variances(self, chunk: CpuChunk) -> Array:
        rows = chunk.bench.rows(np.uint32, 1, chunk.count)
        chunk.unsound |= entry("variances.variances")(*chunk.inputs, chunk.count, rows[0], *chunk.bench.spread)
        return rows

    def to_numpy(self, bits: Array) -> Array:
        return bits

    def tally(self, bits: Array, questions: Array) -> list[Tallied]:
        counts = np.zeros((len(questions), 4), np.int64)
        inside = np.empty((len(questions), bits.shape[1] + STEP), np.uint32)
        entry("select.tally")(bits, questions, inside, counts)
        return _tallied(counts, inside)

    def tally_changes(self, chunk: CpuChunk, questions: Array) -> list[Tallied]:
        counts = np.zeros((len(questions), 4), np.int64)
        inside = chunk.bench.inside(len(questions), chunk.count + STEP)
        chunk.unsound |= entry("select.tally_changes")(
            *chunk.inputs, chunk.bench.flat(questions, np.int64), chunk.count, inside, counts, chunk.bench.tiles
        )
        return _tallied(counts, inside)

    def histogram(self, bits: Array, low_bits: int, prefix: int | None) -> Array:
        return histogram(bits, low_bits, prefix)

    def draw_by_rank(self, chunk: CpuChunk, draws: ByRank, bits: Array, sums: Array) -> None:
        flat, depth = chunk.bench.flat, draws.thresholds.shape[1]
        words, kept = np.empty(chunk.count + BLOCK, np.uint32), np.empty(chunk.count, np.uint8)
        flags, sizes = np.empty(depth, np.uint8), np.empty(depth * (draws.inner + 1), np.uint32)
        places = np.empty((2, depth + STEP), np.uint32)
        entries = np.empty((2, depth), np.uint64)
        counts = np.empty((2, min(max(64, 1 << depth.bit_length() - 1), 2048)), np.uint32)
        chunk.unsound |= entry("ranks.draw_by_rank")(
            *chunk.inputs, flat(draws.parents, np.int64), flat(draws.streams, np.uint32),
            flat(draws.thresholds, np.uint32), draws.inner, chunk.start, chunk.count, flat(bits, np.uint8),
            flat(sums, np.float64), words, kept, flags, sizes, places, entries, counts, chunk.bench.tiles,
            chunk.bench.lanes,
        )  # fmt: skip

    def selection(self, cut: Cut | None, elements: int) -> tuple[Flat, Flat]:
        """``Cut.least`` int64 [3], or [0] for no cut; room for a bit an element, where it is not too much."""
        room = 0 if cut is None or elements > 8 * _REMEMBERED else -(-elements // 8)
        return Flat(np.array(() if cut is None else cut.least, np.int64)), Flat(np.zeros(room, np.uint8))

    def energies(self, chunk: CpuChunk, selection: tuple[Flat, Flat], sums: Array) -> None:
        entry("shares.energies")(
            *chunk.inputs, *selection, chunk.start, chunk.count, chunk.bench.flat(sums, np.float64),
            *chunk.bench.spread, chunk.bench.lanes,
        )  # fmt: skip

    def agree(self, chunk: CpuChunk, selection: tuple[Flat, Flat], shares_of: Array) -> None:
        chunk.unsound |= entry("shares.agree")(
            *chunk.inputs, *selection, chunk.bench.flat(shares_of, np.float32), chunk.start, chunk.count,
            *chunk.out, *chunk.bench.spread,
        )  # fmt: skip

    def count_changes(self, chunk: CpuChunk, epsilon: float, counts: Array) -> None:
        chunk.unsound |= entry("shares.count_changes")(*chunk.inputs, epsilon, chunk.count, counts, chunk.bench.tiles)

    def share_out(self, chunk: CpuChunk, epsilon: float, alone: Array) -> None:
        chunk.unsound |= entry("shares.share_out")(
            *chunk.inputs, epsilon, chunk.bench.flat(alone, np.float32), chunk.count, *chunk.out, chunk.bench.tiles
        )

    def nearswap(self, chunk: CpuChunk, t: float, taken: Array) -> None:
        bench = chunk.bench
        chunk.unsound |= entry("pairs.nearswap")(
            *chunk.inputs, t, chunk.count, taken[chunk.start // BLOCK :], *chunk.out, *bench.spread, bench.lanes
        )

    def importances(self, chunk: CpuChunk, width: int, divergences: Array) -> Array:
        bits = chunk.bench.rows(np.uint32, 1, chunk.count)
        chunk.unsound |= entry("pairs.importances")(
            *chunk.inputs, width, chunk.count, divergences[chunk.start // width :], bits[0],
            np.empty((2, width), np.float32), np.empty((2, width), np.float64), chunk.bench.lanes,
        )  # fmt: skip
        return bits

    def choose(self, chunk: CpuChunk, width: int, divergences: Array, limit: float, taken: Array) -> None:
        row = chunk.start // width
        chunk.unsound |= entry("pairs.choose")(
            *chunk.inputs, width, chunk.count, divergences[row:], limit, taken[row:], *chunk.out, chunk.bench.tiles
        )

    def floats(self, chunk: CpuChunk) -> Array:
        values = chunk.bench.rows(np.float32, chunk.parents, chunk.count)
        chunk.unsound |= entry("rows.widen")(*chunk.inputs, chunk.count, values)
        return values

    def put(self, chunk: CpuChunk, values: Array) -> None:
        chunk.unsound |= entry("rows.narrow")(np.ascontiguousarray(values, np.float32), *chunk.out)


def _tallied(counts: Array, inside: Array) -> list[Tallied]:
    return [(*row[:3], found[: row[3]].copy()) for row, found in zip(counts.tolist(), inside, strict=True)]
