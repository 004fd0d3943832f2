"""For tests of single steps: a watch that only listens, and plans of the two tiny models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.library.facts import Library
from app.library.local import LocalRoots
from app.planning.plan import Plan
from app.preflight import preflight
from tests.worker.rig import RECIPE
from worker.engine.execute import Written


class Quiet:
    """A watch that remembers."""

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


def local(models: Path) -> Library:
    return Library(None, LocalRoots({"models": models}))


def plan_of(library: Library, recipe: str = RECIPE, seed: int | None = None) -> Plan:
    looked = preflight(recipe, library, seed=seed)
    assert looked.plan is not None, looked.findings
    return looked.plan
