"""The parents' files that one output shard needs, opened."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from app.planning.adapted import AdaptedTensor
from app.planning.facts import TensorFacts
from app.planning.plan import Input, MadeTensor, Plan
from worker.engine.adapted import adapted
from worker.engine.made import MadeSource
from worker.engine.sources import ByteFile, Folder, Place, Source, parent_changed


class Sources:
    """The open files of the parents that one output shard needs. ``places[i]`` holds the files of parent ``i``."""

    def __init__(self, plan: Plan, places: Sequence[Path | Place]) -> None:
        self._plan = plan
        self._places = [Folder(place) if isinstance(place, Path) else place for place in places]
        self._files: dict[tuple[int, str], ByteFile] = {}
        self._stamps: dict[tuple[int, str], Hashable] = {}
        self._sizes = {
            (parent, file.name): file.size for parent, facts in enumerate(plan.parents) for file in facts.files
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def open(self, one: Input, turn: int = 0) -> Source:
        """The tensor of ``one``, its files opened when they are not yet. Not for use by several threads at once."""
        tensor = one.tensor
        if isinstance(tensor, MadeTensor):
            return MadeSource(tensor, tuple(self.open(part, turn) for part in tensor.made_by.every_input))
        if not isinstance(tensor, AdaptedTensor):
            return self._plain(one.parent, tensor, turn)
        adapter = self._plan.adapters[one.parent]
        own = None if tensor.own is None else self._plain(one.parent, tensor.own, turn)
        return adapted(tensor, own, {part: self._plain(adapter, part, turn) for part in tensor.of_adapter})

    def _plain(self, parent: int, tensor: TensorFacts, turn: int) -> Source:
        file = self._file(parent, tensor.file)
        if file.size < tensor.end:
            raise parent_changed(tensor.file, file.label, "is too short")
        file.expect(tensor.begin, tensor.end, turn)
        return Source(file, tensor)

    def _file(self, parent: int, name: str) -> ByteFile:
        key = (parent, name)
        if key not in self._files:
            label = self._plan.parents[parent].ref
            file = self._places[parent].open(name, label, self._sizes.get(key))
            self._files[key] = file
            if file.stamp is not None and self._stamps.setdefault(key, file.stamp) != file.stamp:
                raise parent_changed(name, label, "was written to")
        return self._files[key]

    def check_unchanged(self) -> None:
        """Raises Refused(parent-changed) when a file was written to since it was first opened."""
        for file in self._files.values():
            file.check_unchanged()

    def close(self) -> None:
        """Closes the files; their stamps are kept, so that a change between two output shards is noticed too."""
        for file in self._files.values():
            file.close()
        self._files.clear()
