"""Collects what is noticed tensor by tensor and tells each kind of it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        self._found: dict[Finding, dict[str, int]] = {}

    def note(self, finding: Finding, tensor: str, alike: int = 1) -> None:
        """Remember ``finding`` for ``tensor``; its text may hold ``{tensors}``. Without ``where``: the first tensor.
        ``alike``: how many tensors this one stands for."""
        self._found.setdefault(finding, {})[tensor] = alike

    def findings(self) -> tuple[Finding, ...]:
        return tuple(_told(finding, names) for finding, names in self._found.items())


def _told(finding: Finding, tensors: Mapping[str, int]) -> Finding:
    names = [short(name, LONGEST_NAME) for name in tensors]
    text = finding.text.replace(TENSORS, listed(names, unnamed=sum(tensors.values()) - len(tensors)))
    return replace(finding, where=finding.where or names[0], text=text)


def listed(names: Sequence[str], most: int = 3, unnamed: int = 0) -> str:
    """``a, b and c``; from ``most`` on ``a, b and 12 more``. ``unnamed``: how many there are beside these."""
    unique = list(dict.fromkeys(names))
    if len(unique) + unnamed > most:
        shown = unique[: most - 1]
        rest = f"{len(unique) + unnamed - len(shown)} more"
    else:
        shown, rest = unique[:-1], unique[-1] if unique else ""
    return " and ".join(part for part in (", ".join(shown), rest) if part)
