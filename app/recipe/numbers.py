"""Numbers as people type them into fields: with a point or, as in most of Europe, with a comma."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DECIMAL = re.compile(r"(?<![^\s;])([-+]?\d+),(\d+)(?!,?[^\s,;])")
"""Digits on both sides of a comma, standing alone: ``0,5``, and twice in ``0,2, 0,8``; nowhere in ``0,0,1``."""


def with_points(text: str) -> str:
    """``0,5`` -> ``0.5``."""
    return _DECIMAL.sub(r"\1.\2", text)


def understood(typed: Iterable[str]) -> str:
    """What texts with decimal commas were taken for, in words: ``0,5 is read as 0.5.`` Empty without any."""
    read = {text.strip(): ", ".join(listed(text)) for text in typed if with_points(text) != text}
    return " ".join(f"{text[:40]} is read as {meant[:40]}." for text, meant in read.items())


def listed(text: str) -> list[str]:
    """The pieces of a list of numbers, apart by commas, semicolons or spaces: ``0,2 0,8`` -> ``0.2``, ``0.8``."""
    return [piece for piece in re.split(r"[,;\s]+", with_points(text)) if piece]
