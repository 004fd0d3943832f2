"""Values in words: short in a cell, whole in a sentence."""

from __future__ import annotations

import math

from app.comparing.measures import Measure

_CLOSEST = 7
"""Digits after the point a cosine is told with at most."""


def told(measure: Measure, value: float | None) -> str:
    """``38 %``, ``0.64 %``, ``−0.05``, ``0.99996``, ``30.6``; ``–`` for None."""
    if value is None:
        return "–"
    if measure.unit == "percent":
        return percent(value)
    return cosine(value) if measure.unit == "cosine" else _significant(value, 3)


def brief(measure: Measure, value: float | None) -> str:
    """The same for a narrow cell: without the sign of percent and the zero before a point."""
    text = told(measure, value).removesuffix(" %")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "−0.")) else text


def percent(share: float) -> str:
    """Two significant digits, whole numbers from 10 on: ``38 %``, ``3.8 %``, ``0.64 %``."""
    return f"{_significant(100 * share, 2)} %"


def cosine(value: float) -> str:
    """Two digits after the point; near 1 as many as it takes to tell it from 1."""
    gap = 1 - abs(value) if 1 - abs(value) > 10**-_CLOSEST else 0.0
    digits = 2 if gap >= 0.01 else min(_CLOSEST, -math.floor(math.log10(gap))) if gap > 0 else 0
    return _minus(f"{value:.{digits}f}")


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _minus(f"{value:,.{min(places, 6)}f}")


def _minus(text: str) -> str:
    """With a true minus, and none before a zero."""
    return text if not text.startswith("-") else "−" + text[1:] if text.strip("-0.") else text[1:]
