"""A parent's file on the Hub, as the engine reads files: in parts that are fetched when they are wanted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.hub.client import HubClient
from app.hub.ranged_file import RangedFile
from app.planning.facts import ModelFacts
from app.recipe.references import parse_reference
from worker.engine.sources import ByteFile, SourceFile

PART = 8 << 20
"""Bytes asked for at a time, at most."""
NEAR = 64 << 10
"""A gap so small between two tensors is fetched along with them."""


@dataclass(eq=False, slots=True)
class Part:
    """The bytes ``[begin, end)`` of a file. ``turn`` sorts parts as they are wanted; ``uses``: expected and not yet
    released. ``slot``: where it lies in the scratch file."""

    file: RemoteFile
    begin: int
    end: int
    turn: tuple[int, float]
    uses: int = 1
    slot: int | None = None
    here: bool = False
    asked: bool = False
    read: bool = False


class Fetcher(Protocol):
    """Who brings the parts; see ``worker.steps.stream``."""

    def add(self, file: RemoteFile) -> None: ...

    def start(self) -> None: ...

    def read(self, part: Part, into: memoryview, begin: int) -> None: ...

    def release(self, part: Part) -> None: ...

    def forget(self, file: RemoteFile, parts: list[Part]) -> None: ...


@dataclass(frozen=True)
class StreamedPlace:
    """A parent on the Hub. Files that are on this machine already are read there."""

    streams: Fetcher
    hub: HubClient
    parent: ModelFacts
    token: str | None

    def open(self, file: str, label: str, size: int | None) -> ByteFile:
        repo, commit = parse_reference(self.parent.ref).name, self.parent.commit or ""
        known = next(one for one in self.parent.files if one.name == file)
        here = self.hub.cache.find(repo, commit, known)
        if here is not None:
            return SourceFile(here, label, size)
        return RemoteFile(self.streams, self.hub.ranged(repo, commit, known, self.token), label)


class RemoteFile:
    """A ``ByteFile`` on the Hub."""

    descriptor: int | None = None

    def __init__(self, streams: Fetcher, remote: RangedFile, label: str) -> None:
        self.remote, self.label = remote, label
        self.size = remote.file.size
        self.stamp: Hashable = None
        self._streams = streams
        self._wanted: dict[tuple[int, int], list[int]] = {}
        self._parts: list[Part] = []
        streams.add(self)

    def expect(self, begin: int, end: int, turn: int) -> None:
        if begin < end:
            self._wanted.setdefault((begin, end), []).append(turn)

    def read(self, into: memoryview, offset: int) -> None:
        if self._wanted:
            self._streams.start()
        done = 0
        for part in self._covering(offset, offset + len(into)):
            begin = offset + done - part.begin
            size = min(len(into) - done, part.end - part.begin - begin)
            self._streams.read(part, into[done : done + size], begin)
            done += size
        if done < len(into):
            raise ValueError(f"bytes of {self.remote.file.name} are read that were not expected")

    def release(self, begin: int, end: int) -> None:
        for part in self._covering(begin, end):
            self._streams.release(part)

    def check_unchanged(self) -> None:
        """Every answer was looked at as it came."""

    def close(self) -> None:
        self._streams.forget(self, self._parts)
        self._wanted, self._parts = {}, []

    def cut(self) -> list[Part]:
        """The parts of what was expected since this was called last."""
        fresh = _cut(self, self._wanted)
        self._parts = sorted([*self._parts, *fresh], key=lambda part: part.begin)
        self._wanted = {}
        return fresh

    def _covering(self, begin: int, end: int) -> list[Part]:
        first = bisect_right(self._parts, begin, key=lambda part: part.begin) - 1
        last = bisect_right(self._parts, end - 1, key=lambda part: part.begin)
        return self._parts[max(0, first) : last] if begin < end else []


def _cut(file: RemoteFile, wanted: Mapping[tuple[int, int], Sequence[int]]) -> list[Part]:
    """Large tensors in several parts, small ones that lie together in one. ``wanted``: turns by (begin, end)."""
    parts: list[Part] = []
    for (begin, end), turns in sorted(wanted.items()):
        for start in range(begin, end, PART):
            stop = min(end, start + PART)
            turn = (min(turns), (start - begin) / (end - begin))
            last = parts[-1] if parts else None
            if last and start - last.end <= NEAR and stop - last.begin <= PART:
                last.end, last.uses, last.turn = stop, last.uses + len(turns), min(last.turn, turn)
            else:
                parts.append(Part(file, start, stop, turn, len(turns)))
    return parts
