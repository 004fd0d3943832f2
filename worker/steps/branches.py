"""Which commit a branch stood for, noted in the Hub cache: tools that run offline look there for what was fetched."""

from __future__ import annotations

from collections.abc import Sequence

from app.library.facts import Library
from app.planning.plan import Plan
from app.recipe.schema import ModelRef


def remember_branches(asked: Sequence[ModelRef], plan: Plan, library: Library) -> None:
    """``asked``: the parents as they were handed in, with branches; ``plan``: with the commits whose files are here
    now."""
    if library.hub is None:
        return
    commits = {parent.ref: parent.commit for parent in plan.parents}
    for before, after in zip(asked, plan.recipe.parents(), strict=False):
        commit = commits.get(str(after))
        if commit is not None and before.name == after.name:
            library.hub.cache.remember(before.name, before.revision or "main", commit)
