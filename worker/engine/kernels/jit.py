"""How kernels are compiled: without the GIL, without fast-math, cached on disk.

Numba notices a change of a kernel's own file only, and kernels call each other across files. So the cache folder is
named after the content of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from worker.engine.kernels.entries import add_sources

_HERE = Path(__file__).parent


def _stamp() -> str:
    digest = hashlib.sha256()
    add_sources(digest)
    return digest.hexdigest()[:16]


_settings: Any = numba.config
_settings.CACHE_DIR = str(Path(_settings.CACHE_DIR or _HERE / "__pycache__") / f"kernels-{_stamp()}")


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles ``function`` on its first call. Where no folder for the cache can be written, it is compiled anew."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)


def _bitcast(source: Any, target: Any) -> Any:
    def typer(_typing: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(typer)


float_of = _bitcast(types.uint32, types.float32)
"""The fp32 value with the given bits (inside kernels only)."""

bits_of = _bitcast(types.float32, types.uint32)
"""The bits of an fp32 value (inside kernels only)."""

double_of = _bitcast(types.uint64, types.float64)
"""The fp64 value with the given bits (inside kernels only)."""

long_bits_of = _bitcast(types.float64, types.uint64)
"""The bits of an fp64 value (inside kernels only)."""


def _fused(_typing: Any, _a: Any, _b: Any, _c: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


fused: Any = intrinsic(_fused)
"""a · b + c in fp64, rounded once: the same bits on every processor, in one step on most (inside kernels only)."""
