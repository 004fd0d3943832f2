"""The beginning of a safetensors file, read strictly and written.

Format (github.com/huggingface/safetensors): 8 bytes little-endian N, N bytes of JSON
``{name: {"dtype", "shape", "data_offsets": [begin, end]}}`` with an optional ``__metadata__`` of strings, then data.
Offsets in the JSON count from the end of the header; ``TensorFacts`` holds absolute ones.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from app.planning.facts import DTYPE_BYTES, TensorFacts
from app.planning.strict_json import BadJson, load_object, short
from app.recipe.findings import Refused, refuse

MAX_HEADER = 16_000_000
"""Bytes of JSON accepted; 60 000 tensors need about 5.5 MB."""
MAX_DIMENSIONS = 64
_LARGEST = 2**63 - 1
_FETCH_AGAIN = "The file is damaged or was cut short: download it again, or tell the model's author."
_PICKLE_ADVICE = (
    "Pickle files can run any code when they are opened, so they are never read here. "
    "Convert the model to safetensors (on the Hub: huggingface.co/spaces/safetensors/convert)."
)
_MAGIC: tuple[tuple[bytes, str, str, str], ...] = (
    (b"PK\x03\x04", "pickle-weights", "is a PyTorch archive of pickled weights", _PICKLE_ADVICE),
    *(
        (bytes((0x80, protocol)), "pickle-weights", "holds pickled weights", _PICKLE_ADVICE)
        for protocol in (2, 3, 4, 5)
    ),
    (b"GGUF", "gguf-weights", "is a GGUF file", "Quantised GGUF files cannot be merged: use the original model."),
    (b"version ", "lfs-pointer", "is only a Git LFS pointer", "Fetch the real file: git lfs pull."),
)


def header_length(first8: bytes, file: str, file_size: int) -> int:
    """N, the length of the JSON in bytes, so that ``first 8 + N`` bytes are the whole header.

    Raises Refused (``bad-header``, or ``pickle-weights``, ``gguf-weights``, ``lfs-pointer`` by content).
    """
    if file_size < 8 or len(first8) < 8:
        raise _bad(file, f"is {file_size} bytes long, too short for a safetensors file")
    (length,) = struct.unpack("<Q", first8[:8])
    if length > file_size - 8 or length > MAX_HEADER or length < 2:
        _refuse_other_formats(first8, file)
        if MAX_HEADER < length <= file_size - 8:
            raise _bad(file, f"has a header of {length} bytes; more than {MAX_HEADER} are not accepted")
        raise _bad(file, f"says its header has {length} bytes, but the file has {file_size} in all")
    return int(length)


def parse_header(raw: bytes, file: str, file_size: int) -> dict[str, TensorFacts]:
    """The tensors of a file, in the header's order. ``raw`` is its first 8+N bytes, ``file_size`` its size in bytes.

    Nothing is accepted that the safetensors library refuses. Raises Refused naming file and tensor.
    """
    length = header_length(raw[:8], file, file_size)
    if len(raw) < 8 + length:
        raise _bad(file, f"has a header of {length} bytes of which only {max(0, len(raw) - 8)} could be read")
    entries = _load(raw[8 : 8 + length], file, first=raw[:8])
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(file, "has a __metadata__ that is not a set of texts")
    _check_text([*metadata, *metadata.values(), *entries], file)
    tensors = {intern(name): _tensor(intern(name), entry, file, 8 + length) for name, entry in entries.items()}
    _check_coverage(tensors, file, 8 + length, file_size)
    return tensors


def write_header(
    entries: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, tuple[int, ...]]:
    """The complete beginning of a file of ``(name, dtype, shape)`` one after the other, and their absolute offsets.

    The JSON is padded with spaces to a multiple of 8 bytes. For aligned tensors, give wide dtypes first.
    """
    content: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begins: list[int] = []
    position = 0
    for name, dtype, shape in entries:
        end = position + math.prod(shape) * DTYPE_BYTES[dtype]
        content[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        begins.append(position)
        position = end
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise refuse("header-too-large", "", f"A header of {len(text)} bytes would be needed.", "Use smaller shards.")
    start = 8 + len(text)
    return struct.pack("<Q", len(text)) + text, tuple(start + begin for begin in begins)


def _bad(file: str, what: str) -> Refused:
    return refuse("bad-header", file, f"{file} {what}.", _FETCH_AGAIN)


def _refuse_other_formats(beginning: bytes, file: str) -> None:
    for magic, code, what, advice in _MAGIC:
        if beginning.startswith(magic):
            raise refuse(code, file, f"{file} {what}, not safetensors.", advice)


def _load(text: bytes, file: str, first: bytes) -> dict[str, Any]:
    """The header's JSON object; strings may still hold lone surrogates in places that ``_check_text`` looks at."""
    if not text.startswith(b"{"):
        _refuse_other_formats(first, file)
        raise _bad(file, "is not a safetensors file: its header does not begin with {")
    try:
        return load_object(text, _size)
    except BadJson as error:
        raise _bad(file, f"is damaged: its header {error}") from error


def _size(digits: str) -> int:
    if digits.startswith("-") or len(digits) > 19:
        raise ValueError(f"{digits[:24]} is not a size")
    return int(digits)


def _check_text(texts: Sequence[str], file: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise _bad(file, "has a header with broken Unicode in it") from error


def _tensor(name: str, entry: Any, file: str, start: int) -> TensorFacts:
    shown = short(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(file, f"does not describe tensor {shown} by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise refuse(
            "unknown-dtype",
            file,
            f"{file} stores tensor {shown} as {short(dtype)}, a number format that cannot be read here.",
            "Use a version of the model in BF16, F16 or F32.",
        )
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise _bad(file, f"gives tensor {shown} the shape {short(shape)}, which is none")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(file, f"gives tensor {shown} the offsets {short(offsets)}, which are none")
    nbytes = _nbytes(shape, dtype)
    if nbytes != offsets[1] - offsets[0]:
        need = "more than any file can hold" if nbytes is None else f"{nbytes} bytes"
        raise _bad(
            file,
            f"gives tensor {shown} {offsets[1] - offsets[0]} bytes, but {dtype} {short(shape)} takes {need}",
        )
    return TensorFacts(name, intern(dtype), _kept(tuple(shape)), file, start + offsets[0], start + offsets[1])


@lru_cache(maxsize=4096)
def _kept(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Equal shapes as one object: a model has a dozen of them, and names and shapes are most of what is kept of it."""
    return shape


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one <= _LARGEST for one in value)


def _nbytes(shape: list[int], dtype: str) -> int | None:
    """Bytes of a tensor; None when a step of the product leaves 63 bits, even if a later size is 0."""
    elements = 1
    for size in shape:
        elements *= size
        if elements * 8 * DTYPE_BYTES[dtype] > _LARGEST:
            return None
    return elements * DTYPE_BYTES[dtype]


def _check_coverage(tensors: Mapping[str, TensorFacts], file: str, start: int, file_size: int) -> None:
    """Tensors must lie one after the other without gap or overlap, from the header's end to the file's end."""
    position = start
    for tensor in sorted(tensors.values(), key=lambda one: (one.begin, one.end)):
        if tensor.begin != position:
            what = "overlaps another tensor" if tensor.begin < position else "leaves a gap before it"
            raise _bad(file, f"is laid out wrongly: {short(tensor.name)} {what}")
        position = tensor.end
    if position != file_size:
        what = "is cut short" if position > file_size else "has bytes that belong to no tensor"
        raise _bad(file, f"{what}: the header describes {position} bytes, the file has {file_size}")
