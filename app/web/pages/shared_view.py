"""All that the page of a shared recipe shows, whether it lies on this server or came in the link itself."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.planning.nominal import nominal_plan
from app.recipe.identity import LONGEST_TOKEN, share_token
from app.recipe.naming import title_of
from app.recipe.schema import Recipe
from app.sharing.models import SharedRecipe
from app.sharing.store import SharedRecipes
from app.web.pages.build_view import BuildPage, build_page
from app.web.pages.draft import from_text
from app.web.pages.loom_rows import letters_of, loom_picture
from app.web.pages.pictures.loom import LoomPicture

_CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference. ``kind``: ``added``, ``removed`` or empty."""

    kind: str
    text: str


@dataclass(frozen=True)
class SharedPage:
    """The context ``shared`` of ``partials/_shared.html``.

    ``id`` and ``shared_at`` are empty for a recipe that came in its link; ``link`` is the address on this server,
    ``carried`` the one that holds the recipe (empty when that would be too long). ``guessed``: the loom has as many
    layers as such models usually have, because the recipe does not say.
    """

    title: str
    text: str
    build: BuildPage
    loom: LoomPicture | None
    guessed: bool
    carried: str
    id: str = ""
    link: str = ""
    shared_at: float | None = None
    origin: SharedRecipe | None = None
    difference: tuple[Line, ...] = ()
    forks: Sequence[SharedRecipe] = ()

    @property
    def description(self) -> str:
        """One sentence for previews of the link."""
        names = [one.name for one in self.build.parents]
        more = f" and {len(names) - 4} more" if len(names) > 5 else ""
        return f"{self.build.method.title} of {', '.join(names[:4] if more else names)}{more}."[:300]


def stored_page(found: SharedRecipe, shared: SharedRecipes, key: str, host: str) -> SharedPage:
    """The page of a recipe that has an address on this server. ``host``: ``http://name:port``."""
    page = _page(found.text, found.title, key, host, found.layers)
    origin = shared.get(found.forked_from) if found.forked_from else None
    return replace(
        page,
        id=found.id,
        link=f"{host}/r/{found.id}",
        shared_at=found.shared_at,
        origin=origin,
        difference=difference(origin.text, found.text) if origin else (),
        forks=shared.forks(found.id),
    )


def carried_page(text: str, recipe: Recipe, key: str, host: str) -> SharedPage:
    """The page of a recipe that came in its link."""
    return _page(text, title_of(recipe), key, host, None)


def _page(text: str, name: str, key: str, host: str, layers: int | None) -> SharedPage:
    draft = from_text(text)
    build = build_page(draft, key)
    plan = nominal_plan(draft.recipe, layers) if draft.recipe else None
    loom = loom_picture(plan, letters_of(plan, build.form)) if plan else None
    token = share_token(draft.recipe) if draft.recipe else ""
    carried = f"{host}/r#{token}" if 0 < len(token) <= LONGEST_TOKEN else ""
    guessed = draft.recipe is not None and layers is None and not draft.recipe.slices
    return SharedPage(name, text, build, loom, guessed, carried)


def difference(before: str, after: str) -> tuple[Line, ...]:
    """The lines in which two recipes differ, with a few around them."""
    kinds = {"+": "added", "-": "removed"}
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=_CONTEXT_LINES, lineterm="")
    return tuple(Line(kinds.get(line[:1], ""), line[1:]) for line in lines if line[:3] not in ("---", "+++", "@@ "))
