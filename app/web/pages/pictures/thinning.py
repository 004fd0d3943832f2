"""The task arithmetic family on small vectors: changes thinned out, weighed, voted on, agreed on, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import fsum

from app.web.pages.pictures.small_vectors import Row, Values, Vector, combined, make_rows, scaled, signs_that_win

Mask = list[bool]
_VOTE = ("ties", "dare_ties", "breadcrumbs_ties", "della", "consensus_ties")
_CONSENSUS = ("consensus_ta", "consensus_ties")
_LEAST_SUM = 1e-7


def task_vectors(
    method: str, changes: Sequence[Vector], shared: Values, each: Sequence[Values], draws: Sequence[Vector]
) -> tuple[Vector, tuple[Row, ...]]:
    """λ · Σ wᵢ rescaleᵢ maskᵢ(δᵢ), voted on or not, divided by the weights if ``normalize``; and every entry's fate.

    ``draws``: for the random methods a number from 0 to 1 an entry, kept where it is below the entry's chance.
    """
    weights = [one["weight"] for one in each]
    weighed = []
    for number, (change, one) in enumerate(zip(changes, each, strict=True)):
        mask = _masks(method)(change, one, draws[number] if draws else ())
        kept = tuple(value if keep else 0.0 for value, keep in zip(change, mask, strict=True))
        weighed.append(scaled(kept, one["weight"] * (_made_up(change, kept) if shared.get("rescale") else 1.0)))
    agrees = signs_that_win(weighed) if method in _VOTE else None
    rows = make_rows([scaled(change, weight) for change, weight in zip(changes, weights, strict=True)], weighed, agrees)
    merged = combined([row.part for row in rows], [1.0] * len(rows))
    if method in _CONSENSUS:
        enough = _have_a_say(merged, rows, [one["threshold"] for one in each], int(shared["k"]))
        rows = tuple(replace(row, part=_only(row.part, enough)) for row in rows)
        merged = _only(merged, enough)
    if shared.get("normalize"):
        merged = _divided(merged, weights, agrees)
    return scaled(merged, shared["lambda"]), rows


def _have_a_say(merged: Vector, rows: Sequence[Row], thresholds: Sequence[float], least: int) -> list[bool]:
    """Where at least ``least`` parents have |wᵢδᵢ| ≥ τᵢ |m − wᵢδᵢ|, m being the merged change (2405.07813)."""
    voices = [
        sum(
            abs(row.whole[i]) >= threshold * abs(whole - row.whole[i])
            for row, threshold in zip(rows, thresholds, strict=True)
        )
        for i, whole in enumerate(merged)
    ]
    return [count >= least for count in voices]


def _only(vector: Vector, where: Sequence[bool]) -> Vector:
    return tuple(value if keep else 0.0 for value, keep in zip(vector, where, strict=True))


def _divided(merged: Vector, weights: Sequence[float], agrees: Sequence[Sequence[bool]] | None) -> Vector:
    """By the sum of the weights; after a vote by the weights of those that won it, entry by entry."""
    if agrees is None:
        return scaled(merged, 1 / fsum(weights)) if abs(fsum(weights)) >= 1e-8 else merged
    below = [fsum(w for w, wins in zip(weights, agrees, strict=True) if wins[i]) for i in range(len(merged))]
    return tuple(value / (divisor or 1.0) for value, divisor in zip(merged, below, strict=True))


def _made_up(change: Vector, kept: Vector) -> float:
    """The factor that gives what was kept the total size of the whole change."""
    before, after = fsum(map(abs, change)), fsum(map(abs, kept))
    return before / after if min(before, after) >= _LEAST_SUM else 1.0


def _ascending(change: Vector) -> list[int]:
    return sorted(range(len(change)), key=lambda i: abs(change[i]))


def _everything(change: Vector, one: Values, draw: Vector) -> Mask:  # noqa: ARG001
    return [True] * len(change)


def _largest(change: Vector, one: Values, draw: Vector) -> Mask:  # noqa: ARG001
    density, size = one["density"], len(change)
    if density >= 1 or density <= 0:
        return [density >= 1] * size
    chosen = set(sorted(range(size), key=lambda i: -abs(change[i]))[: max(1, int(density * size))])
    return [i in chosen for i in range(size)]


def _middle(change: Vector, one: Values, draw: Vector) -> Mask:  # noqa: ARG001
    density, size = one["density"], len(change)
    if density >= 1:
        return [True] * size
    keep = max(0, int(density * size))
    smallest = max(0, size - keep - int(one["gamma"] * size))
    chosen = set(_ascending(change)[smallest : smallest + keep])
    return [i in chosen for i in range(size)]


def _by_chance(change: Vector, one: Values, draw: Vector) -> Mask:
    return [one["density"] >= 1 or number < one["density"] for number in draw] if draw else [True] * len(change)


def _by_rank(change: Vector, one: Values, draw: Vector) -> Mask:
    """DELLA (2406.11617): the chance rises with the rank of the magnitude, from ρ − ε to ρ + ε."""
    density, size = one["density"], len(change)
    if density >= 1 or density <= 0 or not draw:
        return [density >= 1 or not draw] * size
    chances = [0.0] * size
    for rank, place in enumerate(_ascending(change)):
        chances[place] = density - one["epsilon"] + 2 * one["epsilon"] * rank / max(1, size - 1)
    return [number < chance for number, chance in zip(draw, chances, strict=True)]


def _masks(method: str) -> Callable[[Vector, Values, Vector], Mask]:
    for beginning, mask in (
        ("ties", _largest),
        ("consensus_ties", _largest),
        ("dare", _by_chance),
        ("breadcrumbs", _middle),
        ("della", _by_rank),
    ):
        if method.startswith(beginning):
            return mask
    return _everything
