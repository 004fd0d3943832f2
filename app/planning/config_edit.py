"""A config in the making: every change to it is remembered, so that people can be shown what was before and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from app.planning.strict_json import short
from app.recipe.findings import Changed, Finding

_LONGEST = 400
"""Characters shown of a value."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the config, by its dotted path. ``before`` or ``after`` is None when the key was or is not there."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.key} left out"
        if isinstance(self.before, list) and isinstance(self.after, list) and len(self.before) != len(self.after):
            return f"{self.key} with {len(self.after)} entries instead of {len(self.before)}"
        before = "not set" if self.before is None else _shown(self.before)
        return f"{self.key} {before} → {_shown(self.after)}"


@dataclass(slots=True)
class ConfigEdit:
    """``config`` is changed in place, by ``set`` alone."""

    config: dict[str, Any]
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def set(self, path: tuple[str, ...], key: str, value: Any) -> None:
        """Set ``key`` in the part of the config at ``path``, which is there."""
        part: dict[str, Any] = self.config
        for name in path:
            part = part[name]
        if part.get(key) != value or type(part.get(key)) is not type(value):
            self.changes.append(Change(".".join((*path, key)), part.get(key), value))
            part[key] = value

    def part(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        return part_at(self.config, path)


def part_at(config: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """The part of a config at ``path``; empty where there is none."""
    for name in path:
        inner = config.get(name)
        config = inner if isinstance(inner, dict) else {}
    return config


def told(changes: Sequence[Change]) -> Finding | None:
    """The changes as one remark."""
    if not changes:
        return None
    text = f"config.json is corrected: {'; '.join(map(str, changes))}."
    listed = tuple(Changed(short(change.key, 200), _json(change.before), _json(change.after)) for change in changes)
    return Finding("info", "config-repaired", "config.json", text, changes=listed)


def _json(value: Any) -> str | None:
    """A value as it stands in the file, shortened in the middle; runs of equal entries are counted."""
    if value is None:
        return None
    if isinstance(value, list) and len(value) > 4:
        runs = [(one, sum(1 for _ in run)) for one, run in groupby(value, key=json.dumps)]
        text = f"[{', '.join(one if count == 1 else f'{one} × {count}' for one, count in runs)}]"
    else:
        text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def _shown(value: Any) -> str:
    return short(value) if isinstance(value, str | list) else str(value)[:40]
