"""The dtypes the engine does arithmetic on, by their safetensors names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK = 4096
"""Chunks and segments are whole blocks of so many elements; random words come and statistics are added by the block,
whatever the chunks."""

TILE = 1024
"""Elements that kernels work on at a time: half a dozen tiles of fp32 fit into the cache nearest to a core."""

TILE_ROW = TILE + 32
"""Elements from one tile to the next: a multiple of 4 KiB would make processors mistake one for the other."""

STEP = 16
"""Values that kernels pick from together."""

LANES = TILE // 4
"""Sums of a block are taken in so many lanes side by side."""

SEGMENT = 1 << 22
"""Elements of one segment: the share of a large tensor that one thread works on at a time. Statistics are added up
segment by segment, so their order of summation depends on neither threads nor chunks."""

PARENT_UNSOUND = 1
RESULT_UNSOUND = 2
"""Bits an operation sets when it met NaN or infinite values in an input, or made them."""

CODES: Mapping[str, int] = MappingProxyType({"BF16": 0, "F16": 1, "F32": 2, "F64": 3})
"""What kernels call a dtype."""

ITEMSIZE: Mapping[str, int] = MappingProxyType({"BF16": 2, "F16": 2, "F32": 4, "F64": 8})

_BITS: Mapping[str, tuple[type[np.unsignedinteger[Any]], int, int]] = MappingProxyType(
    {
        "BF16": (np.uint16, 0x7FFF, 0x7F80),
        "F16": (np.uint16, 0x7FFF, 0x7C00),
        "F32": (np.uint32, 0x7FFFFFFF, 0x7F800000),
        "F64": (np.uint64, 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000),
    }
)


def decode(raw: Array, dtype: str) -> Array:
    """Raw values (uint8, whole elements along the last axis) as numbers: fp32, fp64 for F64."""
    if dtype == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    values: Array = raw.view({"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype])
    return values.astype(np.float64 if dtype == "F64" else np.float32)


def count_non_finite(raw: Array, dtype: str) -> int:
    """How many values in ``raw`` (uint8, whole elements of ``dtype``) are NaN or infinite."""
    word, magnitude, infinity = _BITS[dtype]
    bits = raw.view(word) & word(magnitude)
    if not bits.size or bits.max() < infinity:
        return 0
    return int(np.count_nonzero(bits >= word(infinity)))


def keep_freed_memory() -> None:
    """Makes glibc hold on to freed blocks of up to this size: it takes the largest it has seen freed as its measure.

    Otherwise temporaries are fetched from the system and cleared, page by page, for every chunk.
    """
    np.empty(4 << 20, np.uint8)
