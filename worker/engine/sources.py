"""Reading the parents' tensors: positional reads from open files, and noticing files that change meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from app.planning.plan import Input, Plan
from app.recipe.findings import Refused, refuse
from worker.engine.dtypes import ITEMSIZE, Array, count_non_finite

Stamp = tuple[int, int, int]
"""Size, modification time in nanoseconds and inode of a file: equal stamps, same content."""


class SourceFile:
    """One open shard of a parent. ``label`` is the parent's reference, for messages; ``size`` what it should have."""

    def __init__(self, path: Path, label: str, size: int | None) -> None:
        self.path = path
        self.label = label
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.changed("is gone") from None
        self.stamp = self._stamp()
        if size is not None and self.stamp[0] != size:
            self.close()
            raise self.changed(f"has {self.stamp[0]} bytes instead of {size}")

    def _stamp(self) -> Stamp:
        facts = os.fstat(self.descriptor)
        return (facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def changed(self, how: str) -> Refused:
        return refuse(
            "parent-changed",
            self.label,
            f"The file {self.path.name} of {self.label} {how}: it changed after the merge was planned.",
            "Restore or fetch the parent again, leave its files alone during the merge, and start once more.",
        )

    def read(self, into: memoryview, offset: int) -> None:
        """Fills ``into`` from the absolute byte ``offset``. Raises Refused(parent-changed) when the file ends."""
        done = 0
        while done < len(into):
            count = os.preadv(self.descriptor, [into[done:]], offset + done)
            if count == 0:
                raise self.changed("has been cut short")
            done += count

    def check_unchanged(self) -> None:
        if self._stamp() != self.stamp:
            raise self.changed("was written to")

    def close(self) -> None:
        os.close(self.descriptor)


class Source:
    """One input tensor on disk."""

    __slots__ = ("begin", "dtype", "elements", "file", "itemsize", "name")

    def __init__(self, file: SourceFile, one: Input) -> None:
        self.file = file
        self.name = one.tensor.name
        self.dtype = one.tensor.dtype
        self.begin = one.tensor.begin
        self.elements = one.tensor.elements
        self.itemsize = ITEMSIZE.get(self.dtype, 0)

    @property
    def label(self) -> str:
        """The parent's reference as written in the recipe."""
        return self.file.label

    def read(self, into: memoryview, start: int) -> None:
        """Fills ``into`` with elements from index ``start`` on."""
        self.file.read(into, self.begin + start * self.itemsize)

    def count_non_finite(self, buffer: Array) -> int:
        """Counts NaN and infinite values of the whole tensor; ``buffer`` (uint8) is used to read through."""
        step = len(buffer) // self.itemsize
        total = 0
        for start in range(0, self.elements, step):
            piece = buffer[: min(step, self.elements - start) * self.itemsize]
            self.read(piece.data, start)
            total += count_non_finite(piece, self.dtype)
        return total


class Sources:
    """The open files of the parents that one output shard needs."""

    def __init__(self, plan: Plan, folders: Sequence[Path]) -> None:
        self._plan = plan
        self._folders = folders
        self._files: dict[tuple[int, str], SourceFile] = {}
        self._stamps: dict[tuple[int, str], Stamp] = {}
        self._sizes = {
            (parent, file.name): file.size for parent, facts in enumerate(plan.parents) for file in facts.files
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def open(self, one: Input) -> Source:
        """The tensor of ``one``, its file opened when it is not yet. Not for use by several threads at once."""
        key = (one.parent, one.tensor.file)
        if key not in self._files:
            path = self._folders[one.parent] / one.tensor.file
            file = SourceFile(path, self._plan.parents[one.parent].ref, self._sizes.get(key))
            self._files[key] = file
            if self._stamps.setdefault(key, file.stamp) != file.stamp:
                raise file.changed("was written to")
        file = self._files[key]
        if file.stamp[0] < one.tensor.end:
            raise file.changed("is too short")
        return Source(file, one)

    def check_unchanged(self) -> None:
        """Raises Refused(parent-changed) when a file was written to since it was first opened."""
        for file in self._files.values():
            file.check_unchanged()

    def close(self) -> None:
        """Closes the files; their stamps are kept, so that a change between two output shards is noticed too."""
        for file in self._files.values():
            file.close()
        self._files.clear()
