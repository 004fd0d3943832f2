"""Requests of the wrong shape: what the framework finds wrong with an address or a body, told in our words.

The sender's values are never repeated: one of them may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.recipe.counted import counted
from app.recipe.findings import Finding

MOST = 20
"""Findings that are told at once."""
_LONGEST = 60
"""Letters of a name that somebody sent."""
_PLACES = {"query": "address", "path": "address", "body": "body", "header": "header", "cookie": "cookie"}
Limits = Mapping[str, Any]
"""What a field was held against, as the validator names it: ``max_length``, ``ge``, ``expected``…"""
Words = tuple[str, str]
"""What is wrong with a field, behind its name; and what to do."""


def findings_of(error: RequestValidationError) -> list[Finding]:
    """A finding for each thing that is wrong: where, what, what to do."""
    return [_finding(one) for one in error.errors()[:MOST]]


def _finding(problem: Mapping[str, Any]) -> Finding:
    kind, (place, *rest) = problem["type"], problem["loc"]
    where = _PLACES.get(str(place), str(place))
    if kind == "json_invalid":
        at = next((f", letter {one}" for one in rest if isinstance(one, int)), "")
        return _bad(f"{where}{at}", "The body is not JSON.", "Look for a missing quote, comma or bracket there.")
    name = _name(rest)
    if not name:
        text = "A body is needed." if kind == "missing" else "The body is not a JSON object."
        return _bad(where, text, "Send {…} with the fields listed at /api, and Content-Type: application/json.")
    if kind == "missing":
        return _bad(f"{where}: {name}", f'"{name}" is missing.', _add(where, name))
    wrong, fix = _words(kind, problem.get("ctx") or {})
    return _bad(f"{where}: {name}", f'"{name}" {wrong}', fix)


def _bad(where: str, text: str, fix: str) -> Finding:
    return Finding("error", "bad-request", where, text, fix)


def _name(location: Iterable[str | int]) -> str:
    """``adapters[1]`` for ``("adapters", 1)``."""
    parts = [f"[{one}]" if isinstance(one, int) else f".{one[:_LONGEST]}" for one in location]
    return "".join(parts).removeprefix(".")


def _add(where: str, name: str) -> str:
    return {
        "address": f"Add {name}=… to the address.",
        "body": f"Add {name} to what you send.",
    }.get(where, f"Send a {where} of this name.")


def _words(kind: str, limits: Limits) -> Words:
    told = _WORDS.get(kind) or next((words for end, words in _FAMILIES if kind.startswith(end)), None)
    return told(limits) if told else ("cannot be used as it is.", "See /api for what it can be.")


def _always(wrong: str, fix: str) -> Callable[[Limits], Words]:
    return lambda _: (wrong, fix)


_WORDS: Mapping[str, Callable[[Limits], Words]] = {
    "string_too_long": lambda to: (
        f"is longer than {counted(to['max_length'], 'letter', 'letters')}.", "Shorten it.",
    ),
    "string_too_short": lambda to: (
        f"is shorter than {counted(to['min_length'], 'letter', 'letters')}.", "Write more.",
    ),
    "too_long": lambda to: (
        f"has more than {counted(to['max_length'], 'entry', 'entries')}.", "Leave some of them out.",
    ),
    "too_short": lambda to: (f"has fewer than {counted(to['min_length'], 'entry', 'entries')}.", "Add more."),
    "greater_than_equal": lambda to: (f"is less than {to['ge']}.", f"Write {to['ge']} or more."),
    "greater_than": lambda to: (f"is not more than {to['gt']}.", f"Write more than {to['gt']}."),
    "less_than_equal": lambda to: (f"is more than {to['le']}.", f"Write {to['le']} or less."),
    "less_than": lambda to: (f"is not less than {to['lt']}.", f"Write less than {to['lt']}."),
    "literal_error": lambda to: ("is none of the words that are known here.", f"Write {_choices(to)}."),
    "enum": lambda to: ("is none of the words that are known here.", f"Write {_choices(to)}."),
    "extra_forbidden": _always("is not known here.", "Leave it out, or mend its spelling: /api lists all fields."),
    "int_parsing_size": _always("has too many digits.", "Shorten it."),
    "finite_number": _always("is not a finite number.", "Write it like 0.5."),
}  # fmt: skip
_FAMILIES: Sequence[tuple[str, Callable[[Limits], Words]]] = (
    ("int_", _always("is not a whole number.", "Write it like 16.")),
    ("float_", _always("is not a number.", "Write it like 0.5.")),
    ("bool_", _always("is neither true nor false.", "Write true or false.")),
    ("string_", _always("is not text.", "Put it in quotes.")),
    ("list_", _always("is not a list.", "Put it in square brackets.")),
    ("dict_", _always("is not an object.", "Put its fields in curly brackets.")),
    ("model_", _always("is not an object.", "Put its fields in curly brackets.")),
)
"""By how the validator's name for a problem begins."""


def _choices(limits: Limits) -> str:
    return str(limits["expected"]).replace("'", "")
