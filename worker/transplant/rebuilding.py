"""Shared tokens held out and compared with what they are made anew as."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from app.transplant.rebuilt import Rebuilt, sample_size
from worker.engine.dtypes import Array, decode
from worker.steps.align import Matrix, mean_row
from worker.transplant.anchors import Anchors

Made = tuple[int, Array, Array]
"""A row of the model's matrix, the rows that it is made anew of, int [n], and how much of each, fp64 [n]."""
_SEED = 20260607


def held_out(shared: int) -> Array:
    """Which of so many shared tokens are made anew: places in rising order, int [sample], the same every time."""
    # The stream of RandomState is frozen, that of newer generators is not.
    return np.sort(np.random.RandomState(_SEED).permutation(shared)[: sample_size(shared)])


class Among:
    """Some of the anchors: those at ``places``."""

    def __init__(self, anchors: Anchors, places: Array) -> None:
        self._anchors, self._places = anchors, places

    @property
    def lengths(self) -> Array:
        lengths: Array = self._anchors.lengths[self._places]
        return lengths

    def block(self, begin: int, end: int) -> Array:
        return self._anchors.rows(self._places[begin:end])

    def rows(self, numbers: Array) -> Array:
        return self._anchors.rows(self._places[numbers])


def compare(made: Iterable[Made], own: Matrix, name: str, check: Callable[[], None]) -> Rebuilt | None:
    """``made``: rows of the model's matrix ``own``, called ``name``. None where none has a length that is finite.
    Raises what ``check`` raises."""
    mean = mean_row(own, check)
    errors = []
    for row, rows, weights in made:
        real = _read(own, np.array([row]))[0]
        # einsum adds up in one order, whatever the threads.
        again = np.einsum("k,kw->w", weights, _read(own, rows)) if len(rows) else mean
        lengths = _length(real), _length(again - real), _length(mean - real)
        if lengths[0] > 0 and np.isfinite(lengths).all():
            errors.append((lengths[1] / lengths[0], lengths[2] / lengths[0]))
        check()
    if not errors:
        return None
    error, mean_error = (round(float(one), 4) for one in np.median(np.array(errors), axis=0))
    return Rebuilt(name, len(errors), error, mean_error)


def _read(matrix: Matrix, rows: Array) -> Array:
    return decode(matrix.read(rows), matrix.dtype).astype(np.float64)


def _length(vector: Array) -> float:
    return float(np.sqrt(np.einsum("w,w->", vector, vector)))
