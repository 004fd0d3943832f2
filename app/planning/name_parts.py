"""Parts of tensor names that stand for one module of every layer, or for a group: what a rule's filter may say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

GROUPS = (
    ("attention", ("q", "k", "v", "qkv", "o")),
    ("MLP", ("gate", "up", "gate+up", "down", "router")),
    ("norms", ("norm",)),
)
_LEAVES = ("weight", "bias")
_INSIDE_WORDS = ("layernorm", "norm", "ln_", "ln")
"""Names of norms have no word in common, only these."""


@dataclass(frozen=True, slots=True)
class NamePart:
    """``label`` is a column of the loom or a group of them; ``filter`` the part of the name; ``sample`` a whole name
    that has it."""

    label: str
    filter: str
    sample: str
    group: bool = False


def name_parts(columns: Mapping[str, Sequence[str]]) -> tuple[NamePart, ...]:
    """Groups first, then single columns. ``columns``: module -> its names in a layer, without the layer's number.

    A column's part is in all of its names and in no other column's; a group's is in all of its names. Columns and
    groups without such a part are left out.
    """
    found = []
    for label, members in GROUPS:
        inside = [name for column in members for name in columns.get(column, ())]
        part = _common(inside, _others(columns, members)) or _common(inside, ())
        if part:
            found.append(NamePart(label, part, inside[0], group=True))
    for column, names in columns.items():
        part = _common(names, _others(columns, (column,)))
        if part:
            found.append(NamePart(column, part, names[0]))
    return tuple(found)


def _others(columns: Mapping[str, Sequence[str]], members: Iterable[str]) -> list[str]:
    return [name for column, names in columns.items() if column not in members for name in names]


def _common(inside: Sequence[str], outside: Sequence[str]) -> str | None:
    """The shortest run of words that is in all names inside and in none outside."""
    if not inside:
        return None
    for part in (*_runs(inside[0]), *_INSIDE_WORDS):
        if all(part in name for name in inside) and not any(part in name for name in outside):
            return part
    return None


def _runs(name: str) -> Iterator[str]:
    """``self_attn``, ``q_proj``, ``self_attn.q_proj`` of ``self_attn.q_proj.weight``; numbers are left out."""
    words = [word for word in name.split(".") if word not in _LEAVES]
    for length in range(1, len(words) + 1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            if not any(word.isdigit() for word in run):
                yield ".".join(run)
