"""Before a comparison: read the models' headers, lay them beside each other, say what it will cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.comparing.meeting import Meeting, meet
from app.comparing.wanted import Wanted
from app.library.facts import Library
from app.library.together import read_facts
from app.recipe.findings import Refused, refuse


@dataclass(frozen=True)
class Precompare:
    """``wanted``: with every Hub model pinned to the commit that was read."""

    wanted: Wanted
    meeting: Meeting


def precompare(wanted: Wanted, library: Library, token: str | None = None) -> Precompare:
    """Raises Refused with everything that stands in the way."""
    if len(wanted.everyone) < 2:
        raise refuse("too-few-models", "models", "A comparison needs two models, or a model and a base.", "Add one.")
    facts, problems = read_facts(wanted.everyone, library, token)
    if problems:
        raise Refused(dict.fromkeys(problems))
    pinned = [library.pin(ref, facts[ref]) for ref in wanted.everyone]
    count = len(wanted.models)
    told = [replace(facts[ref], ref=str(pin)) for ref, pin in zip(wanted.everyone, pinned, strict=True)]
    base = told[count] if wanted.base is not None else None
    meeting = meet(told[:count], base, full=wanted.full)
    return Precompare(
        replace(wanted, models=tuple(pinned[:count]), base=pinned[count] if wanted.base is not None else None), meeting
    )
