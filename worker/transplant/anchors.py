"""Rows that other rows are described by, and which of them are nearest to a vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from worker.engine.dtypes import Array

BATCH = 512
"""Vectors that go through the anchors together."""
BLOCK = 8192
"""Anchors looked at together."""
_GROUP = 16
T = TypeVar("T")


class Anchors(Protocol):
    """Vectors, wherever they lie. Read by several threads at once."""

    @property
    def lengths(self) -> Array:
        """Euclidean lengths, fp64 [anchors]."""

    def block(self, begin: int, end: int) -> Array:
        """fp32 [end - begin, width]."""

    def rows(self, numbers: Array) -> Array:
        """``numbers`` int [...]: fp32 [..., width]."""


class Run(Protocol):
    """Calls a function for each number, maybe in several threads, and returns the results in order."""

    def __call__(self, work: Callable[[int], T], numbers: Sequence[int], /) -> list[T]: ...


def in_turn(work: Callable[[int], T], numbers: Sequence[int]) -> list[T]:
    return [work(number) for number in numbers]


Score = Callable[[Array, Array], Array]
"""Inner products fp32 [vectors, anchors], which it may change, and the anchors' lengths fp64: how near they are."""


def by_direction(products: Array, lengths: Array) -> Array:
    """|⟨v, a⟩| / ‖a‖: how much of the vector an anchor can stand for. An anchor of length 0 is nearest to nothing."""
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    np.abs(products, out=products)
    products *= inverse.astype(np.float32)
    return products


def by_distance(products: Array, lengths: Array) -> Array:
    """⟨v, a⟩ − ‖a‖²/2, which is larger the smaller ‖v − a‖ is."""
    products -= (lengths**2 / 2).astype(np.float32)
    return products


def look(vectors: Array, anchors: Anchors, most: int, score: Score, run: Run) -> Array:
    """The anchors nearest to each of ``vectors`` (fp32 [vectors, width]), in no order: int32 [vectors, most], or as
    many as there are."""
    lengths = anchors.lengths

    def block(begin: int) -> tuple[Array, Array]:
        end = min(begin + BLOCK, len(lengths))
        found = score(vectors @ anchors.block(begin, end).T, lengths[begin:end])
        places = largest(found, most)
        return np.take_along_axis(found, places, 1), places + begin

    parts = run(block, range(0, len(lengths), BLOCK))
    values, places = (np.concatenate([part[side] for part in parts], axis=1) for side in (0, 1))
    return np.take_along_axis(places, largest(values, most), 1).astype(np.int32)


def largest(values: Array, most: int) -> Array:
    """Places of the ``most`` largest values in each row, in no order: int [rows, most].

    The largest of each few neighbours decide which of them are looked at: no more groups than ``most`` can hold one.
    """
    rows, count = values.shape
    if count <= most:
        return np.broadcast_to(np.arange(count), values.shape)
    whole = count - count % _GROUP
    if whole // _GROUP <= most:
        return np.argpartition(values, count - most, axis=1)[:, count - most :]
    peaks = values[:, :whole].reshape(rows, -1, _GROUP).max(axis=2)
    groups = np.argpartition(peaks, -most, axis=1)[:, -most:]
    inside = (groups[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(whole, count), (rows, count - whole))
    places = np.concatenate([inside, rest], axis=1)
    best = np.argpartition(np.take_along_axis(values, places, 1), -most, axis=1)[:, -most:]
    return np.take_along_axis(places, best, 1)
