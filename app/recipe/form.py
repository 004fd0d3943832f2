"""The recipe as a form and back: the fields a page shows, and what an edit of them makes of the recipe.

The form covers what most merges need: parents, base, method, parameters. What it does not show (slices, rules with
filters, the tokenizer block) stays in the recipe untouched.

Field names: ``method``, ``name``, ``dtype``, ``seed``, ``base`` (index of the base among the parents, or empty),
``parent.0`` (a reference), ``parent.0.weight`` and ``shared.t`` (a number or a comma-separated curve).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from app.recipe.catalogue import METHODS, Method, Parameter
from app.recipe.findings import Finding, Refused
from app.recipe.parameters import read_setting
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, Parameters, Recipe, Rule, Setting, Source

THREADS = "ABCDEFGHIJKLMNOP"
"""The letters of the parents, in order; the base has none."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One field of the form. ``text`` is what stands in it; ``value`` the number when it is a single one.
    ``ruled``: set by rules with filters, which the field cannot show."""

    parameter: Parameter
    field: str
    text: str
    value: float | bool | None
    ruled: bool = False

    @property
    def curved(self) -> bool:
        return "," in self.text


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
    """Made of slices or modules: the parents are shown, their layers are not edited here."""


def view(recipe: Recipe) -> FormView:
    """What the form shows of a recipe. A recipe without models yet shows an empty list of parents."""
    method = METHODS.get(recipe.merge_method) or METHODS["linear"]
    stacked = bool(recipe.slices or recipe.modules)
    by_model: dict[ModelRef, Source] = {}
    for source in recipe.sources():
        by_model.setdefault(source.model, source)
    letters = iter(THREADS)
    parents = []
    for index, model in enumerate(recipe.parents()):
        is_base = model == recipe.base_model
        letter = "" if is_base and method.base == "required" and not method.base_counts else next(letters, "?")
        listed = by_model.get(model)
        knobs = () if listed is None or stacked else _source_knobs(listed, index, method, is_base=is_base)
        parents.append(ParentView(index, model, letter, is_base, knobs))
    count = len(parents)
    most = (
        None
        if method.max_parents is None
        else method.max_parents
        + (1 if recipe.base_model and not method.base_counts and method.base != "ignored" else 0)
    )
    shared = tuple(
        _knob(parameter, f"shared.{parameter.name}", recipe.parameters)
        for parameter in method.parameters
        if parameter.scope == "tensor"
    )
    return FormView(method, tuple(parents), shared, most is None or count < most, stacked)


def _source_knobs(source: Source, index: int, method: Method, *, is_base: bool) -> tuple[Knob, ...]:
    return tuple(
        _knob(parameter, f"parent.{index}.{parameter.name}", source.parameters)
        for parameter in method.parameters
        if parameter.scope == "parent" or (parameter.scope == "non_base" and not (is_base and method.base != "ignored"))
    )


def _knob(parameter: Parameter, field: str, parameters: Parameters) -> Knob:
    setting = parameters.get(parameter.name)
    if setting is None:
        default = parameter.default
        value = default if isinstance(default, (bool, int, float)) else None
        return Knob(parameter, field, "" if default is None else _text(default), value)
    first = setting[0].value
    if len(setting) > 1 or setting[0].filter is not None:
        return Knob(parameter, field, "", None, ruled=True)
    if isinstance(first, tuple):
        return Knob(parameter, field, ", ".join(_text(item) for item in first), None)
    return Knob(parameter, field, _text(first), first if not isinstance(first, str) else None)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def apply(recipe: Recipe, fields: Mapping[str, str]) -> tuple[Recipe, tuple[Finding, ...]]:
    """The recipe with the form's fields put in. A field that cannot be read leaves its value as it was, with a
    finding; fields that are absent change nothing."""
    findings: list[Finding] = []
    method = METHODS.get(fields.get("method", recipe.merge_method)) or METHODS["linear"]
    recipe = replace(recipe, merge_method=method.name, **_plain_fields(fields, findings))
    if not recipe.slices and not recipe.modules:
        recipe = _apply_parents(recipe, fields, method, findings)
    shared = _apply_knobs(recipe.parameters, fields, "shared", method, ("tensor",), findings)
    complete = _with_required(_known(shared, method), method, ("tensor",))
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
        if model == base and not method.base_counts and (method.base != "ignored" or before is None):
            continue
        kept = before.parameters if before else MappingProxyType({})
        scopes = ("parent",) if model == base and method.base != "ignored" else ("parent", "non_base")
        settings = _known(_apply_knobs(kept, fields, f"parent.{index}", method, scopes, findings), method)
        order = len(old) + index if place is None else place
        sources.setdefault(model, (order, Source(model, None, _with_required(settings, method, scopes))))
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


def _apply_knobs(
    parameters: Parameters,
    fields: Mapping[str, str],
    prefix: str,
    method: Method,
    scopes: tuple[str, ...],
    findings: list[Finding],
) -> Parameters:
    settings: dict[str, Setting] = dict(parameters)
    for parameter in method.parameters:
        text = fields.get(f"{prefix}.{parameter.name}")
        if text is None or parameter.scope not in scopes:
            continue
        before = settings.get(parameter.name)
        if before and (len(before) > 1 or before[0].filter is not None):
            continue
        try:
            setting = _read_field(text, f"{prefix}.{parameter.name}", parameter)
        except Refused as problem:
            findings.extend(problem.findings)
            continue
        if setting is None or (before is None and setting[0].value == parameter.default):
            settings.pop(parameter.name, None)
        else:
            settings[parameter.name] = setting
    return MappingProxyType(settings)


def _read_field(text: str, where: str, parameter: Parameter) -> Setting | None:
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not pieces:
        return None
    return read_setting(pieces if "," in text and len(pieces) > 1 else pieces[0], where, parameter)


def _known(parameters: Parameters, method: Method) -> Parameters:
    """Without the parameters of a method that was left."""
    return MappingProxyType({name: setting for name, setting in parameters.items() if method.parameter(name)})


def _with_required(parameters: Parameters, method: Method, scopes: tuple[str, ...]) -> Parameters:
    """A new parent gets a starting value for what the method cannot do without."""
    missing = {
        parameter.name: (Rule((parameter.low + parameter.high) / 2),)
        for parameter in method.parameters
        if parameter.required and parameter.scope in scopes and parameter.name not in parameters
    }
    return MappingProxyType({**parameters, **missing})
