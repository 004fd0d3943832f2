"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.checkpoints import SIZES
from benchmarks.goals import MB, misses
from benchmarks.recipes import RECIPES
from benchmarks.results import Line, Middle

_HEAD = (
    "| recipe (models) | mergekit wall s | CPU s | peak MB | Weightloom wall s | CPU s | peak MB "
    "| × wall | × CPU | × memory | engine s | engine / cp | runs | others |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def markdown(lines: Sequence[Line]) -> str:
    """One table a size, and under it what misses its goal."""
    parts = []
    for size in dict.fromkeys(line.size for line in lines):
        own = [line for line in lines if line.size == size]
        parts.append(f"### {size}: {SIZES[size].parameters():,} parameters\n".replace(",", " "))
        parts.append("\n".join([_HEAD, *map(_row, own)]) + "\n")
        missed = [f"- {line.method}: {'; '.join(found)}." for line in own if (found := misses(line))]
        if missed:
            parts.append("\n".join(["Short of its goal:\n", *missed]) + "\n")
    return "\n".join(parts)


def _row(line: Line) -> str:
    cells = [
        f"{line.method} ({RECIPES[line.method].inputs})",
        *_costs(line.theirs),
        *_costs(line.ours),
        *(_times(one) for one in (line.wall_ratio, line.cpu_ratio, line.memory_ratio)),
        _seconds(line.engine.wall if line.engine else None),
        _times(line.copies),
        f"{line.ours.runs if line.ours else 0}/{line.theirs.runs if line.theirs else 0}",
        _disturbed(line),
    ]
    return "| " + " | ".join(cells) + " |"


def _costs(middle: Middle | None) -> list[str]:
    if middle is None:
        return ["–"] * 3
    return [_seconds(middle.wall), _seconds(middle.cpu), f"{middle.peak_bytes / MB:.0f}"]


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _times(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _disturbed(line: Line) -> str:
    """Others' share of the processors during our runs and theirs, in percent; * where the hypervisor took much."""
    both = [middle for middle in (line.ours, line.theirs) if middle]
    return "/".join(f"{100 * one.disturbed:.0f}{'*' if one.stolen else ''}" for one in both) + " %"
