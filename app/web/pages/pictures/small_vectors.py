"""Vectors of a few numbers, and what a method makes of every entry of a parent's change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

Vector = tuple[float, ...]
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """A parent's change, entry by entry. ``whole`` is all of it, ``part`` what goes into the merge (0: nothing),
    ``outvoted`` marks the entries that were kept until the vote on signs dropped them."""

    whole: Vector
    part: Vector
    outvoted: tuple[bool, ...]


def make_rows(
    wholes: Sequence[Vector], parts: Sequence[Vector], agrees: Sequence[Sequence[bool]] | None = None
) -> tuple[Row, ...]:
    """One row a parent. ``agrees``: the entries whose sign won the vote, where there was one."""
    rows = []
    for number, (whole, part) in enumerate(zip(wholes, parts, strict=True)):
        wins = agrees[number] if agrees else [True] * len(part)
        lost = tuple(bool(value) and not win for value, win in zip(part, wins, strict=True))
        rows.append(Row(whole, tuple(0.0 if out else value for value, out in zip(part, lost, strict=True)), lost))
    return tuple(rows)


def dot(one: Vector, two: Vector) -> float:
    return fsum(a * b for a, b in zip(one, two, strict=True))


def scaled(vector: Vector, factor: float) -> Vector:
    return tuple(value * factor for value in vector)


def combined(vectors: Sequence[Vector], factors: Iterable[float]) -> Vector:
    """The sum of the vectors, each times its factor."""
    pairs = list(zip(vectors, factors, strict=True))
    return tuple(fsum(vector[i] * factor for vector, factor in pairs) for i in range(len(vectors[0])))


def signs_that_win(vectors: Sequence[Vector]) -> list[list[bool]]:
    """The vote of TIES (2306.01708): of each vector the entries that have the sign of the sum; zeros never do."""
    elected = [value >= 0 for value in combined(vectors, [1.0] * len(vectors))]
    return [[value != 0 and (value > 0) == up for value, up in zip(v, elected, strict=True)] for v in vectors]
