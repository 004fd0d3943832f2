"""Which tensors of the models meet, which of their rows are read, and what that costs. From headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from app.comparing.sampling import Ranges, counted, sample_rows, spread
from app.planning.facts import DTYPE_BYTES, MERGEABLE, ModelFacts, TensorFacts
from app.planning.layers import Structure, read_structure
from app.planning.same_names import OTHER_NAMES, called_as
from app.planning.strict_json import short
from app.recipe.findings import Finding, refuse

MOST_MODELS = 8
SAMPLE_BYTES = 32_000_000
"""What a sample reads of one model, about."""
FEWEST_ROWS, MOST_ROWS = 8, 64
"""Of one tensor in a sample."""
MOST_RUNS = 4
MOST_PIECES = 2000
"""Pieces a sample reads in all: the Hub counts requests, and each takes a tenth of a second."""
WHOLE_BYTES = 32_768
"""Tensors up to this size are read whole: no request is shorter than its own way there and back."""
TENSORS_IN_A_CELL = 6
"""Of one layer's module in a sample; a mixture has hundreds of experts there."""
RANK_ELEMENTS = 1 << 21
"""Weights of one tensor and model that the effective rank is taken from at most, when everything is read."""


@dataclass(frozen=True, slots=True)
class Met:
    """A tensor that every model has in the same shape. ``parts``: in each of the models, then in the base.

    ``rows``: those that are measured; ``rank_rows``: those whose effective rank is taken, none for a vector. A row is
    the last axis; a vector is one row.
    """

    name: str
    layer: int | None
    module: str
    shape: tuple[int, ...]
    parts: tuple[TensorFacts, ...]
    rows: Ranges
    rank_rows: Ranges = ()

    @property
    def columns(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def elements(self) -> int:
        return self.parts[0].elements

    @property
    def read_bytes(self) -> int:
        """Of all models together."""
        return counted(self.rows) * self.columns * sum(DTYPE_BYTES[one.dtype] for one in self.parts)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tensor that cannot be compared, and why, in words."""

    name: str
    why: str


@dataclass(frozen=True)
class Meeting:
    """``facts``: of the models, then of the base if there is one (``with_base``)."""

    facts: tuple[ModelFacts, ...]
    with_base: bool
    full: bool
    tensors: tuple[Met, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def models(self) -> int:
        """How many, the base not counted."""
        return len(self.facts) - self.with_base

    @property
    def renamed(self) -> tuple[Finding, ...]:
        """Which models call their tensors otherwise than the others, and were taken under their names."""
        return tuple(remark for one in self.facts for remark in one.remarks if remark.code == OTHER_NAMES)

    @property
    def read_bytes(self) -> int:
        return sum(one.read_bytes for one in self.tensors)

    # What ``worker.steps.fetch`` asks of a plan.

    @property
    def parents(self) -> tuple[ModelFacts, ...]:
        return self.facts

    @cached_property
    def files_needed(self) -> tuple[tuple[int, str], ...]:
        """``(model, file)`` of all weights that are read whole; a sample needs no file."""
        named = ((model, part.file) for met in self.tensors for model, part in enumerate(met.parts))
        return tuple(dict.fromkeys(named)) if self.full else ()

    @property
    def download_bytes(self) -> int:
        """What comes over the network: files that are not here yet, or of a sample the pieces of these."""
        there = [{file.name: file for file in facts.files} for facts in self.facts]
        missing = [{name for name, file in files.items() if not file.present} for files in there]
        if self.full:
            return sum(there[model][name].size for model, name in self.files_needed if name in missing[model])
        return sum(
            counted(met.rows) * met.columns * DTYPE_BYTES[part.dtype]
            for met in self.tensors
            for model, part in enumerate(met.parts)
            if part.file in missing[model]
        )


def meet(models: Sequence[ModelFacts], base: ModelFacts | None, *, full: bool) -> Meeting:
    """Lay the models beside each other by tensor names: the base's, or the first model's where there is none. Raises
    Refused when too few of them, or nothing, meet."""
    facts = (*models, base) if base is not None else tuple(models)
    if not models or len(facts) < 2:
        raise refuse("too-few-models", "models", "A comparison needs two models, or a model and a base.", "Add one.")
    if len(models) > MOST_MODELS:
        text = f"{len(models)} models are too many to compare at once."
        raise refuse("too-many-models", "models", text, f"Choose at most {MOST_MODELS}.")
    frame = facts[0] if base is None else base
    facts = tuple(called_as(frame, one) for one in facts)
    structure = read_structure(frame)
    found, left_out = _alike(facts, structure)
    if not found:
        raise refuse(
            "nothing-in-common", "models", "No tensor has the same name and shape in all of these models.",
            "Compare models of one architecture and size.",
        )  # fmt: skip
    tensors = tuple(_whole(one) for one in found) if full else _sampled(found)
    return Meeting(facts, base is not None, full, tensors, left_out)


def _alike(facts: Sequence[ModelFacts], structure: Structure) -> tuple[list[Met], tuple[LeftOut, ...]]:
    names = dict.fromkeys(name for one in facts for name in one.tensors)
    found, left_out = [], []
    for name in sorted(names, key=structure.order):
        parts = [one.tensors.get(name) for one in facts]
        why = _why_not(parts, facts)
        if why:
            left_out.append(LeftOut(short(name), why))
            continue
        there = tuple(part for part in parts if part is not None)
        layer, module = structure.cell(name)
        found.append(Met(name, layer, module, there[0].shape, there, ()))
    return found, tuple(left_out)


def _why_not(parts: Sequence[TensorFacts | None], facts: Sequence[ModelFacts]) -> str:
    lacking = [one.ref for one, part in zip(facts, parts, strict=True) if part is None]
    if lacking:
        return f"not in {', '.join(lacking)}"
    there = [part for part in parts if part is not None]
    if len({part.shape for part in there}) > 1:
        shapes = [" × ".join(map(str, part.shape)) or "1" for part in there]
        return "of different shapes: " + ", ".join(dict.fromkeys(shapes))
    other = next((part.dtype for part in there if part.dtype not in MERGEABLE), None)
    if other or not there[0].elements:
        return f"stored as {other}" if other else "empty"
    return ""


def _row_count(one: Met) -> int:
    return one.elements // one.columns


def _row_bytes(one: Met) -> int:
    return one.columns * max(DTYPE_BYTES[part.dtype] for part in one.parts)


def _whole(one: Met) -> Met:
    rows = _row_count(one)
    take = max(MOST_ROWS, RANK_ELEMENTS // one.columns)
    rank_rows = sample_rows(rows, take, MOST_RUNS, one.name) if len(one.shape) > 1 else ()
    return _with(one, ((0, rows),), rank_rows)


def _sampled(found: Iterable[Met]) -> tuple[Met, ...]:
    """The rows of a sample: as many for each tensor, chosen so that one model's come to ``SAMPLE_BYTES``."""
    cells: dict[tuple[int | None, str], list[Met]] = {}
    for one in found:
        cells.setdefault((one.layer, one.module), []).append(one)
    chosen = [cell[index] for cell in cells.values() for index in spread(len(cell), TENSORS_IN_A_CELL)]
    large = [one for one in chosen if _row_count(one) * _row_bytes(one) > WHOLE_BYTES]
    a_row_each = sum(map(_row_bytes, large))
    take = min(MOST_ROWS, max(FEWEST_ROWS, SAMPLE_BYTES // a_row_each)) if a_row_each else 0
    parts = max((len(one.parts) for one in large), default=1)
    runs = max(1, min(MOST_RUNS, MOST_PIECES // (parts * max(1, len(large)))))
    sampled = []
    for one in chosen:
        whole = _row_count(one) * _row_bytes(one) <= WHOLE_BYTES
        rows = sample_rows(_row_count(one), _row_count(one) if whole else take, runs, one.name)
        sampled.append(_with(one, rows, rows if len(one.shape) > 1 else ()))
    return tuple(sampled)


def _with(one: Met, rows: Ranges, rank_rows: Ranges) -> Met:
    return Met(one.name, one.layer, one.module, one.shape, one.parts, rows, rank_rows)
