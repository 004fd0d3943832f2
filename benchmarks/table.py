"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.checkpoints import SIZES
from benchmarks.goals import MB, misses
from benchmarks.recipes import RECIPES
from benchmarks.results import Line, Middle

BRIEF_SIZE = "0.5B"
_HEAD = (
    "| recipe (models) | mergekit wall s | CPU s | peak MB | Weightloom wall s | CPU s | peak MB "
    "| × wall | × CPU | × memory | engine s | engine / cp | runs | others |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


_BRIEF_HEAD = (
    "| recipe (models) | mergekit | Weightloom | × less time | × less processor time | memory, MB |\n"
    "|---|--:|--:|--:|--:|--:|"
)


def brief(lines: Sequence[Line]) -> str:
    """What was measured with both tools at the size of the goals, for a first look."""
    both = [line for line in lines if line.size == BRIEF_SIZE and line.ours and line.theirs]
    return "\n".join([_BRIEF_HEAD, *map(_brief_row, both)]) + "\n"


def _brief_row(line: Line) -> str:
    cells = [f"{line.method} ({RECIPES[line.method].inputs})"]
    cells += [f"{_seconds(one.wall)} s" for one in (line.theirs, line.ours) if one]
    cells += [_times(line.wall_ratio), _times(line.cpu_ratio)]
    cells.append(" → ".join(f"{one.peak_bytes / MB:.0f}" for one in (line.theirs, line.ours) if one))
    return "| " + " | ".join(cells) + " |"


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
