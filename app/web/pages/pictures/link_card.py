"""The picture that stands beside a link in a chat: title, method, parents, and the loom, 1200 by 630 pixels.

It is looked at outside of any page, so it brings its own colours: those of the light theme.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from app.web.pages.pictures.loom import LoomPicture

COLOURS = {
    "t-base": "#8a93a0", "t-A": "#128a7d", "t-B": "#db831b", "t-C": "#7453e5", "t-D": "#e92980", "t-E": "#2696d1",
    "t-F": "#cfaf1d", "t-G": "#873b24", "t-H": "#213e97",
}  # fmt: skip
STRENGTHS = {"s1": 0.42, "s2": 0.54, "s3": 0.66, "s4": 0.79, "s5": 0.93}
_TITLE_LINES, _TITLE_LETTERS = 3, 20
_NAME_LETTERS = 38
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Name:
    """A parent: its colour, its letter, its name cut to fit."""

    colour: str
    letter: str
    text: str


@dataclass(frozen=True, slots=True)
class LinkCard:
    """What ``pictures/link.svg`` writes. ``more``: parents that found no room."""

    title: tuple[str, ...]
    method: str
    names: tuple[Name, ...]
    more: int
    loom: LoomPicture | None


def draw(title: str, method: str, names: Sequence[Name], loom: LoomPicture | None) -> LinkCard:
    """Lay the card out."""
    lines = textwrap.wrap(title, _TITLE_LETTERS, max_lines=_TITLE_LINES, placeholder=" …") or ["Recipe"]
    kept = names if len(names) <= _MOST_NAMES else names[: _MOST_NAMES - 1]
    shown = tuple(Name(COLOURS.get(one.colour, "#8a93a0"), one.letter, _short(one.text)) for one in kept)
    return LinkCard(tuple(lines), method, shown, len(names) - len(kept), loom)


def _short(text: str) -> str:
    return text if len(text) <= _NAME_LETTERS else f"{text[: _NAME_LETTERS - 1]}…"
