"""What happens where one block of a stack ends and the next begins, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.recipe.schema import ModelRef, Slice, Source

Kind = Literal["on", "twice", "jump", "back", "hollow"]


@dataclass(frozen=True, slots=True)
class Joint:
    """``on``: goes on with the next layer. ``twice``: layers come a second time. ``jump``: layers are left out.
    ``back``: begins below where the lower block began. ``hollow``: one of the two has no layers."""

    kind: Kind
    text: str


def joint(lower: Slice, upper: Slice, letters: Mapping[ModelRef, str]) -> Joint:
    """From the last layer of ``lower`` to the first of ``upper``. ``letters``: what the parents are called."""
    below, above = _pair(lower, upper)
    if below is None or above is None or not below.layers or not above.layers:
        return Joint("hollow", "no layers")
    (start, end), (first, stop) = below.layers, above.layers
    if start == end or first == stop:
        return Joint("hollow", "a block without layers")
    last, low, high = end - 1, max(start, first), min(end, stop) - 1
    one, other = letters.get(below.model, "") or "the base", letters.get(above.model, "") or "the base"
    same = below.model == above.model
    if first == end:
        return Joint("on", f"goes on with layer {first}" if same else f"goes on in {other} with layer {first}")
    way = f"from {last} to {first}" if same else f"from {one} {last} to {other} {first}"
    if first > end:
        return Joint("jump", f"jumps {way}: {_run(end, first - 1)} left out")
    twice = f"{_run(low, high)} twice" if low <= high else ""
    if first < start:
        return Joint("back", f"goes back {way}" + (f": {twice}" if twice else ""))
    return Joint("twice", twice if same else f"{twice}: from {one}, then from {other}")


def _run(first: int, last: int) -> str:
    return f"layer {first}" if first == last else f"layers {first}–{last}"


def _pair(lower: Slice, upper: Slice) -> tuple[Source | None, Source | None]:
    """The sources to compare: of one model if both blocks have it, else the first of each."""
    below = {source.model: source for source in reversed(lower.sources)}
    for source in upper.sources:
        if source.model in below:
            return below[source.model], source
    return next(iter(lower.sources), None), next(iter(upper.sources), None)
