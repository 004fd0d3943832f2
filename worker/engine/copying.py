"""Tensors taken over unchanged."""

from __future__ import annotations

import errno
import os

from app.recipe.findings import refuse
from worker.engine.dtypes import ITEMSIZE, count_non_finite
from worker.engine.sources import Source
from worker.engine.work import Work

_PIECE = 8 << 20
_CANNOT_SHARE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EBADF, errno.ETXTBSY}


def copy(work: Work) -> None:
    """The bytes of the single input. Several inputs must hold the same bytes (buffers all parents agree on).

    Float tensors are looked through for NaN and infinite values on the way, like those of every other method.
    """
    first, *others = work.sources
    for other in others:
        _compare(work, first, other)
    if first.dtype in ITEMSIZE:
        _copy_floats(work, first)
    else:
        _copy_bytes(work, first)


def _compare(work: Work, first: Source, other: Source) -> None:
    scratch = work.bench.scratch.data
    half = len(scratch) // 2
    for done in range(0, work.nbytes, half):
        work.crew.check()
        size = min(half, work.nbytes - done)
        first.file.read(scratch[:size], first.begin + done)
        other.file.read(scratch[half : half + size], other.begin + done)
        if scratch[:size] != scratch[half : half + size]:
            raise refuse(
                "parents-differ",
                work.step.name,
                f"{work.step.name} holds {first.dtype} numbers that cannot be averaged, and {first.label} and"
                f" {other.label} have different ones.",
                "Leave one of these parents out.",
            )


def _copy_floats(work: Work, source: Source) -> None:
    scratch = work.bench.scratch
    for done in range(0, work.nbytes, len(scratch)):
        work.crew.check()
        piece = scratch[: min(len(scratch), work.nbytes - done)]
        source.file.read(piece.data, source.begin + done)
        if count_non_finite(piece, source.dtype):
            work.refuse_parents(work.bench)
        work.output.write([piece.data], work.offset + done)
        work.wrote(len(piece))


def _copy_bytes(work: Work, source: Source) -> None:
    done = 0
    while done < work.nbytes:
        work.crew.check()
        size = min(_PIECE, work.nbytes - done)
        copied = _share(work, source, done, size)
        if not copied:
            buffer = work.bench.scratch.data[:size]
            source.file.read(buffer, source.begin + done)
            work.output.write([buffer], work.offset + done)
            copied = len(buffer)
        done += copied
        work.wrote(copied)


def _share(work: Work, source: Source, done: int, size: int) -> int:
    """Copies inside the kernel; 0 when that is not possible here (or the source ends, which a read then tells)."""
    descriptor = source.file.descriptor
    if descriptor is None or not hasattr(os, "copy_file_range"):
        return 0
    try:
        return os.copy_file_range(descriptor, work.output.descriptor, size, source.begin + done, work.offset + done)
    except OSError as error:
        if error.errno in _CANNOT_SHARE:
            return 0
        raise work.output.explain(error) from error
