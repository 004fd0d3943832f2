"""The donor's rows of the tokens that both vocabularies have, in a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from app.recipe.findings import Refused, refuse
from worker.engine.dtypes import Array, decode
from worker.steps.align import BLOCK_BYTES, Matrix


class SharedRows:
    """They are read through a mapping of the file, as they are stored, so that the system keeps of them what fits."""

    def __init__(self, path: Path, dtype: str, lengths: Array, row_bytes: int) -> None:
        self._raw = np.memmap(path, np.uint8, "r", shape=(len(lengths), row_bytes))
        self._dtype, self._lengths = dtype, lengths

    @property
    def lengths(self) -> Array:
        return self._lengths

    def block(self, begin: int, end: int) -> Array:
        return decode(np.asarray(self._raw[begin:end]), self._dtype).astype(np.float32, copy=False)

    def rows(self, numbers: Array) -> Array:
        return decode(np.asarray(self._raw[numbers]), self._dtype).astype(np.float32, copy=False)


def gather(matrix: Matrix, numbers: Sequence[int], path: Path, ref: str, check: Callable[[], None]) -> SharedRows:
    """The rows with these ``numbers``, written to ``path``. Raises Refused, OSError, or what ``check`` raises."""
    wanted = np.asarray(numbers, np.int64)
    step = max(1, BLOCK_BYTES // max(1, matrix.elements * 8))
    lengths, row_bytes = [], 0
    with path.open("wb") as file:
        for start in range(0, len(wanted), step):
            raw = matrix.read(wanted[start : start + step])
            values = sound(decode(raw, matrix.dtype), ref).astype(np.float64)
            lengths.append(np.sqrt(np.einsum("ij,ij->i", values, values)))
            row_bytes = raw.shape[1]
            file.write(raw.data)
            check()
    return SharedRows(path, matrix.dtype, np.concatenate(lengths), row_bytes)


def sound(values: Array, ref: str) -> Array:
    """The same values. Raises Refused for NaN and infinite ones."""
    if not np.isfinite(values).all():
        raise _unsound(ref)
    return values


def _unsound(ref: str) -> Refused:
    text = f"The embedding of {ref} holds values that are NaN or infinite."
    return refuse("not-finite", ref, text, "Use another version of it, or --approach subword.")
