"""One expert in the form of ``/mixtures``: its model and prompts as text fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.experts.wanted import Expert
from app.recipe.safe_yaml import MAX_BYTES
from app.web.pages.form_desk import LONGEST, Pairs
from app.web.pages.typed import typed_number, typed_reference

BREAK = "⏎"
"""Stands for a line's end within a prompt, since each line of a field is a prompt of its own."""


@dataclass(frozen=True, slots=True)
class ExpertRow:
    """As it was typed: ``positive`` and ``negative`` with a prompt a line, ``scale`` empty for 1."""

    name: str = ""
    positive: str = ""
    negative: str = ""
    scale: str = ""

    @property
    def more(self) -> bool:
        """Whether it says what most do not."""
        return bool(self.negative or self.scale)

    @property
    def height(self) -> int:
        """Lines of the field for its prompts."""
        return min(8, max(2, self.positive.count("\n") + 1))

    def pairs(self, prefix: str) -> list[tuple[str, str]]:
        """Its fields as they stand in an address, the model first: ``expert``, or ``shared_expert``."""
        told = (("positive", self.positive), ("negative", self.negative), ("scale", self.scale))
        return [(f"{prefix}expert", self.name), *((prefix + name, value) for name, value in told if value)]

    def as_params(self) -> dict[str, Any]:
        """Under the keys of a recipe. Raises Refused."""
        told: dict[str, Any] = {"source_model": str(typed_reference(self.name))}
        told["positive_prompts"] = _prompts(self.positive)
        if self.negative:
            told["negative_prompts"] = _prompts(self.negative)
        if self.scale:
            told["residual_scale"] = typed_number(self.scale, "residual_scale")
        return told


EMPTY = ExpertRow()


def row_of(expert: Expert) -> ExpertRow:
    scale = "" if expert.residual is None else f"{expert.residual:.12g}"
    return ExpertRow(str(expert.source), _lines(expert.positive), _lines(expert.negative), scale)


def filled_rows(pairs: Pairs, prefix: str) -> tuple[ExpertRow, ...]:
    """The rows of a form or an address: each begins with its model, and what follows belongs to it."""
    rows: list[dict[str, str]] = []
    for name, value in pairs:
        field = name.removeprefix(prefix)
        if not name.startswith(prefix) or field not in ("expert", "positive", "negative", "scale"):
            continue
        if field == "expert":
            rows.append({"name": value.strip()[:LONGEST]})
        elif rows:
            rows[-1][field] = value.strip()[:40] if field == "scale" else _tidy(value)
    return tuple(ExpertRow(**row) for row in rows if row["name"])


def _lines(prompts: tuple[str, ...]) -> str:
    return "\n".join(prompt.replace("\r\n", "\n").replace("\n", BREAK) for prompt in prompts)


def _tidy(text: str) -> str:
    """Without empty lines."""
    lines = text[: 2 * MAX_BYTES].replace("\r\n", "\n").split("\n")
    return "\n".join(line for line in lines if line.strip())


def _prompts(text: str) -> list[str]:
    return [line.replace(BREAK, "\n") for line in text.split("\n") if line.strip()]
