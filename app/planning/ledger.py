"""Collects what is noticed tensor by tensor and tells each kind of it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.planning.strict_json import short
from app.recipe.findings import Finding

TENSORS = "{tensors}"
"""Stands for the tensors' names in a finding's text."""
LONGEST_NAME = 160
"""Letters of a tensor's name that are shown."""


class Ledger:
    """Findings about tensors, those with equal words joined into one."""

    def __init__(self) -> None:
        self._found: dict[Finding, list[str]] = {}

    def note(self, finding: Finding, tensor: str) -> None:
        """Remember ``finding`` for ``tensor``; its text may hold ``{tensors}``. Without ``where``: the first tensor."""
        self._found.setdefault(finding, []).append(tensor)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            replace(
                finding,
                where=finding.where or short(names[0], LONGEST_NAME),
                text=finding.text.replace(TENSORS, listed([short(name, LONGEST_NAME) for name in names])),
            )
            for finding, names in self._found.items()
        )


def listed(names: Sequence[str], most: int = 3) -> str:
    """``a, b and c``; from ``most`` on ``a, b and 12 more``."""
    unique = list(dict.fromkeys(names))
    if len(unique) > most:
        shown, rest = unique[: most - 1], f"{len(unique) - most + 1} more"
    else:
        shown, rest = unique[:-1], unique[-1] if unique else ""
    return " and ".join(part for part in (", ".join(shown), rest) if part)
