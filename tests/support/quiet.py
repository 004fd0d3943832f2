"""A watch that keeps what it is told."""

from __future__ import annotations

from collections.abc import Mapping

from app.planning.plan import Plan
from worker.engine.execute import Written


class Quiet:
    """``stages`` are those entered, ``lines`` the log, ``shards`` the finished ones. It stops the work at ``stop_at``,
    and has ``taken`` bytes of the disk taken already."""

    def __init__(self, stop_at: str = "", taken: int = 0) -> None:
        self.stages: list[str] = []
        self.lines: list[str] = []
        self.done = 0
        self.shards: list[Written] = []
        self._stop_at, self._taken = stop_at, taken

    def check(self) -> None:
        if self._stop_at and self.stages[-1:] == [self._stop_at]:
            raise InterruptedError

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        self.stages.append(stage)
        self.lines.append(text)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        self.done = done

    def planned(self, plan: Plan, memory_bytes: int) -> None:
        self.plan = plan

    def reserve(self, need: int, free: int) -> int:
        return max(0, need + self._taken - free)

    def finished(self, key: str) -> Mapping[str, Written]:
        return {}

    def shard(self, written: Written, key: str) -> None:
        self.shards.append(written)
