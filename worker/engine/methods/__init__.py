"""The registry: every merge method of the catalogue by its name, as a function that makes one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from worker.engine.methods import blends, deltas, sphere
from worker.engine.work import Work

METHODS: Mapping[str, Callable[[Work], None]] = MappingProxyType(
    {
        "linear": blends.linear,
        "slerp": sphere.slerp,
        "task_arithmetic": blends.task_arithmetic,
        "ties": deltas.ties,
        "dare_linear": deltas.dare_linear,
        "dare_ties": deltas.dare_ties,
        "breadcrumbs": deltas.breadcrumbs,
        "breadcrumbs_ties": deltas.breadcrumbs_ties,
        "passthrough": blends.passthrough,
    }
)
