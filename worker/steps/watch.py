"""Who looks on while a job is done: the worker's runner, or the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from app.planning.plan import Plan
from worker.engine.execute import Written


class Watch(Protocol):
    """The steps tell it everything and know nothing of databases, queues or terminals."""

    def check(self) -> None:
        """Called at least every quarter of a second, from the thread that called the step. Raises to stop the work."""

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        """A stage begins. ``tensors`` and ``size`` (bytes): what it will have to do, 0 when it is not counted."""

    def log(self, text: str) -> None:
        """A line worth keeping."""

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        """Bytes and tensors done so far in this stage, and the tensor finished last. Cheap, however often."""

    def planned(self, plan: Plan, memory_bytes: int) -> None:
        """What exactly will be done is known now."""

    def reserve(self, need: int, free: int) -> int:
        """Reserve ``need`` of the ``free`` bytes of the results' disk. Returns how many bytes are missing."""

    def finished(self, key: str) -> Mapping[str, Written]:
        """The shards that earlier attempts finished for this very plan, by file name."""

    def shard(self, written: Written, key: str) -> None:
        """A shard is safe on disk."""


class Passing:
    """A ``Watch`` that passes everything on to another; the base of those that do something besides."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def check(self) -> None:
        self.watch.check()

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        self.watch.enter(stage, text, tensors=tensors, size=size)

    def log(self, text: str) -> None:
        self.watch.log(text)

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        self.watch.progress(done, tensors=tensors, tensor=tensor)

    def planned(self, plan: Plan, memory_bytes: int) -> None:
        self.watch.planned(plan, memory_bytes)

    def reserve(self, need: int, free: int) -> int:
        return self.watch.reserve(need, free)

    def finished(self, key: str) -> Mapping[str, Written]:
        return self.watch.finished(key)

    def shard(self, written: Written, key: str) -> None:
        self.watch.shard(written, key)
