"""Where models come from: the tree of ``base_model`` links that their cards name, and their licences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

MOST_MODELS = 40
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model's card says of where it comes from. ``unread``: why nothing is known, empty if it was read."""

    licence: str | None = None
    base_models: tuple[str, ...] = ()
    gated: bool = False
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Kin:
    """One line of the family tree: a model, how deep it stands below its ancestor, whether it goes into the merge."""

    name: str
    depth: int
    origin: Origin
    parent: bool


Ask = Callable[[Sequence[str]], Mapping[str, Origin]]
"""The origins of several models, asked for side by side."""


def gather(parents: Sequence[str], ask: Ask) -> Mapping[str, Origin]:
    """The origins of the parents and of whatever they name as their base models, generation by generation: at most six
    back, at most forty models."""
    known: dict[str, Origin] = {}
    wanted = list(dict.fromkeys(parents))
    for _ in range(DEEPEST):
        wanted = [name for name in dict.fromkeys(wanted) if name not in known][: MOST_MODELS - len(known)]
        if not wanted:
            break
        known |= ask(wanted)
        wanted = [base for name in wanted if name in known for base in known[name].base_models]
    return MappingProxyType(known)


def tree(parents: Sequence[str], known: Mapping[str, Origin]) -> tuple[Kin, ...]:
    """The family from its ancestors down, children under the model they were made from. A model that names several
    stands under the first, and models without kin come last. One that is its own ancestor, as cards in error say, is
    told once."""
    above = {name: _base(name, known) for name in known}
    children: dict[str | None, list[str]] = {}
    for name in known:
        children.setdefault(None if _is_root(name, above) else above[name], []).append(name)
    told: list[Kin] = []
    roots = sorted(children.get(None, []), key=lambda name: name not in children)
    waiting = [(name, 0) for name in reversed(roots)]
    while waiting:
        name, depth = waiting.pop()
        told.append(Kin(name, depth, known[name], name in parents))
        waiting += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return tuple(told)


def common_ancestor(parents: Sequence[str], known: Mapping[str, Origin]) -> str | None:
    """The nearest model that all parents are, or were made from, as far as their cards say. None without one."""
    lines = [_line(name, known) for name in dict.fromkeys(parents)]
    shared = [name for name in lines[0] if all(name in line for line in lines[1:])] if lines else []
    return shared[0] if shared else None


def _base(name: str, known: Mapping[str, Origin]) -> str | None:
    return next((base for base in known[name].base_models if base in known and base != name), None)


def _line(name: str, known: Mapping[str, Origin]) -> list[str]:
    """A model and everything before it, the nearest first; all of several bases count."""
    line, waiting = [], [name]
    while waiting:
        one = waiting.pop(0)
        if one not in line:
            line.append(one)
            waiting += known[one].base_models if one in known else ()
    return line


def _is_root(name: str, above: Mapping[str, str | None]) -> bool:
    """Whether nothing stands above it. Of models that name each other in a circle, the first by name counts as that."""
    circle, one = [name], above[name]
    while one is not None and one not in circle:
        circle.append(one)
        one = above[one]
    return above[name] is None or (one == name and name == min(circle))
