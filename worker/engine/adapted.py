"""Parents' tensors with an adapter on them: W + s·BA made while it is read, and never anywhere as a whole.

The sum has the same bits however it is cut into pieces, so that threads, chunks and resumes change nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from threading import Lock

import numpy as np

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.facts import TensorFacts
from worker.engine.dtypes import TILE, Array, decode
from worker.engine.sources import Source

_BLOCK_ELEMENTS = 1 << 20
"""Elements in memory at a time where whole rows are looked at."""
_EXPERTS_KEPT = 8
"""Experts whose factor is kept: threads may be at several."""


class AdaptedSource(Source):
    """Reads as F32. ``own``: the numbers the adapter goes on; ``parts``: the adapter's tensors, opened.

    Holds one factor while the tensor is being made, of a few experts where there are any: rank × columns numbers.
    """

    __slots__ = ("_change", "_columns", "_lengths", "_lock", "_own", "_parts", "_right", "_rows")

    def __init__(self, own: Source, tensor: TensorFacts, change: LowRank, parts: Mapping[TensorFacts, Source]) -> None:
        super().__init__(own.file, tensor)
        self.dtype, self.itemsize = "F32", 4
        self._own, self._change, self._parts = own, change, parts
        self._rows, self._columns = _matrix(tensor, change)
        self._lock = Lock()
        self._right: OrderedDict[int, Array] = OrderedDict()
        self._lengths: Array | None = None

    def read(self, into: memoryview, start: int) -> None:
        """Fills ``into`` with fp32 values from element ``start`` on."""
        out = np.frombuffer(into, np.float32)
        self._sum(out, start)
        if self._change.magnitude is not None:
            self._stretch(out, start)

    def release(self) -> None:
        with self._lock:
            self._right.clear()
            self._lengths = None
        for source in (self._own, *(self._parts[one] for one in self._change.tensors)):
            source.release()

    def _sum(self, out: Array, start: int) -> None:
        """W + s·BA into ``out`` fp32 [count]."""
        raw = np.empty(out.size * self._own.itemsize, np.uint8)
        self._own.read(raw.data, start)
        out[:] = decode(raw, self._own.dtype)
        size = max(1, self._rows * self._columns)
        for matrix in range(start // size, -(-(start + out.size) // size)):
            begin, end = max(start, matrix * size), min(start + out.size, (matrix + 1) * size)
            self._add(out[begin - start : end - start], begin - matrix * size, self._change.expert + matrix)

    def _add(self, out: Array, start: int, expert: int) -> None:
        """s·BA on top of elements ``start``... of one matrix."""
        row = start // self._columns
        end = -(-(start + out.size) // self._columns)
        scale = np.float32(self._change.scale)
        add_low_rank(out, start - row * self._columns, self._left(row, end, expert), self._kept_right(expert), scale)

    def _left(self, row: int, end: int, expert: int) -> Array:
        """The factor that has a row for each of the matrix's: rows ``[row, end)``, fp32 [rows, rank]."""
        down, rank = self._change.down, self._change.rank
        if down is None or not self._change.transposed:
            return self._of_up(row, end, expert)
        source, first = self._parts[down], expert * rank
        lines = [_numbers(source, (first + line) * self._rows + row, end - row) for line in range(rank)]
        return np.ascontiguousarray(np.array(lines, np.float32).T)

    def _of_up(self, row: int, end: int, expert: int) -> Array:
        """Rows of ``up`` as they belong to a matrix, fp32 [rows, rank]."""
        experts, width = max(1, self._change.experts), self._change.rank * max(1, self._change.experts)
        values = _numbers(self._parts[self._change.up], row * width, (end - row) * width)
        return np.ascontiguousarray(values.reshape(end - row, width)[:, expert::experts])

    def _kept_right(self, expert: int) -> Array:
        """The other factor, fp32 [rank, columns]."""
        with self._lock:
            if expert not in self._right:
                self._right[expert] = self._load_right(expert)
                if len(self._right) > _EXPERTS_KEPT:
                    self._right.popitem(last=False)
            return self._right[expert]

    def _load_right(self, expert: int) -> Array:
        change = self._change
        if change.down is None:
            return np.ones((1, 1), np.float32)
        if change.transposed:
            return np.ascontiguousarray(self._of_up(0, change.up.shape[0], expert).T)
        size = change.rank * self._columns
        return _numbers(self._parts[change.down], expert * size, size).reshape(change.rank, self._columns)

    def _stretch(self, out: Array, start: int) -> None:
        """Scale by what makes each output's weights as long as ``magnitude`` says."""
        with self._lock:
            lengths = self._lengths
        if lengths is None:
            lengths = self._measure()
            with self._lock:
                self._lengths = lengths
        index = np.arange(start, start + out.size)
        out *= lengths[index % self._columns if self._change.transposed else index // self._columns]

    def _measure(self) -> Array:
        """magnitude / |row|, or / |column| of a transposed matrix, fp32 [outputs]; 0 where that is nothing."""
        transposed = self._change.transposed
        squares = np.zeros(self._columns if transposed else self._rows, np.float64)
        step = max(1, _BLOCK_ELEMENTS // self._columns)
        for row in range(0, self._rows, step):
            end = min(row + step, self._rows)
            block = np.empty((end - row) * self._columns, np.float32)
            self._sum(block, row * self._columns)
            wide = block.reshape(end - row, self._columns).astype(np.float64)
            if transposed:
                squares += (wide * wide).sum(axis=0)
            else:
                squares[row:end] = (wide * wide).sum(axis=1)
        magnitude = self._change.magnitude
        assert magnitude is not None  # noqa: S101  read() asks for it only then
        wanted = _numbers(self._parts[magnitude], 0, magnitude.elements).astype(np.float64)
        lengths = np.sqrt(squares)
        return np.divide(wanted, lengths, out=np.zeros_like(wanted), where=lengths > 0).astype(np.float32)


def adapted(tensor: AdaptedTensor, own: Source | None, parts: Mapping[TensorFacts, Source]) -> Source:
    """The source for ``tensor``. ``own``: the parent's numbers, unless all of them come from the adapter; ``parts``:
    the adapter's tensors."""
    plain = parts[tensor.instead] if tensor.instead is not None else own
    assert plain is not None  # noqa: S101  one of the two is there
    return plain if tensor.added is None else AdaptedSource(plain, tensor, tensor.added, parts)


def _matrix(tensor: TensorFacts, change: LowRank) -> tuple[int, int]:
    """Rows and columns of a tensor of any number of dimensions, as LoRA sees it; of one expert where it holds all."""
    if change.experts and len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2]
    rows = tensor.shape[0] if tensor.shape else 1
    return (tensor.elements, 1) if change.down is None else (rows, prod(tensor.shape[1:]))


def _numbers(source: Source, start: int, count: int) -> Array:
    """``count`` values from element ``start`` on, fp32."""
    raw = np.empty(count * source.itemsize, np.uint8)
    source.read(raw.data, start)
    return decode(raw, source.dtype).astype(np.float32, copy=False)


def add_low_rank(out: Array, first: int, left: Array, right: Array, scale: np.float32) -> None:
    """See ``worker.engine.kernels.low_rank``; the same bits with NumPy where Numba cannot be used."""
    try:
        from worker.engine.kernels.native import entry
    except ImportError:
        _add_low_rank(out, first, left, right, scale)
    else:
        entry("low_rank.add_low_rank")(out, first, left, right, scale, np.empty(TILE, np.float32))


def _add_low_rank(out: Array, first: int, left: Array, right: Array, scale: np.float32) -> None:
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for rank in range(left.shape[1]):
        total += left[:, rank, None] * right[rank]
    out += scale * total.reshape(-1)[first : first + out.size]
