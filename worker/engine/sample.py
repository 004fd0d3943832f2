"""A sample of values, for saying beforehand between which two a threshold will lie."""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import Array
from worker.engine.masks import NEVER

LOW_BITS = 15
"""Of the 31 bits of a value; the upper 16 are sorted first. NumPy sorts 16 bits several times faster than 32."""


class Sample:
    """``pieces`` uint32 [pieces, count], each of neighbours, sorted as far as it is asked."""

    def __init__(self, pieces: Array) -> None:
        self.size = pieces.size
        self._pieces = pieces
        self._values = pieces.ravel()
        self._upper = (self._values >> np.uint32(LOW_BITS)).astype(np.uint16)
        self._sorted = np.sort(self._upper, kind="stable")

    def from_top(self, rank: int) -> int:
        """The value with this rank, the largest having rank 1."""
        place = self.size - rank
        digit = self._sorted[place]
        lower = self._values[self._upper == digit] & np.uint32((1 << LOW_BITS) - 1)
        before = int(np.searchsorted(self._sorted, digit))
        return int(digit) << LOW_BITS | int(np.sort(lower.astype(np.uint16), kind="stable")[place - before])

    def bounds(self, fewer: float, more: float) -> tuple[int, int]:
        """(low, high): the values at the shares ``more`` and ``fewer`` from the top; 0 or the largest of all beyond."""
        high, low = int(fewer * self.size), int(more * self.size) + 1
        return (
            self.from_top(low) if 1 <= low <= self.size else 0,
            self.from_top(high) if 1 <= high <= self.size else NEVER - 1,
        )

    def share_above(self, value: int) -> float:
        return float((self._pieces > value).mean())

    def deviation(self, share: float, value: int) -> float:
        """The standard deviation of a ``share`` estimated from the sample: of about the values above ``value``.

        It is the larger of that of independent draws and that between the pieces, whose neighbours may be alike.
        """
        between = (self._pieces > value).mean(axis=1).std() / np.sqrt(len(self._pieces))
        return float(max(between, np.sqrt(share * (1 - share) / self.size)))
