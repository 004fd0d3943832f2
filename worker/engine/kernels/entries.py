"""What the engine calls of the kernels, and with what.

Types are Numba's: ``uint8[:,::1]`` is a contiguous matrix of bytes. Every entry with the same signature wherever it is
called is what lets it be compiled once and kept as machine code (see ``worker.engine.kernels.native``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_RAW = ("uint8[:,::1]", "int64[::1]")
_OUT = ("uint8[::1]", "int64")
_TILES = "float32[:,::1]"
_WIDE = _LANES = "float64[:,::1]"
_WORDS = "uint32[:,::1]"
_MASKS = ("int64[::1]", "int64[:,::1]", "uint32[:,::1]", "uint8[:,::1]")
_FLOATS = "float32[::1]"
_LONGS = "int64[::1]"
_BITS = "uint32[::1]"

ENTRIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "combine.combine": (*_RAW, _FLOATS, "int64", "int64", *_OUT, _TILES),
        "combine.gram": (*_RAW, "int64", "int64", "float64[:,::1]", _TILES, _LANES),
        "low_rank.add_low_rank": (_FLOATS, "int64", _TILES, _TILES, "float32", _FLOATS),
        "consensus.consent": (
            *_RAW, *_MASKS, _FLOATS, _FLOATS, "int64", "int64", "int64", "float32", "int64", "int64", *_OUT,
            _TILES, _WIDE, _WORDS,
        ),
        "pairs.choose": (
            *_RAW, "int64", "int64", "float64[::1]", "float64", _LONGS, *_OUT, _TILES,
        ),
        "pairs.importances": (
            *_RAW, "int64", "int64", "float64[::1]", _BITS, "float32[:,::1]", "float64[:,::1]", _LANES,
        ),
        "pairs.nearswap": (*_RAW, "float32", "int64", "float64[::1]", *_OUT, _TILES, _WIDE, _LANES),
        "ranks.draw_by_rank": (
            *_RAW, _LONGS, "uint32[:,::1]", "uint32[:,::1]", "int64", "int64", "int64",
            "uint8[:,::1]", "float64[:,::1]", _BITS, "uint8[::1]", "uint8[::1]", _BITS, _WORDS, "uint64[:,::1]", _WORDS,
            _TILES, _LANES,
        ),
        "rows.narrow": (_FLOATS, *_OUT),
        "rows.widen": (*_RAW, "int64", "float32[:,::1]"),
        "select.magnitudes": (*_RAW, "int64", "uint32[:,::1]", _TILES),
        "select.tally": ("uint32[:,::1]", "int64[:,::1]", "uint32[:,::1]", "int64[:,::1]"),
        "select.tally_changes": (
            *_RAW, "int64[:,::1]", "int64", "uint32[:,::1]", "int64[:,::1]", _TILES,
        ),
        "shares.agree": (*_RAW, _LONGS, "uint8[::1]", _FLOATS, "int64", "int64", *_OUT, _TILES, _WIDE),
        "shares.count_changes": (*_RAW, "float32", "int64", "int64[:,::1]", _TILES),
        "shares.energies": (*_RAW, _LONGS, "uint8[::1]", "int64", "int64", "float64[::1]", _TILES, _WIDE, _LANES),
        "shares.share_out": (*_RAW, "float32", _FLOATS, "int64", *_OUT, _TILES),
        "sparse.add_up": (*_RAW, *_MASKS, _FLOATS, "int64", "int64", *_OUT, _TILES, _WORDS),
        "sparse.elect": (
            *_RAW, *_MASKS, _FLOATS, _FLOATS, "int64", "float32", "int64", "int64", *_OUT,
            _TILES, _WIDE, _WORDS,
        ),
        "sparse.sizes": (*_RAW, *_MASKS, "int64", "int64", "float64[:,::1]", _TILES, _WORDS, _LANES),
        "variances.variances": (*_RAW, "int64", _BITS, _TILES, _WIDE),
    }
)  # fmt: skip
"""Module and function below ``worker.engine.kernels``, and the types of its arguments. All return an int or nothing."""

_HERE = Path(__file__).parent
_SOURCES = (*sorted(_HERE.glob("*.py")), _HERE.parent / "dtypes.py", _HERE.parent / "masks.py")


def add_sources(digest: hashlib._Hash) -> None:
    """Adds to ``digest`` all that kernels are compiled from: they call each other and use constants of the engine."""
    for path in _SOURCES:
        digest.update(path.read_bytes())
