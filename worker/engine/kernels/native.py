"""Kernels as machine code: compiled by Numba once, then loaded without it.

Importing Numba and letting it find a kernel in its own cache takes several times longer than a small merge, and twice
the memory. So what it compiles is kept as an object file, one for each entry, and LLVM's linker makes it callable.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numpy as np

from worker.engine.dtypes import Array
from worker.engine.kernels.entries import ENTRIES, add_sources

_HERE = Path(__file__).parent
_UNUSED = ("NRT_MemInfo_call_dtor",)
"""What Numba's code refers to and kernels never reach: no array of theirs owns memory."""
_SCALARS = {"int64": ctypes.c_int64, "uint32": ctypes.c_uint32, "float32": ctypes.c_float}
_lock = Lock()
_numbers = count()
_loaded: dict[str, Callable[..., int]] = {}


class Flat(tuple[int, ...]):
    """An array as a kernel takes it: owner, parent, elements, item size, address, shape, strides.

    Made once for an array that is passed again and again, which takes longer to look through than a short call.
    """

    array: Array

    @classmethod
    def of(cls, array: Array) -> Flat:
        flat = cls((0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides))
        flat.array = array
        return flat


def entry(name: str) -> Callable[..., int]:
    """The function of that name in ``ENTRIES``. It lets go of the GIL; arrays are given as such or as ``Flat``."""
    known = _loaded.get(name)
    if known is not None:
        return known
    with _lock:
        return _loaded.get(name) or _loaded.setdefault(name, _load(name))


def loaded() -> Collection[str]:
    """The entries that this process has called."""
    return _loaded.keys()


def _load(name: str) -> Callable[..., int]:
    path = _folder() / f"{name}.o"
    with suppress(OSError, ValueError, RuntimeError):
        return _callable(name, path.read_bytes())
    made = _compile(name)
    with suppress(OSError):
        _keep(path, made)
    return _callable(name, made)


def _callable(name: str, stored: bytes) -> Callable[..., int]:
    """Raises ValueError or RuntimeError for what is not whole."""
    symbol, code = _whole(stored)
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(symbol)
    for unused in _UNUSED:
        library.import_symbol(unused, _address_of_abort())
    linked = library.link(_linker(), f"{name}-{next(_numbers)}")
    types: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for one in ENTRIES[name]:
        types += [_SCALARS[one]] if one in _SCALARS else [ctypes.c_int64] * (5 + 2 * (one.count(",") + 1))
    dtypes = [None if one in _SCALARS else np.dtype(one.partition("[")[0]) for one in ENTRIES[name]]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(linked[symbol])

    def call(*arguments: Any) -> int:
        result, error = ctypes.c_int64(0), ctypes.c_void_p()
        words: list[Any] = [ctypes.addressof(result), ctypes.addressof(error)]
        for one, dtype in zip(arguments, dtypes, strict=True):
            if dtype is None:
                words.append(one)
            elif type(one) is Flat:
                words += one
            elif one.dtype == dtype and one.flags.c_contiguous:
                words += Flat.of(one)
            else:
                raise TypeError(f"{name} takes contiguous {dtype}")
        if function(*words):
            raise RuntimeError(f"{name} failed")
        return result.value

    call.code = linked  # type: ignore[attr-defined]  # else it is unloaded
    return call


def _whole(stored: bytes) -> tuple[str, bytes]:
    """Symbol and object code. Raises ValueError when they are not what was stored."""
    digest, symbol, code = stored.split(b"\n", 2)
    if hashlib.sha256(symbol + code).hexdigest().encode() != digest:
        raise ValueError("damaged")
    return symbol.decode(), code


def _compile(name: str) -> bytes:
    """The entry as it is stored: a checksum, the symbol, the object code."""
    from importlib import import_module

    import numba

    module, _, function = name.partition(".")
    source = getattr(import_module(f"worker.engine.kernels.{module}"), function).py_func
    options: Any = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(f"({', '.join(ENTRIES[name])})", **options)(source)
    (made,) = compiled.overloads.values()
    symbol, code = made.fndesc.llvm_func_name.encode(), made.library._get_compiled_object()  # noqa: SLF001
    return b"\n".join([hashlib.sha256(symbol + code).hexdigest().encode(), symbol, code])


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).replace(path)


@cache
def _folder() -> Path:
    """Beside Numba's own cache, named after everything that the machine code depends on: sources and processor."""
    digest = hashlib.sha256(repr((llvm.get_process_triple(), llvm.get_host_cpu_name())).encode())
    digest.update(llvm.get_host_cpu_features().flatten().encode())
    add_sources(digest)
    return Path(os.environ.get("NUMBA_CACHE_DIR") or _HERE / "__pycache__") / f"native-{digest.hexdigest()[:16]}"


@cache
def _linker() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))


@cache
def _address_of_abort() -> int:
    return ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value or 0


if find_spec("numba") is None:
    raise ImportError("numba is not installed")
