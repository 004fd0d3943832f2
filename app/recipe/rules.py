"""A setting's rules as text fields: one text for each filter, and what edited texts make of the rules.

The first rule that matches a tensor's name wins, so a rule for few modules stands before one for many, and the one
for all stands last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile

from app.recipe.schema import Rule, Setting

BROAD = ("mlp", "attn", "attention", "self_attn", "norm", "layernorm")
"""Filters for whole groups of modules: they stand behind the others."""
LONGEST_FILTER = 200


def is_for_all(filter_text: str | None) -> bool:
    """Whether a rule with this filter holds for all tensors."""
    return filter_text in (None, "", "*")


def key(filter_text: str | None) -> str:
    """What a field calls a filter: its text, empty for a rule that holds for all tensors."""
    return filter_text if filter_text and not is_for_all(filter_text) else ""


def texts(setting: Setting) -> dict[str, str]:
    """Filter -> text of the first rule with it, in the order of the rules; the rule for all under ``""``."""
    found: dict[str, str] = {}
    for rule in setting:
        found.setdefault(key(rule.filter), text_of(rule))
    return found


def text_of(rule: Rule) -> str:
    """``0.5``, ``0.2, 0.8``, ``true``: nothing of a number is lost."""
    values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    return ", ".join(_scalar(value) for value in values)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (int, float)):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def edit(setting: Setting, fields: Mapping[str, str], read: Callable[[str, str], Rule | None]) -> Setting:
    """The setting after edits. ``fields``: filter -> text; filters left out stay as they are, and so does a text that
    says what the rule says already. An empty text removes the rules with that filter. ``read`` turns a filter and its
    text into a rule, None for an empty text; it raises Refused."""
    shown = texts(setting)
    for name, text in fields.items():
        if shown.get(name, "") == text.strip():
            continue
        rule = read(name, text)
        setting = without(setting, name) if rule is None else put(setting, rule)
    return setting


def hidden_by(setting: Setting, name: str) -> str | None:
    """The earlier filter that takes every tensor this one is for: ``""`` for a rule for all. None when it counts."""
    before = takewhile(lambda one: one != name, texts(setting))
    return next((one for one in before if one in name), None)


def move(setting: Setting, name: str, by: int) -> Setting:
    """With the rules of a filter before or behind their neighbours' (``by`` -1 or 1); at the ends they stay."""
    names = list(texts(setting))
    place = names.index(name)
    names.insert(min(max(place + by, 0), len(names) - 1), names.pop(place))
    return tuple(rule for one in names for rule in setting if key(rule.filter) == one)


def without(setting: Setting, name: str) -> Setting:
    return tuple(rule for rule in setting if key(rule.filter) != name)


def put(setting: Setting, rule: Rule) -> Setting:
    """With the rule in the place of its filter's first; in a place of its own if there is none, or none that counts."""
    name = key(rule.filter)
    place = next((index for index, one in enumerate(setting) if key(one.filter) == name), None)
    ends = next((index for index, one in enumerate(setting) if key(one.filter) == ""), len(setting))
    if place is not None and (place <= ends or name == ""):
        return (*setting[:place], Rule(rule.value, setting[place].filter), *setting[place + 1 :])
    setting = without(setting, name)
    before = _place(setting, name)
    return (*setting[:before], rule, *setting[before:])


def _place(setting: Setting, name: str) -> int:
    """Behind narrower filters, before wider ones."""
    if name == "":
        return len(setting)
    wider = (index for index, one in enumerate(setting) if key(one.filter) in name or name not in BROAD)
    return next(wider, len(setting))
