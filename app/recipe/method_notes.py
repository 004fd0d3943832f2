"""The notes on each method (``method_notes.toml``): its formula as mathematics, its paper's title, its limits."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Notes:
    """``maths`` is LaTeX, one line a formula; ``means`` says in words what its further symbols are; ``limits`` are
    sentences."""

    maths: tuple[str, ...]
    means: str
    paper: str
    limits: tuple[str, ...]


@cache
def method_notes() -> Mapping[str, Notes]:
    """The notes by the methods' names."""
    read = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            name: Notes(tuple(one["maths"]), one["means"], one["paper"], tuple(one["limits"]))
            for name, one in read.items()
        }
    )
