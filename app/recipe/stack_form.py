"""A stack as a form and back: the fields of its blocks, and what an edit of them makes of the recipe.

Field names: ``slice.0.1.first`` and ``slice.0.1.last`` are the layers of the second source of the lowest block, both
included; ``slice.0.1.model`` indexes ``recipe.parents()``; ``slice.0.1.weight`` and ``slice.0.t`` are knobs. The
layers of a block are those of its first source: when they change, the other sources move along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.recipe.catalogue import METHODS, Method
from app.recipe.findings import Finding
from app.recipe.knobs import Knob, apply_knobs, make_knob, setting_shown, source_knobs, source_scopes, with_required
from app.recipe.schema import ModelRef, Parameters, Recipe, Slice, Source
from app.recipe.stack import LONGEST, length_of


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source of a block. ``field`` begins the names of its fields; ``last`` is included."""

    field: str
    model: ModelRef
    parent: int
    first: int
    last: int
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True)
class BlockView:
    """One block. ``index`` counts from the lowest, ``first`` is its first layer in the result."""

    index: int
    piece: Slice
    first: int
    length: int
    sources: tuple[SourceView, ...]
    knobs: tuple[Knob, ...]


def view_blocks(recipe: Recipe) -> tuple[BlockView, ...]:
    """The blocks of a stack, the lowest first."""
    method = METHODS.get(recipe.merge_method) or METHODS["linear"]
    parents = {model: index for index, model in enumerate(recipe.parents())}
    blocks, first = [], 0
    for index, piece in enumerate(recipe.slices):
        around = _around(recipe, piece)
        sources = tuple(
            _view_source(source, f"slice.{index}.{place}", parents[source.model], method, around, _base(recipe, piece))
            for place, source in enumerate(piece.sources)
        )
        knobs = tuple(
            make_knob(one, f"slice.{index}.{one.name}", setting_shown(one, piece.parameters, recipe.parameters))
            for one in method.parameters
            if one.scope == "tensor" and (one.required or one.name in piece.parameters)
        )
        blocks.append(BlockView(index, piece, first, length_of(piece), sources, knobs))
        first += length_of(piece)
    return tuple(blocks)


def _view_source(
    source: Source, field: str, parent: int, method: Method, around: Parameters, base: ModelRef | None
) -> SourceView:
    first, end = source.layers or (0, 0)
    knobs = source_knobs(source, field, method, around, is_base=source.model == base)
    return SourceView(field, source.model, parent, first, end - 1, knobs)


def _base(recipe: Recipe, piece: Slice) -> ModelRef | None:
    return piece.base_model or recipe.base_model


def _around(recipe: Recipe, piece: Slice) -> Parameters:
    return MappingProxyType({**recipe.parameters, **piece.parameters})


def apply_blocks(recipe: Recipe, fields: Mapping[str, str], method: Method, findings: list[Finding]) -> Recipe:
    """The recipe with the fields of its blocks put in. What cannot be read stays as it was, with a finding."""
    parents = recipe.parents()
    pieces = (_apply_block(recipe, index, fields, method, parents, findings) for index in range(len(recipe.slices)))
    return replace(recipe, slices=tuple(pieces))


def _apply_block(
    recipe: Recipe,
    index: int,
    fields: Mapping[str, str],
    method: Method,
    parents: tuple[ModelRef, ...],
    findings: list[Finding],
) -> Slice:
    piece = recipe.slices[index]
    field = f"slice.{index}"
    parameters = apply_knobs(piece.parameters, fields, field, method, ("tensor",), findings, recipe.parameters)
    around, base = _around(recipe, piece), _base(recipe, piece)
    ranges = _ranges(piece, field, fields, findings)
    sources = []
    for place, source in enumerate(piece.sources):
        where = f"{field}.{place}"
        model = _picked(fields.get(f"{where}.model", ""), parents, source.model)
        scopes = source_scopes(method, is_base=model == base)
        settings = apply_knobs(source.parameters, fields, where, method, scopes, findings, around)
        sources.append(Source(model, ranges[place], with_required(settings, method, scopes, around)))
    return replace(piece, sources=tuple(sources), parameters=parameters)


def _picked(text: str, parents: tuple[ModelRef, ...], otherwise: ModelRef) -> ModelRef:
    return parents[int(text)] if text.isascii() and text.isdigit() and int(text) < len(parents) else otherwise


def _ranges(
    piece: Slice, field: str, fields: Mapping[str, str], findings: list[Finding]
) -> list[tuple[int, int] | None]:
    """The layers of each source. They stay equally long, and as far apart as they were unless one is moved itself."""
    before = [source.layers for source in piece.sources]
    if not before or before[0] is None:
        return before
    found: list[Finding] = []
    begin = _read(fields, f"{field}.0.first", before[0][0], found)
    end = _read(fields, f"{field}.0.last", before[0][1] - 1, found) + 1
    if end < begin and not found:
        text = f"The last layer ({end - 1}) lies below the first ({begin})."
        found.append(Finding("error", "bad-layer-range", f"{field}.0.last", text))
    after: list[tuple[int, int] | None] = [(begin, end)]
    for place, layers in enumerate(before[1:], 1):
        own = layers[0] if layers else 0
        first = _read(fields, f"{field}.{place}.first", own, found)
        first = max(0, own + begin - before[0][0]) if first == own else first
        after.append((first, first + end - begin))
    findings.extend(found)
    return before if found else after


def _read(fields: Mapping[str, str], field: str, shown: int, findings: list[Finding]) -> int:
    text = fields.get(field, "").strip()
    if field not in fields or text == str(shown):
        return shown
    if text.isascii() and text.isdigit() and int(text[:6]) < LONGEST:
        return int(text)
    findings.append(Finding("error", "bad-layer-range", field, "A layer is a whole number, counted from 0."))
    return shown
