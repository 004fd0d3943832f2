"""The family tree of a recipe's parents: asked for by a button, never by opening a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.library.facts import Library
from app.library.origins import origins
from app.planning.family import Kin, common_ancestor, gather, tree
from app.planning.licences import compare_licences
from app.recipe.findings import Finding
from app.recipe.schema import Recipe
from app.web.pages.build_view import BuildPage


@dataclass(frozen=True, slots=True)
class Family:
    """The context ``family`` of ``partials/_family.html``. ``unread``: why a model could not be asked about;
    ``colours``: the thread of each parent, by name."""

    kin: tuple[Kin, ...]
    findings: tuple[Finding, ...]
    ancestor: str | None
    unread: str
    colours: Mapping[str, str]


def family(recipe: Recipe, build: BuildPage, library: Library) -> Family:
    """Ask where the parents come from. Slow (the Hub is asked, generation by generation): call it in a thread."""
    refs = [*recipe.parents(), *(ref.adapter for ref in recipe.parents() if ref.adapter)]
    names = list(dict.fromkeys(ref.name for ref in refs))
    known = gather(names, lambda wanted: origins(library, wanted))
    unread = next((one.unread for one in known.values() if one.unread), "")
    licences = {name: known[name].licence for name in names if name in known}
    colours = {one.name.partition("@")[0].partition("+")[0]: one.colour for one in build.parents}
    return Family(tree(names, known), tuple(compare_licences(licences)), common_ancestor(names, known), unread, colours)
