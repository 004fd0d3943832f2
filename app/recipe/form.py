"""The recipe as a form and back: the fields a page shows, and what an edit of them makes of the recipe.

The form covers what most merges need: parents, base, method, parameters, and the blocks of a stack (``stack_form``).
What it does not show (switches set by filters, the tokenizer block) stays in the recipe untouched; of several
documents and modules it is given one at a time (``sections``).

Field names: ``method``, ``name``, ``dtype``, ``seed``, ``base`` (index of the base among the parents, or empty),
``parent.0`` (a reference), ``parent.0.weight`` and ``shared.t`` (a number or a comma-separated curve). The same for
the modules with "mlp" in their name: ``parent.0.weight|mlp``; empty removes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from app.recipe.catalogue import METHODS, Method
from app.recipe.findings import Finding, Refused
from app.recipe.knobs import Knob, apply_knobs, make_knob, setting_shown, source_knobs, source_scopes, with_required
from app.recipe.references import parse_reference
from app.recipe.roles import first_parent
from app.recipe.schema import ModelRef, Parameters, Recipe, Source
from app.recipe.stack_form import apply_blocks

THREADS = "ABCDEFGHIJKLMNOP"
"""The letters of the parents, in order; the base has none."""


@dataclass(frozen=True, slots=True)
class ParentView:
    """One parent's card. ``letter`` is empty for the base."""

    index: int
    model: ModelRef
    letter: str
    is_base: bool
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True)
class FormView:
    method: Method
    parents: tuple[ParentView, ...]
    shared: tuple[Knob, ...]
    takes_more: bool
    stacked: bool
    """Made of slices, modules or several documents: the parents have no values of their own here."""
    whole: bool = False
    """Modules or several documents, shown together: they are edited one by one (``sections``)."""


def view(recipe: Recipe, order: Sequence[str] = ()) -> FormView:
    """What the form shows of a recipe. A recipe without models yet shows an empty list of parents.

    ``order``: the parents of a stack as they were shown before, so that moving blocks changes nobody's letter.
    """
    method = METHODS.get(recipe.merge_method) or METHODS["linear"]
    stacked = bool(recipe.slices or recipe.modules or recipe.stages)
    by_model: dict[ModelRef, Source] = {}
    for source in recipe.sources():
        by_model.setdefault(source.model, source)
    receiving = first_parent(recipe) if method.receives and by_model else None
    letters = iter(THREADS)
    parents = []
    for index, model in _in_order(recipe, order if recipe.slices else ()):
        is_base = model == recipe.base_model
        bare = is_base or model == receiving
        letter = "" if is_base and method.base == "required" and not method.base_counts else next(letters, "?")
        listed = by_model.get(model)
        knobs = (
            ()
            if listed is None or stacked
            else source_knobs(listed, f"parent.{index}", method, recipe.parameters, is_base=bare)
        )
        parents.append(ParentView(index, model, letter, is_base, knobs))
    count = len(parents)
    most = (
        None
        if method.max_parents is None
        else method.max_parents
        + (1 if recipe.base_model and not method.base_counts and method.base != "ignored" else 0)
    )
    shared = tuple(
        make_knob(parameter, f"shared.{parameter.name}", setting_shown(parameter, recipe.parameters))
        for parameter in method.parameters
        if parameter.scope == "tensor"
    )
    whole = bool(recipe.modules or recipe.stages)
    takes_more = not whole and (bool(recipe.slices) or most is None or count < most)
    return FormView(method, tuple(parents), shared, takes_more, stacked, whole)


def _in_order(recipe: Recipe, order: Sequence[str]) -> list[tuple[int, ModelRef]]:
    """The parents with their indexes: those in ``order`` first."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(enumerate(recipe.parents()), key=lambda one: places.get(str(one[1]), len(places)))


def apply(recipe: Recipe, fields: Mapping[str, str]) -> tuple[Recipe, tuple[Finding, ...]]:
    """The recipe with the form's fields put in. A field that cannot be read leaves its value as it was, with a
    finding; fields that are absent change nothing."""
    findings: list[Finding] = []
    method = METHODS.get(fields.get("method", recipe.merge_method)) or METHODS["linear"]
    if method.name != recipe.merge_method:
        recipe = _with_method(recipe, method)
    recipe = replace(recipe, **_plain_fields(fields, findings))
    if not recipe.slices and not recipe.modules and not recipe.stages:
        recipe = _apply_parents(recipe, fields, method, findings)
    if not recipe.stages:
        recipe = apply_blocks(recipe, fields, method, findings)
    shared = apply_knobs(recipe.parameters, fields, "shared", method, ("tensor",), findings)
    complete = with_required(shared, method, ("tensor",))
    return replace(recipe, parameters=complete), tuple(findings)


def _plain_fields(fields: Mapping[str, str], findings: list[Finding]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if "name" in fields:
        changed["name"] = fields["name"].strip()[:120] or None
    for key in ("dtype", "out_dtype"):
        if key in fields:
            changed[key] = fields[key] or None
    if "seed" in fields:
        text = fields["seed"].strip()
        if text and not (text.isascii() and text.isdigit() and int(text) < 2**63):
            findings.append(Finding("error", "bad-seed", "seed", "A seed is a whole number, 0 or more."))
        else:
            changed["seed"] = int(text) if text else None
    return changed


def _apply_parents(recipe: Recipe, fields: Mapping[str, str], method: Method, findings: list[Finding]) -> Recipe:
    parents = _read_parents(recipe, fields, findings)
    base = recipe.base_model if recipe.base_model in parents.values() else None
    if "base" in fields:
        base = next((model for index, model in parents.items() if str(index) == fields["base"]), None)
    known = recipe.parents()
    old = {source.model: (place, source) for place, source in enumerate(recipe.models)}
    sources: dict[ModelRef, tuple[int, Source]] = {}
    for index, model in parents.items():
        place, before = old.get(known[index], (None, None)) if index < len(known) else (None, None)
        if model == base and not _listed(before, method, new=base != recipe.base_model):
            continue
        kept = before.parameters if before else MappingProxyType({})
        scopes = source_scopes(method, is_base=model == base)
        settings = apply_knobs(kept, fields, f"parent.{index}", method, scopes, findings, recipe.parameters)
        complete = with_required(settings, method, scopes, recipe.parameters)
        order = len(old) + index if place is None else place
        sources.setdefault(model, (order, Source(model, None, complete)))
    ordered = sorted(sources.values(), key=lambda pair: pair[0])
    return replace(recipe, base_model=base, models=tuple(source for _, source in ordered))


def _read_parents(recipe: Recipe, fields: Mapping[str, str], findings: list[Finding]) -> dict[int, ModelRef]:
    """The parents by their index in the form; one that cannot be read stays what it was."""
    known = recipe.parents()
    indexes = sorted({int(key[7:]) for key in fields if key.startswith("parent.") and key[7:].isdigit()})
    if not indexes:
        return dict(enumerate(known))
    parents: dict[int, ModelRef] = {}
    for index in indexes:
        try:
            parents[index] = parse_reference(fields[f"parent.{index}"], f"parent {index + 1}")
        except Refused as problem:
            findings.extend(problem.findings)
            if index < len(known):
                parents[index] = known[index]
    return parents


def _listed(before: Source | None, method: Method, *, new: bool) -> bool:
    """Whether the base stands among the models: as it did, or for a new base if its method takes it for one of them."""
    return method.base_counts or (method.base == "ignored" and before is not None) if new else before is not None


def _with_method(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with another method, without the parameters of the one that was left."""

    def known(parameters: Parameters) -> Parameters:
        return MappingProxyType({name: setting for name, setting in parameters.items() if method.parameter(name)})

    def of(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(replace(source, parameters=known(source.parameters)) for source in sources)

    slices = tuple(
        replace(piece, sources=of(piece.sources), parameters=known(piece.parameters)) for piece in recipe.slices
    )
    return replace(
        recipe, merge_method=method.name, models=of(recipe.models), slices=slices, parameters=known(recipe.parameters)
    )
