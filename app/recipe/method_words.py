"""What the catalogue says of a method and its parameters, in the words of a table."""

from __future__ import annotations

from app.recipe.catalogue import Method, Parameter

_KINDS = {"number": "number", "integer": "whole number", "boolean": "switch"}
_SCOPES = {"tensor": "all parents together", "parent": "each parent", "non_base": "each parent but the base"}
_BASES = {"required": "needed", "optional": "optional", "ignored": "not used"}


def base_words(method: Method) -> str:
    """Whether the method needs a base."""
    return _BASES[method.base]


def parents_words(method: Method) -> str:
    """How many models it takes: ``2, the base is one of them``; ``2 or more besides the base``."""
    least, most = method.min_parents, method.max_parents
    count = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
    if method.base_counts:
        return f"{count}, the base is one of them"
    return {"required": f"{count} besides the base", "optional": f"{count}, and a base if wanted"}.get(
        method.base, count
    )


def kind_words(parameter: Parameter) -> str:
    return _KINDS[parameter.kind]


def scope_words(parameter: Parameter) -> str:
    return _SCOPES[parameter.scope]


def range_words(parameter: Parameter) -> str:
    """What is accepted: ``0 to 1``, ``0 or more``, ``yes or no``, ``any``."""
    if parameter.kind == "boolean":
        return "yes or no"
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"{low:g} or more" if low is not None else f"at most {high:g}" if high is not None else "any"


def default_words(parameter: Parameter) -> str:
    """``0.5``, ``yes``, ``must be given``, or ``left out``."""
    if parameter.required:
        return "must be given"
    if parameter.default is None:
        return "left out"
    if isinstance(parameter.default, bool):
        return "yes" if parameter.default else "no"
    return f"{parameter.default:g}" if isinstance(parameter.default, (int, float)) else str(parameter.default)


def curve_words(parameter: Parameter) -> str:
    return "yes" if parameter.curve else "no"
