"""Which commit a branch stood for, noted in the Hub cache: tools that run offline look there for what was fetched."""

from __future__ import annotations

from app.library.facts import Library
from app.planning.plan import Plan
from app.recipe.reading import read_recipe


def remember_branches(asked: str, plan: Plan, library: Library) -> None:
    """``asked``: the recipe as it was handed in, with branches; ``plan``: with the commits whose files are here now."""
    recipe = read_recipe(asked).recipe
    if recipe is None or library.hub is None:
        return
    commits = {parent.ref: parent.commit for parent in plan.parents}
    for before, after in zip(recipe.parents(), plan.recipe.parents(), strict=False):
        commit = commits.get(str(after))
        if commit is not None and before.name == after.name:
            library.hub.cache.remember(before.name, before.revision or "main", commit)
