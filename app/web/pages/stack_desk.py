"""The Stack view: a recipe's layers as blocks on a column, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from app.planning.block_shares import block_shares
from app.planning.facts import ModelFacts
from app.planning.layers import read_structure
from app.planning.plan import Plan
from app.recipe.form import FormView
from app.recipe.joints import Joint, joint
from app.recipe.knobs import Knob
from app.recipe.schema import ModelRef, Recipe
from app.recipe.stack import LONGEST, is_one_whole, length_of
from app.recipe.stack_form import BlockView, SourceView, view_blocks
from app.recipe.stack_patterns import PATTERNS, Pattern
from app.web.model_summary import layer_count
from app.web.pages.pictures import column
from app.web.pages.pictures.threads import thread
from app.web.rendering import short_number

_MOST_BLOCKS, _MOST_SOURCES = 64, 200
_SKETCH = 16
"""Layers of the model in a pattern's small picture."""

State = Literal["none", "models", "long", "blocks"]


@dataclass(frozen=True, slots=True)
class Thread:
    """A parent as the stack names it. ``index`` is its place among ``recipe.parents()``."""

    index: int
    name: str
    letter: str
    colour: str

    @property
    def word(self) -> str:
        return self.letter or "base"

    @property
    def short(self) -> str:
        """The model's own name, without its owner or folder."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class SourceCard:
    """``last`` is included; ``most`` is the parent's last layer, empty while it is not known."""

    field: str
    thread: Thread
    first: int
    last: int
    most: str
    knobs: tuple[Knob, ...]

    @property
    def beyond(self) -> bool:
        """Whether it asks for layers that the parent does not have."""
        return bool(self.most) and self.last > int(self.most)


@dataclass(frozen=True, slots=True)
class BlockCard:
    """One block. ``index`` counts from the lowest; ``bottom`` and ``top`` are its layers in the result; ``joint`` is
    what happens between it and the block below."""

    index: int
    bottom: int
    top: int
    length: int
    sources: tuple[SourceCard, ...]
    knobs: tuple[Knob, ...]
    picture: column.BlockPicture
    joint: Joint | None

    @property
    def title(self) -> str:
        return " + ".join(source.thread.word for source in self.sources)

    @property
    def range(self) -> str:
        if not self.length:
            return "no layers"
        first, last = self.sources[0].first, self.sources[0].last
        return f"layer {first}" if first == last else f"layers {first}–{last}"


@dataclass(frozen=True, slots=True)
class PatternCard:
    """``rows``: x, y, width, height and colour of each block in a picture of 40 by 48."""

    pattern: Pattern
    rows: tuple[tuple[float, float, float, float, str], ...]


@dataclass(frozen=True)
class StackDesk:
    """``blocks`` from the top down; ``known``: reference and number of layers of the parents looked up so far;
    ``left_out``: what is missing below the first block and above the last; ``whole``: one block with all layers;
    ``blends``: whether the method takes several sources a block; ``opened``: where some modules got a value of their
    own a moment ago."""

    state: State
    threads: tuple[Thread, ...]
    blocks: tuple[BlockCard, ...]
    layers: int
    parameters: str
    known: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    whole: bool
    blends: bool
    patterns: tuple[PatternCard, ...]
    opened: str = ""


def layer_counts(facts: Mapping[ModelRef, ModelFacts]) -> dict[ModelRef, int]:
    """The number of layers of each parent: what its config tells, else by its tensors' names (slow for many)."""
    told = {model: layer_count(one.config) or read_structure(one).layers for model, one in facts.items()}
    return {model: count for model, count in told.items() if 0 < count < LONGEST}


def stack_desk(
    recipe: Recipe, form: FormView, counts: Mapping[ModelRef, int], plan: Plan | None, opened: str = ""
) -> StackDesk:
    threads = {
        parent.model: Thread(parent.index, str(parent.model), parent.letter, thread(parent.letter))
        for parent in form.parents
    }
    state = _state(recipe)
    return StackDesk(
        state=state,
        threads=tuple(threads.values()),
        blocks=_cards(recipe, threads, counts) if state == "blocks" else (),
        layers=sum(length_of(piece) for piece in recipe.slices),
        parameters=short_number(plan.parameters) if plan else "",
        known=tuple((str(model), count) for model, count in counts.items() if model in threads),
        left_out=_left_out(recipe, counts, threads),
        whole=is_one_whole(recipe, counts),
        blends=form.method.max_parents != 1,
        patterns=_PATTERNS,
        opened=opened,
    )


_TOLD = {
    "split": "Block split", "duplicate": "Block copied", "up": "Block moved up", "down": "Block moved down",
    "move": "Block moved", "remove": "Block removed", "add": "Block added on top", "blend": "Model blended in",
    "leave": "Model taken out of the block", "pattern": "Filled with the pattern", "make": "Now a stack of blocks",
    "unmake": "A plain blend again",
}  # fmt: skip


def told(action: str, recipe: Recipe) -> str:
    """What a button of the stack did, and how deep the result is now."""
    words = _TOLD.get(action.split(":")[1] if ":" in action else "", "Stack changed")
    layers = sum(length_of(piece) for piece in recipe.slices)
    return f"{words}. {layers} layers." if layers else f"{words}."


def _state(recipe: Recipe) -> State:
    if recipe.slices:
        too_many = len(recipe.slices) > _MOST_BLOCKS or sum(1 for _ in recipe.sources()) > _MOST_SOURCES
        return "long" if too_many else "blocks"
    return "models" if recipe.parents() else "none"


def _cards(recipe: Recipe, threads: Mapping[ModelRef, Thread], counts: Mapping[ModelRef, int]) -> tuple[BlockCard, ...]:
    blocks = view_blocks(recipe)
    letters = {model: one.letter for model, one in threads.items()}
    pitch = column.pitch_of(sum(block.length for block in blocks))
    below = [None, *blocks]
    cards = [
        BlockCard(
            index=block.index,
            bottom=block.first,
            top=block.first + block.length - 1,
            length=block.length,
            sources=tuple(_source(source, threads, counts) for source in block.sources),
            knobs=block.knobs,
            picture=_picture(recipe, block, threads, pitch),
            joint=joint(lower.piece, block.piece, letters) if lower else None,
        )
        for lower, block in zip(below, blocks, strict=False)
    ]
    return tuple(reversed(cards))


def _source(source: SourceView, threads: Mapping[ModelRef, Thread], counts: Mapping[ModelRef, int]) -> SourceCard:
    count = counts.get(source.model)
    most = str(count - 1) if count else ""
    knobs = tuple(knob for knob in source.knobs if knob.parameter.used)
    return SourceCard(source.field, threads[source.model], source.first, source.last, most, knobs)


def _picture(recipe: Recipe, block: BlockView, threads: Mapping[ModelRef, Thread], pitch: float) -> column.BlockPicture:
    told = block_shares(recipe, block.piece)
    colours = [threads[model].colour if model in threads else thread("") for model in told.models]
    return column.draw(block.length, pitch, told.rows, colours)


def _left_out(recipe: Recipe, counts: Mapping[ModelRef, int], threads: Mapping[ModelRef, Thread]) -> tuple[str, ...]:
    """Layers that a model begins or ends with in its own form, and that the stack does not begin or end with."""
    ends = [piece.sources[0] for piece in (*recipe.slices[:1], *recipe.slices[-1:]) if piece.sources]
    if len(ends) < 2 or not ends[0].layers or not ends[1].layers:
        return ()
    first, last, count = ends[0].layers[0], ends[1].layers[1], counts.get(ends[1].model, 0)
    told = []
    if first > 0:
        told.append(f"begins with layer {first} of {threads[ends[0].model].word}, not with its first")
    if 0 < last < count:
        told.append(f"ends with layer {last - 1} of {threads[ends[1].model].word}, which goes up to {count - 1}")
    return tuple(told)


def _sketch(pattern: Pattern) -> PatternCard:
    blocks = pattern.blocks(_SKETCH)
    whole = sum(end - first for _, first, end in blocks)
    gap, y, rows = 1.5, 48.0, []
    room = 48 - gap * (len(blocks) - 1)
    for which, first, end in blocks:
        height = room * (end - first) / whole
        y -= height
        x = 14 * first / _SKETCH if len(blocks) > 1 else 0
        rows.append((round(x, 1), round(y, 1), 26.0, round(height, 1), thread("AB"[which])))
        y -= gap
    return PatternCard(pattern, tuple(rows))


_PATTERNS = tuple(_sketch(pattern) for pattern in PATTERNS.values())
