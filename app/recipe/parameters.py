"""Reading ``parameters:`` blocks: kinds, ranges and names against the catalogue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.recipe.catalogue import METHODS, Method, Parameter
from app.recipe.findings import Finding, Refused, did_you_mean, refuse
from app.recipe.schema import Parameters, Rule, Scalar, Setting

MAX_ANCHORS = 1000
_YES = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_ANY_METHOD = {parameter.name for method in METHODS.values() for parameter in method.parameters}


def read_parameters(raw: Any, where: str, method: Method | None, findings: list[Finding]) -> Parameters:
    """A ``parameters:`` block. What is wrong goes into ``findings``; the rest is returned."""
    if raw is None:
        return MappingProxyType({})
    if not isinstance(raw, dict):
        findings.append(Finding("error", "bad-parameters", where, "Parameters must be a list of name: value."))
        return MappingProxyType({})
    settings: dict[str, Setting] = {}
    for name, value in raw.items():
        place = f"{where}.{name}"
        parameter = method.parameter(name) if method else None
        if method and parameter is None:
            findings.append(_unknown(name, place, method))
        elif parameter is not None and not parameter.used:
            findings.append(Finding("info", "no-effect", place, f'"{name}" has no effect in {_titled(method)}.'))
        try:
            settings[name] = read_setting(value, place, parameter)
        except Refused as problem:
            findings.extend(problem.findings)
    return MappingProxyType(settings)


def _titled(method: Method | None) -> str:
    return method.title if method else "this method"


def _unknown(name: str, where: str, method: Method) -> Finding:
    known = [parameter.name for parameter in method.parameters]
    guess = did_you_mean(name, known)
    if guess and name not in _ANY_METHOD:
        return Finding("error", "unknown-parameter", where, f'{method.title} has no parameter "{name}".', guess)
    offers = f"Its parameters are: {', '.join(known)}." if known else "It has no parameters."
    return Finding("warning", "unused-parameter", where, f'"{name}" has no effect in {method.title}.', offers)


def read_setting(raw: Any, where: str, parameter: Parameter | None) -> Setting:
    """A number, a curve, or rules with filters. Raises Refused."""
    if isinstance(raw, dict):
        return (_rule(raw, where, parameter),)
    if isinstance(raw, list) and any(isinstance(item, dict) for item in raw):
        return tuple(_rule(item, f"{where}[{index}]", parameter) for index, item in enumerate(raw))
    return (Rule(_value(raw, where, parameter)),)


def _rule(raw: Any, where: str, parameter: Parameter | None) -> Rule:
    if not isinstance(raw, dict):
        return Rule(_value(raw, where, parameter))
    unknown = [key for key in raw if key not in ("filter", "value")]
    if unknown:
        raise refuse(
            "unknown-key", f"{where}.{unknown[0]}", f'"{unknown[0]}" has no meaning here.',
            did_you_mean(unknown[0], ("filter", "value")) or "A rule has a filter and a value.",
        )  # fmt: skip
    if "value" not in raw:
        raise refuse("missing-value", where, "This rule has no value.", "Add value: to it.")
    pattern = raw.get("filter")
    if pattern is not None and not isinstance(pattern, str):
        raise refuse("bad-filter", f"{where}.filter", "A filter is a part of a tensor's name.", "Write self_attn.")
    return Rule(_value(raw["value"], f"{where}.value", parameter), pattern)


def _value(raw: Any, where: str, parameter: Parameter | None) -> Scalar | tuple[Scalar, ...]:
    if not isinstance(raw, list):
        return _scalar(raw, where, parameter)
    if parameter is not None and not parameter.curve and parameter.used:
        raise refuse("no-curve", where, f'"{parameter.name}" cannot change over the layers.', "Give one value.")
    if not raw or len(raw) > MAX_ANCHORS:
        raise refuse("bad-curve", where, f"A curve has 1 to {MAX_ANCHORS} values; this has {len(raw)}.", "")
    return tuple(_scalar(item, f"{where}[{index}]", parameter) for index, item in enumerate(raw))


def _scalar(raw: Any, where: str, parameter: Parameter | None) -> Scalar:
    if raw is None or isinstance(raw, (dict, list)):
        raise refuse("bad-value", where, "A value is missing here." if raw is None else "One plain value is needed.")
    value: Scalar = raw
    if parameter is None:
        return _finite(value, where)
    if parameter.kind == "boolean":
        return _switch(value, where, parameter)
    return _bounded(_number(value, where, parameter), where, parameter)


def _switch(value: Scalar, where: str, parameter: Parameter) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _YES:
        return _YES[value.lower()]
    if value in (0, 1):
        return bool(value)
    raise refuse("bad-value", where, f'"{parameter.name}" is true or false, not {value!r}.', "Write true or false.")


def _number(value: Scalar, where: str, parameter: Parameter) -> int | float:
    number: Scalar = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = value
    if isinstance(number, (bool, str)):
        raise refuse("bad-value", where, f'"{parameter.name}" must be a number, not {str(value)[:40]!r}.', "")
    if parameter.kind == "integer":
        if isinstance(number, float) and not number.is_integer():
            raise refuse("bad-value", where, f'"{parameter.name}" must be a whole number, not {number}.', "")
        return int(number) if math.isfinite(number) else number
    return number


def _finite(value: Scalar, where: str) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse("bad-value", where, "A value must be a finite number.", "")
    return value


def _bounded(value: float, where: str, parameter: Parameter) -> Scalar:
    _finite(value, where)
    low, high = parameter.minimum, parameter.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None:
            allowed = f"between {low:g} and {high:g}"
        else:
            allowed = f"at least {low:g}" if low is not None else f"at most {high:g}"
        raise refuse("out-of-range", where, f'"{parameter.name}" must be {allowed}, not {value:g}.', "")
    return value


def scopes_give(scopes: list[Mapping[str, Setting]], name: str) -> bool:
    """Whether any scope says anything about the parameter."""
    return any(name in scope for scope in scopes)
