"""Counting values by the upper or lower part of their bits."""

from __future__ import annotations

import numpy as np

from worker.engine.dtypes import Array


def histogram(bits: Array, low_bits: int, prefix: int | None) -> Array:
    """Of ``bits`` uint32 [count], each below 2³¹: how many have each upper part (all but the ``low_bits``), int64.

    With ``prefix``: how many have each lower part, among those whose upper part it is.
    """
    upper = bits >> np.uint32(low_bits)
    if prefix is None:
        return np.bincount(upper, minlength=1 << (31 - low_bits))
    mask = np.uint32((1 << low_bits) - 1)
    return np.bincount(bits[upper == prefix] & mask, minlength=1 << low_bits)
