"""A watch that keeps what it is told and never stops the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.planning.plan import Plan
from worker.engine.execute import Written


@dataclass
class Quiet:
    """``lines`` are the log; ``shards`` the finished ones."""

    lines: list[str] = field(default_factory=list)
    shards: list[Written] = field(default_factory=list)

    def check(self) -> None: ...

    def enter(self, stage: str, text: str, *, tensors: int = 0, size: int = 0) -> None:
        self.lines.append(text)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None: ...

    def planned(self, plan: Plan, memory_bytes: int) -> None: ...

    def reserve(self, need: int, free: int) -> int:
        return max(0, need - free)

    def finished(self, key: str) -> Mapping[str, Written]:
        return {}

    def shard(self, written: Written, key: str) -> None:
        self.shards.append(written)
