"""The colour of each parent: a CSS class that follows it through every card, chart and page."""

from __future__ import annotations

COLOURS = "ABCDEFGH"
"""Letters that have a colour of their own; further parents take them again from the start, told apart by letter."""


def thread(letter: str) -> str:
    """The class of a parent's colour: ``t-A``... for the lettered ones, ``t-base`` for a base."""
    if not letter or not letter.isascii() or not letter.isupper():
        return "t-base"
    return f"t-{COLOURS[(ord(letter) - ord('A')) % len(COLOURS)]}"
