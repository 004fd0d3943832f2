"""A comparison for other programs: every measure over everything and cell by cell, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.comparing.comparison import Comparison, every_value
from app.comparing.suggestions import Suggestion
from app.recipe.writing import write_recipe


def as_report(comparison: Comparison, found: Sequence[Suggestion]) -> dict[str, Any]:
    """For JSON. Shares, not percents; a value is null where a measure means nothing."""
    return {
        "models": {comparison.letter(number): ref for number, ref in enumerate(comparison.models)},
        "base": comparison.base,
        "mode": "full" if comparison.full else "sample",
        "top": comparison.top,
        "measures": {one.name: one.sentence for one in comparison.measures},
        "overall": every_value(comparison, comparison.tensors),
        "cells": [
            {"layer": layer, "module": module, "tensors": len(inside), "values": every_value(comparison, inside)}
            for (layer, module), inside in comparison.cells.items()
        ],
        "suggestions": [
            {"code": one.code, "text": one.text, "action": one.action,
             "recipe": write_recipe(one.recipe) if one.recipe else None}
            for one in found
        ],
        "left_out": [{"tensor": one.name, "why": one.why} for one in comparison.left_out],
        "left_out_count": comparison.left_out_count,
    }  # fmt: skip
