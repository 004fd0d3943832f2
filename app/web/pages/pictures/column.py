"""A block of a stack as a woven strip: one bar a layer, its height in proportion, the parents' threads in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_TALLEST, _ROOMY, _TIGHT = 620, 11, 3
_SHORTEST = 2
UNITS = 100


@dataclass(frozen=True, slots=True)
class Strand:
    """One parent's part: the colour's class, and a path over a box of 100 by ``BlockPicture.rows``."""

    colour: str
    path: str


@dataclass(frozen=True, slots=True)
class BlockPicture:
    """``height`` and ``pitch`` (one layer) are CSS pixels; ``thickness`` of a bar leaves a gap if there is room."""

    height: float
    pitch: float
    thickness: float
    rows: int
    strands: tuple[Strand, ...]


def pitch_of(layers: int) -> float:
    """Pixels a layer, so that a stack of so many stays on a screen or two."""
    return max(min(_ROOMY, _TALLEST // max(1, layers)), _TIGHT if layers <= _TALLEST else _TALLEST / layers)


def draw(length: int, pitch: float, shares: Sequence[Sequence[float]], colours: Sequence[str]) -> BlockPicture:
    """``shares``: rows from the lowest layer up, evenly spread, each with a share for every one of ``colours``."""
    paths: list[list[str]] = [[] for _ in colours]
    for y, row in enumerate(reversed(shares)):
        x = 0.0
        for path, share in zip(paths, row, strict=True):
            if share > 0:
                path.append(f"M{x:g} {y}h{share * UNITS:.4g}v1h{-share * UNITS:.4g}z")
            x = round(x + share * UNITS, 2)
    strands = tuple(Strand(colour, "".join(path)) for colour, path in zip(colours, paths, strict=True) if path)
    thickness = pitch - (2 if pitch > 7 else 1 if pitch > 2 else 0)
    return BlockPicture(max(_SHORTEST, round(length * pitch, 1)), pitch, thickness, len(shares), strands)
