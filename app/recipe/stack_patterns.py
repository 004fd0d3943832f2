"""Ready patterns of stacks, filled in from the number of layers of the chosen parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS
from app.recipe.findings import refuse
from app.recipe.schema import EMPTY, ModelRef, Parameters, Recipe, Rule, Slice, Source

_EVERY = 4
_SILENCE: Parameters = MappingProxyType({"scale": (Rule(0.0, "o_proj"), Rule(0.0, "down_proj"))})
"""What attention and MLP write, as most models call it."""
Range = tuple[int, int, int]
"""Which of the chosen parents, the first layer, the end (exclusive)."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """``blocks``: what it makes of a number of layers, the lowest block first. ``parents``: how many it takes.
    ``silent``: every second block adds nothing before it is trained, since what it writes is scaled by 0."""

    name: str
    title: str
    sentence: str
    blocks: Callable[[int], list[Range]]
    parents: int = 1
    silent: bool = False


def _double(count: int) -> list[Range]:
    return [(0, 0, count), (0, 0, count)]


def _upscale(count: int) -> list[Range]:
    """Two copies without the last and the first quarter: 32 layers become 48 (SOLAR, arXiv 2312.15166)."""
    left_out = count // 4
    return [(0, 0, count - left_out), (0, left_out, count)]


def _windows(count: int, parents: int = 1) -> list[Range]:
    """Windows of a quarter of the layers, each half over the one below, the parents by turns."""
    half = max(1, count // 8)
    starts = range(0, max(1, count - 2 * half + 1), half)
    blocks = [(turn % parents, start, start + 2 * half) for turn, start in enumerate(starts)]
    return [*blocks[:-1], (blocks[-1][0], blocks[-1][1], count)]


def _expand(count: int) -> list[Range]:
    """Behind every fourth layer a copy of it: 32 layers become 40 (LLaMA Pro, arXiv 2401.02415)."""
    ends = [*range(_EVERY, count, _EVERY), count]
    return [block for end in ends for block in ((0, (end - 1) // _EVERY * _EVERY, end), (0, end - 1, end))]


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        one.name: one
        for one in (
            Pattern("double", "Self-stack 2×", "The whole model, and once more on top: passthrough 2×.", _double),
            Pattern(
                "upscale", "Depth up-scaling",
                "Two copies that overlap in the middle, half as deep again. Known from SOLAR.", _upscale,
            ),
            Pattern(
                "expand", "Block expansion", "Behind every fourth layer a copy that adds nothing until it is trained. "
                "Known from LLaMA Pro.", _expand, silent=True,
            ),
            Pattern(
                "windows", "Sliding windows", "Short runs of layers, each half over the one below, as in 120B "
                "self-merges.", _windows,
            ),
            Pattern(
                "interleave", "Interleave two", "Short runs of layers from two models by turns, as in Goliath.",
                lambda count: _windows(count, 2), parents=2,
            ),
        )
    }
)  # fmt: skip


def fill(recipe: Recipe, name: str, parents: Sequence[tuple[ModelRef, int]]) -> Recipe:
    """The recipe as a passthrough stack of this pattern. ``parents``: each with its number of layers, the fewest count.

    What concerns the result as a whole stays: tokenizer, number format, name, seed. Raises Refused.
    """
    pattern = PATTERNS.get(name)
    if pattern is None:
        raise refuse("unknown-pattern", "", f'There is no pattern "{name[:20]}".', "Reload the page.")
    chosen = parents[: pattern.parents]
    if len({model for model, _ in chosen}) < pattern.parents:
        raise refuse("pattern-parents", "", f"{pattern.title} needs {pattern.parents} models.", "Choose two of them.")
    count = min(layers for _, layers in chosen)
    if count < 1:
        raise refuse("no-layers", str(chosen[0][0]), f"{chosen[0][0]} has no layers to stack.", "Choose another model.")
    slices = tuple(
        Slice((Source(chosen[which][0], (first, end), _SILENCE if pattern.silent and turn % 2 else EMPTY),))
        for turn, (which, first, end) in enumerate(pattern.blocks(count))
    )
    used = {model for model, _ in chosen}
    return replace(
        recipe,
        merge_method="passthrough",
        base_model=recipe.base_model if recipe.base_model in used else None,
        models=(),
        slices=slices,
        modules=MappingProxyType({}),
        parameters=_of_passthrough(recipe.parameters),
    )


def _of_passthrough(parameters: Parameters) -> Parameters:
    known = METHODS["passthrough"]
    return MappingProxyType({name: one for name, one in parameters.items() if known.parameter(name)})
