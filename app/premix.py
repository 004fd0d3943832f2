"""Before a mixture of experts is made: read headers, check, plan every tensor, and say what it will be and cost."""

from __future__ import annotations

from dataclasses import dataclass

from app.experts.wanted import WantedMixture
from app.planning.estimate import Estimate
from app.planning.plan import Plan
from app.recipe.findings import Finding


@dataclass(frozen=True)
class Premix:
    """``wanted``: every Hub model pinned to the commit that was read. ``findings``: no errors among them."""

    wanted: WantedMixture
    plan: Plan
    estimate: Estimate
    findings: tuple[Finding, ...]
