"""Reading the parents' tensors: positional reads from files wherever they lie, and noticing those that change."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.planning.facts import TensorFacts
from app.recipe.findings import Refused, refuse
from worker.engine.dtypes import ITEMSIZE, Array, count_non_finite


class ByteFile(Protocol):
    """One open file of a parent, on this machine or elsewhere. Read by several threads at once.

    ``label``: the parent's reference, for messages. ``size`` in bytes. ``descriptor``: for copies inside the kernel,
    None when the file is not on this machine. ``stamp``: equal stamps, same content; None when that is not known.
    """

    @property
    def label(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def descriptor(self) -> int | None: ...

    @property
    def stamp(self) -> Hashable: ...

    def expect(self, begin: int, end: int, turn: int) -> None:
        """Bytes that will be read, told for everything an output shard needs before the first read. ``turn``: the place
        in the order in which they are wanted."""

    def read(self, into: memoryview, offset: int) -> None:
        """Fills ``into`` from the absolute byte ``offset``. Raises Refused(parent-changed), or why it cannot be had."""

    def release(self, begin: int, end: int) -> None:
        """Bytes that were expected are not read any more; as often as they were expected."""

    def check_unchanged(self) -> None:
        """Raises Refused(parent-changed) when the file was written to since it was opened."""

    def close(self) -> None: ...


class Place(Protocol):
    """Where a parent's files can be opened."""

    def open(self, file: str, label: str, size: int | None) -> ByteFile:
        """``size``: what the file should have. Raises Refused(parent-changed)."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A parent on this machine."""

    path: Path

    def open(self, file: str, label: str, size: int | None) -> SourceFile:
        return SourceFile(self.path / file, label, size)


class SourceFile:
    """An open file on this machine. Its stamp is size, time of change in nanoseconds, and inode."""

    def __init__(self, path: Path, label: str, size: int | None) -> None:
        self.path = path
        self.label = label
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.changed("is gone") from None
        self.stamp = self._stamp()
        self.size = self.stamp[0]
        if size is not None and self.size != size:
            self.close()
            raise self.changed(f"has {self.size} bytes instead of {size}")

    def _stamp(self) -> tuple[int, int, int]:
        facts = os.fstat(self.descriptor)
        return (facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def changed(self, how: str) -> Refused:
        return parent_changed(self.path.name, self.label, how)

    def expect(self, begin: int, end: int, turn: int) -> None:
        """Nothing to prepare: the system reads ahead."""

    def release(self, begin: int, end: int) -> None:
        """Nothing is held."""

    def read(self, into: memoryview, offset: int) -> None:
        done = os.preadv(self.descriptor, (into,), offset)
        while done < len(into):
            count = os.preadv(self.descriptor, (into[done:],), offset + done)
            if count == 0:
                raise self.changed("has been cut short")
            done += count

    def check_unchanged(self) -> None:
        if self._stamp() != self.stamp:
            raise self.changed("was written to")

    def close(self) -> None:
        os.close(self.descriptor)


def parent_changed(file: str, label: str, how: str) -> Refused:
    return refuse(
        "parent-changed",
        label,
        f"The file {file} of {label} {how}: it changed after the merge was planned.",
        "Restore or fetch the parent again, leave its files alone during the merge, and start once more.",
    )


class Source:
    """One input tensor."""

    __slots__ = ("begin", "dtype", "elements", "end", "file", "itemsize", "name")

    def __init__(self, file: ByteFile, tensor: TensorFacts) -> None:
        self.file = file
        self.name = tensor.name
        self.dtype = tensor.dtype
        self.begin, self.end = tensor.begin, tensor.end
        self.elements = tensor.elements
        self.itemsize = ITEMSIZE.get(self.dtype, 0)

    @property
    def label(self) -> str:
        """The parent's reference as written in the recipe."""
        return self.file.label

    def read(self, into: memoryview, start: int) -> None:
        """Fills ``into`` with elements from index ``start`` on."""
        self.file.read(into, self.begin + start * self.itemsize)

    def release(self) -> None:
        """The tensor it was opened for is made."""
        self.file.release(self.begin, self.end)

    def count_non_finite(self, buffer: Array) -> int:
        """Counts NaN and infinite values of the whole tensor; ``buffer`` (uint8) is used to read through."""
        step = len(buffer) // self.itemsize
        total = 0
        for start in range(0, self.elements, step):
            piece = buffer[: min(step, self.elements - start) * self.itemsize]
            self.read(piece.data, start)
            total += count_non_finite(piece, self.dtype)
        return total
