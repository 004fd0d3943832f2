"""What the engine is meant to reach beside mergekit, and where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.results import Line

MB = 1_000_000


@dataclass(frozen=True)
class Goal:
    """``faster``: times less wall and processor time. ``peak_bytes``: most memory. ``copies``: most engine time, in
    copies of the output."""

    faster: float
    peak_bytes: int
    copies: float | None = None


_SIMPLE = Goal(6, 250 * MB)
_TWO_PASSES = Goal(6, 250 * MB, 4)
_RANKED = Goal(30, 250 * MB)

GOALS: Mapping[str, Goal] = {
    "passthrough": Goal(8, 150 * MB),
    "linear": Goal(6, 250 * MB, 2.5),
    "linear-4": _SIMPLE,
    "task_arithmetic": _SIMPLE,
    "slerp": _TWO_PASSES,
    "nuslerp": _TWO_PASSES,
    "multislerp": _TWO_PASSES,
    "karcher": _TWO_PASSES,
    "model_stock": _TWO_PASSES,
    "dare_linear": Goal(18, 250 * MB),
    "dare_ties": Goal(18, 250 * MB),
    "ties": Goal(30, 250 * MB, 8),
    "breadcrumbs": _RANKED,
    "breadcrumbs_ties": _RANKED,
    "sce": _RANKED,
    "ram": _RANKED,
    "ramplus_tl": _RANKED,
    "della": Goal(30, 300 * MB),
    "della_linear": Goal(30, 300 * MB),
}
SIZES = ("0.5B", "1.5B")
"""The goals hold where the weights count, not the start of a program."""


def misses(line: Line) -> list[str]:
    """In words, what of its goal a recipe does not reach; what was not measured is not missed."""
    goal = GOALS.get(line.method)
    if goal is None or line.size not in SIZES:
        return []
    found = []
    for what, reached in (("wall time", line.wall_ratio), ("processor time", line.cpu_ratio)):
        if reached is not None and reached < goal.faster:
            found.append(f"{what} {reached:.1f} × less, not {goal.faster:g} ×")
    if line.ours and line.ours.peak_bytes > goal.peak_bytes:
        found.append(f"peak memory {line.ours.peak_bytes / MB:.0f} MB, not {goal.peak_bytes / MB:.0f} MB")
    if goal.copies and line.copies and line.copies > goal.copies:
        found.append(f"engine {line.copies:.1f} × a copy of the output, not {goal.copies:g} ×")
    return found
