"""The registry: every merge method of the catalogue by its name, as a function that makes one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from worker.engine.methods import blends
from worker.engine.work import Work

METHODS: Mapping[str, Callable[[Work], None]] = MappingProxyType(
    {
        "linear": blends.linear,
        "task_arithmetic": blends.task_arithmetic,
        "passthrough": blends.passthrough,
    }
)
