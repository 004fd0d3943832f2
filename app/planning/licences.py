"""Licences of the parents, side by side. Remarks only: what a licence allows is for people to judge."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from app.planning.facts import ModelFacts
from app.planning.ledger import listed
from app.recipe.findings import Finding

_NON_COMMERCIAL = re.compile(r"(^|-)nc(-|$)|non-?commercial|research", re.IGNORECASE)
_VAGUE = ("other", "unknown")


def check_licences(models: Mapping[str, ModelFacts]) -> Iterator[Finding]:
    """One remark about all parents' licences; none if nothing is known of any (folders on this machine)."""
    return compare_licences({name: facts.licence for name, facts in models.items()})


def compare_licences(told: Mapping[str, str | None]) -> Iterator[Finding]:
    """The same from the licences alone: model -> what its card says."""
    known = {name: licence for name, licence in told.items() if licence}
    if not known:
        return
    unknown = [name for name in told if name not in known or known[name] in _VAGUE]
    limited = [name for name, licence in known.items() if _NON_COMMERCIAL.search(licence or "")]
    words = "; ".join(f"{licence}: {listed(names)}" for licence, names in _by_licence(known).items())
    if limited and len(limited) < len(told):
        text = f"{listed(limited)}: not for commercial use, and neither is what is made from it ({words})."
        fix = "Keep to the strictest licence, or leave that parent out."
        yield Finding("warning", "licence-non-commercial", "", text, fix)
    elif unknown:
        others = f"; others are under {words}." if set(known) - set(unknown) else "."
        text = f"The licence of {listed(unknown)} is not known{others}"
        yield Finding("warning", "licence-unknown", "", text, "Read the model's card before sharing the result.")
    elif len(set(known.values())) > 1:
        text = f"The parents have different licences ({words})."
        yield Finding("warning", "licences-differ", "", text, "What is made from them must keep to all of them.")
    else:
        licence = next(iter(known.values()))
        text = f"Licence: {licence}{' for all parents' if len(told) > 1 else ''}."
        yield Finding("info", "licences-agree", "", text)


def common_licence(models: Mapping[str, ModelFacts]) -> str | None:
    """The licence that every parent has; None if one differs or is not known."""
    found = {facts.licence for facts in models.values()}
    licence = found.pop() if len(found) == 1 else None
    return None if licence in _VAGUE else licence


def _by_licence(known: Mapping[str, str | None]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, licence in known.items():
        found.setdefault(str(licence), []).append(name)
    return found
