"""A base's weights, read a block of rows at a time: no matrix is ever in memory as a whole.

Every block is multiplied by one thread, and blocks do not depend on how many threads there are: neither do results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from app.experts.dense import EMBEDDING, Dense
from app.planning.facts import DTYPE_BYTES, TensorFacts
from app.planning.plan import Input, Plan
from worker.engine.crew import default_threads
from worker.engine.dtypes import Array, decode
from worker.engine.opened import Sources
from worker.engine.sources import Place, Source

BLOCK = 1 << 21
"""Elements of a matrix that a thread works on at a time."""
TICK = 0.1


class Weights:
    """The tensors of the base that a forward pass reads, opened."""

    def __init__(self, sources: Sources, pool: ThreadPoolExecutor, check: Callable[[], None]) -> None:
        self._sources, self._pool, self._check = sources, pool, check
        self._opened: dict[TensorFacts, Source] = {}

    def expect(self, tensors: Iterable[TensorFacts], turn: int) -> None:
        """What will be read, and when: what comes from afar is fetched in that order."""
        for one in tensors:
            self._opened[one] = self._sources.open(Input(0, one), turn)

    def release(self, tensors: Iterable[TensorFacts]) -> None:
        for one in tensors:
            self._opened.pop(one).release()

    def rows(self, tensor: TensorFacts, begin: int, end: int) -> Array:
        """Rows ``[begin, end)`` of a matrix, or a whole vector with ``(0, 1)``: fp32 [rows, columns]."""
        source, columns = self._opened[tensor], tensor.shape[-1]
        raw = np.empty((end - begin) * columns * source.itemsize, np.uint8)
        source.read(raw.data, begin * columns)
        return decode(raw, source.dtype).astype(np.float32, copy=False).reshape(end - begin, columns)

    def vector(self, tensor: TensorFacts) -> Array:
        whole: Array = self.rows(tensor, 0, 1)[0]
        return whole

    def times(self, states: Array, tensor: TensorFacts, bias: TensorFacts | None = None) -> Array:
        """x·Wᵀ + b for ``states`` fp32 [tokens, columns]: fp32 [tokens, rows]."""
        rows, columns = tensor.shape
        out = np.empty((len(states), rows), np.float32)
        step = max(1, BLOCK // columns)

        def one(begin: int) -> None:
            end = min(begin + step, rows)
            out[:, begin:end] = states @ self.rows(tensor, begin, end).T

        self._all(one, range(0, rows, step))
        if bias is not None:
            out += self.vector(bias)
        return out

    def _all(self, work: Callable[[int], None], places: Sequence[int]) -> None:
        waiting = {self._pool.submit(work, place) for place in places}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=TICK)
                for one in done:
                    one.result()
                self._check()
        finally:
            for one in waiting:
                one.cancel()


@contextmanager
def opened(
    plan: Plan, places: Sequence[Path | Place], check: Callable[[], None], threads: int | None
) -> Iterator[Weights]:
    """The base is the plan's first parent. ``check`` is called often, by the calling thread, and may raise."""
    with Sources(plan, places) as sources, threadpool_limits(1, "blas"):
        pool = ThreadPoolExecutor(threads or default_threads(), thread_name_prefix="routing")
        try:
            yield Weights(sources, pool, check)
        finally:
            pool.shutdown(cancel_futures=True)
        sources.check_unchanged()


def embedded(weights: Weights, dense: Dense, prompts: Sequence[Sequence[int]]) -> list[Array]:
    """Each prompt's token embeddings, fp32 [tokens, hidden]. Of the matrix only these tokens' rows are read, unless an
    adapter changes it."""
    matrix = dense.facts.tensors[EMBEDDING]
    used = sorted({token for ids in prompts for token in ids})
    if not matrix.plain:
        weights.expect([matrix], 0)
        found = {token: weights.rows(matrix, token, token + 1)[0] for token in used}
        weights.release([matrix])
    else:
        rows = {token: _row(matrix, token) for token in used}
        weights.expect(rows.values(), 0)
        found = {token: weights.vector(one) for token, one in rows.items()}
        weights.release(rows.values())
    return [np.stack([found[token] for token in ids]) for ids in prompts]


def _row(matrix: TensorFacts, row: int) -> TensorFacts:
    """A row as a tensor of its own."""
    size = matrix.shape[1] * DTYPE_BYTES[matrix.dtype]
    begin = matrix.begin + row * size
    return TensorFacts(f"{matrix.name}[{row}]", matrix.dtype, (1, matrix.shape[1]), matrix.file, begin, begin + size)
