"""Knobs: the fields of the form that set parameters, and what edited fields make of the settings.

A field is called ``prefix.name``, and for the tensors with "mlp" in their name ``prefix.name|mlp``; its text is a
number or a curve (``0.2, 0.8``; with decimal commas as ``numbers`` has it), empty for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from app.recipe.catalogue import Method, Parameter
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.numbers import listed
from app.recipe.parameters import read_setting
from app.recipe.rules import LONGEST_FILTER, edit, hidden_by, is_for_all, put, texts
from app.recipe.schema import EMPTY, Parameters, Rule, Setting, Source

KNOBS = ("parent.", "shared.", "slice.")
"""What the names of such fields begin with."""


@dataclass(frozen=True, slots=True)
class FilterField:
    """The field for one filter of a knob. ``hidden_by``: the earlier filter that leaves nothing to it, ``""`` for the
    rule for all tensors; ``first`` and ``last``: whether it cannot be moved up or down."""

    filter: str
    field: str
    text: str
    hidden_by: str | None = None
    first: bool = True
    last: bool = True


@dataclass(frozen=True, slots=True)
class Knob:
    """One field of the form. ``text`` is what stands in it; ``value`` the number when it is a single one; ``rules`` are
    further fields, one for each filter. ``ruled``: a switch set by rules with filters, which it cannot show."""

    parameter: Parameter
    field: str
    text: str
    value: float | bool | None
    ruled: bool = False
    rules: tuple[FilterField, ...] = ()

    @property
    def curved(self) -> bool:
        return "," in self.text


def source_knobs(
    source: Source, prefix: str, method: Method, everywhere: Parameters, *, is_base: bool
) -> tuple[Knob, ...]:
    scopes = source_scopes(method, is_base=is_base)
    return tuple(
        make_knob(parameter, f"{prefix}.{parameter.name}", setting_shown(parameter, source.parameters, everywhere))
        for parameter in method.parameters
        if parameter.scope in scopes
    )


def source_scopes(method: Method, *, is_base: bool) -> tuple[str, ...]:
    """The scopes of the parameters that a source has for itself."""
    return ("parent",) if is_base and method.base != "ignored" else ("parent", "non_base")


def setting_shown(parameter: Parameter, *scopes: Parameters) -> Setting:
    """What the form shows for a parameter: what the first scope says that knows it, else its default."""
    for scope in scopes:
        if parameter.name in scope:
            return scope[parameter.name]
    return () if parameter.default is None else (Rule(parameter.default),)


def make_knob(parameter: Parameter, field: str, setting: Setting) -> Knob:
    shown = texts(setting)
    if parameter.kind == "boolean" and _ruled(setting):
        return Knob(parameter, field, "", None, ruled=True)
    text = shown.get("", "")
    plain = next((rule.value for rule in setting if is_for_all(rule.filter)), None)
    value = plain if isinstance(plain, (bool, int, float)) else None
    return Knob(parameter, field, text, value, rules=tuple(_filter_fields(field, setting)))


def _filter_fields(field: str, setting: Setting) -> Iterator[FilterField]:
    shown = texts(setting)
    for place, (name, text) in enumerate(shown.items()):
        if name:
            last = [*shown, ""][place + 1] == ""
            yield FilterField(name, f"{field}|{name}", text, hidden_by(setting, name), place == 0, last)


def apply_knobs(
    parameters: Parameters,
    fields: Mapping[str, str],
    prefix: str,
    method: Method,
    scopes: tuple[str, ...],
    findings: list[Finding],
    everywhere: Parameters = EMPTY,
) -> Parameters:
    settings: dict[str, Setting] = dict(parameters)
    for parameter in method.parameters:
        field = f"{prefix}.{parameter.name}"
        posted = _posted(fields, field)
        shown = setting_shown(parameter, parameters, everywhere)
        if not posted or parameter.scope not in scopes or (parameter.kind == "boolean" and _ruled(shown)):
            continue
        try:
            setting = edit(shown, posted, partial(_read_field, field, parameter))
        except Refused as problem:
            findings.extend(problem.findings)
            continue
        if setting != shown or parameter.name in settings:
            settings[parameter.name] = setting
    return MappingProxyType({name: setting for name, setting in settings.items() if setting})


def _posted(fields: Mapping[str, str], field: str) -> dict[str, str]:
    """The texts posted for one parameter: filter -> text, the one for all tensors under ``""``."""
    filters = (name[len(field) + 1 :] for name in fields if name.startswith(f"{field}|"))
    posted = {name: fields[f"{field}|{name}"] for name in filters if not is_for_all(name.strip())}
    return posted | ({"": fields[field]} if field in fields else {})


def _read_field(field: str, parameter: Parameter, name: str, text: str) -> Rule | None:
    where = f"{field}|{name}" if name else field
    if len(name) > LONGEST_FILTER:
        raise refuse("bad-filter", where, f"A filter has at most {LONGEST_FILTER} characters.", "Take a shorter part.")
    pieces = listed(text)
    if not pieces:
        return None
    (rule,) = read_setting(pieces if len(pieces) > 1 else pieces[0], where, parameter)
    return Rule(rule.value, name or None)


def put_rule(setting: Setting, parameter: Parameter, field: str, name: str, text: str) -> Setting:
    """The setting with one more rule, for the tensors with ``name`` in their names. Raises Refused."""
    rule = _read_field(field, parameter, name, text)
    return setting if rule is None else put(setting, rule)


def _ruled(setting: Setting) -> bool:
    return len(setting) > 1 or any(rule.filter is not None for rule in setting)


def with_required(
    parameters: Parameters, method: Method, scopes: tuple[str, ...], everywhere: Parameters = EMPTY
) -> Parameters:
    """A new parent gets a starting value for what the method cannot do without, unless the recipe gives it for all."""
    missing = {
        parameter.name: (Rule((parameter.low + parameter.high) / 2),)
        for parameter in method.parameters
        if parameter.required and parameter.scope in scopes and not {parameter.name} & {*parameters, *everywhere}
    }
    return MappingProxyType({**parameters, **missing})
