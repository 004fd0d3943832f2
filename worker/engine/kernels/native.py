"""Kernels as machine code: compiled by Numba once, then loaded without it.

Importing Numba and letting it find a kernel in its own cache takes several times longer than a small merge, and twice
the memory. So what it compiles is kept as object code, a file for each entry, and LLVM's linker makes it callable.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
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
_SCALARS = {"int64": ("i64", "=q"), "float32": ("float", "=f4x"), "float64": ("double", "=d")}
"""Numbers that are not in arrays: LLVM's type, and how they fill 8 bytes."""
_CALL = "call_kernel"
_lock = Lock()
_numbers = count()
_loaded: dict[str, Callable[..., int]] = {}


class Flat:
    """An array as a kernel takes it, ``words``: owner, parent, elements, item size, address, shape, strides.

    Made once for an array that is passed again and again, which takes longer to look through than a short call.
    """

    __slots__ = ("array", "words")

    def __init__(self, array: Array) -> None:
        words = (0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides)
        self.array = array
        self.words = struct.pack(f"={len(words)}q", *words)


def entry(name: str) -> Callable[..., int]:
    """The function of that name in ``ENTRIES``. It lets go of the GIL; arrays are given as such or as ``Flat``."""
    known = _loaded.get(name)
    if known is not None:
        return known
    with _lock:
        return _loaded.get(name) or _loaded.setdefault(name, _load(name))


def all_kept() -> bool:
    """Whether every entry is there as machine code, so that nothing has to be compiled any more."""
    return all((_folder() / f"{name}.o").is_file() for name in ENTRIES)


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
    library = llvm.JITLibraryBuilder().add_current_process().export_symbol(_CALL)
    for code in _whole(stored):
        library.add_object_img(code)
    for unused in _UNUSED:
        library.import_symbol(unused, _address_of_abort())
    linked = library.link(_linker(), f"{name}-{next(_numbers)}")
    packs = [_packing(name, one) for one in ENTRIES[name]]
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)(linked[_CALL])

    def call(*arguments: Any) -> int:
        words = [
            one.words if type(one) is Flat else pack(one) for one, pack in zip(arguments, packs, strict=True)
        ]  # fmt: skip
        result: int = function(b"".join(words))
        if result < 0:
            raise RuntimeError(f"{name} failed")
        return result

    call.code = linked  # type: ignore[attr-defined]  # else it is unloaded
    return call


def _packing(name: str, kind: str) -> Callable[[Any], bytes]:
    """From an argument to its words of 8 bytes each."""
    if kind in _SCALARS:
        return struct.Struct(_SCALARS[kind][1]).pack
    dtype = np.dtype(kind.partition("[")[0])

    def pack(array: Array) -> bytes:
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise TypeError(f"{name} takes contiguous {dtype}")
        return Flat(array).words

    return pack


def _whole(stored: bytes) -> list[bytes]:
    """The object files. Raises ValueError when they are not what was stored."""
    digest, length, rest = stored.split(b"\n", 2)
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise ValueError("damaged")
    return [rest[: int(length)], rest[int(length) :]]


def _compile(name: str) -> bytes:
    """The entry as it is stored: a checksum, the length of the first object file, two object files."""
    from importlib import import_module

    import numba

    module, _, function = name.partition(".")
    source = getattr(import_module(f"worker.engine.kernels.{module}"), function).py_func
    options: Any = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(f"({', '.join(ENTRIES[name])})", **options)(source)
    (made,) = compiled.overloads.values()
    code = made.library._get_compiled_object()  # noqa: SLF001
    rest = code + _machine().emit_object(llvm.parse_assembly(_calling(made.fndesc.llvm_func_name, ENTRIES[name])))
    return b"\n".join([hashlib.sha256(rest).hexdigest().encode(), b"%d" % len(code), rest])


def _calling(symbol: str, kinds: tuple[str, ...]) -> str:
    """LLVM's language for a function that takes its arguments from memory: Python hands over one, not a hundred.

    It returns what the kernel does, or -1 when that fails.
    """
    types = ["ptr", "ptr"]
    for kind in kinds:
        array = ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * (kind.count(",") + 1))]
        types += [_SCALARS[kind][0]] if kind in _SCALARS else array
    lines = [f'declare i32 @"{symbol}"({", ".join(types)})', f"define i64 @{_CALL}(ptr %words) {{"]
    lines += ["%a0 = alloca i64", "%a1 = alloca ptr", "store i64 0, ptr %a0"]
    for i, one in enumerate(types[2:]):
        lines += [f"%p{i} = getelementptr i64, ptr %words, i64 {i}", f"%a{i + 2} = load {one}, ptr %p{i}"]
    given = ", ".join(f"{one} %a{i}" for i, one in enumerate(types))
    lines += [f'%status = call i32 @"{symbol}"({given})', "%good = icmp eq i32 %status, 0"]
    lines += ["%result = load i64, ptr %a0", "%told = select i1 %good, i64 %result, i64 -1", "ret i64 %told", "}"]
    return "\n".join(lines)


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
    return llvm.create_lljit_compiler(_machine())


def _machine() -> Any:
    """Made anew for each use, as the linker keeps its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


@cache
def _address_of_abort() -> int:
    return ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value or 0


if find_spec("numba") is None:
    raise ImportError("numba is not installed")
