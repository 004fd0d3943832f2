"""``/recipes``: drafts kept on this server, the ready recipes, and those that were shared here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.recipe.catalogue import METHODS
from app.recipe.form import view
from app.recipe.presets import Preset, presets
from app.recipe.reading import read_recipe
from app.sharing.models import SharedRecipe
from app.sharing.store import SharedRecipes
from app.web.dependencies import JobsDep, ServicesDep, TemplatesDep
from app.web.pages.parent_cards import ParentCard, parent_cards
from app.web.pages.shared_view import Line, difference
from app.web.pages.workers import workers_pill

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class RecipeCard:
    """A ready recipe with its method's title and its parents in their colours."""

    preset: Preset
    method_name: str
    method: str
    parents: tuple[ParentCard, ...]


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A recipe with a link; ``origin`` is what it was forked from, ``difference`` what was changed in it."""

    recipe: SharedRecipe
    method: str
    origin: SharedRecipe | None
    difference: tuple[Line, ...]


@router.get("/recipes")
def index(request: Request, templates: TemplatesDep, jobs: JobsDep, services: ServicesDep) -> HTMLResponse:
    return templates.page(
        request,
        "pages/recipes.html",
        cards=[_card(one) for one in presets()],
        shared=_rows(services.shared, services.shared.newest()),
        drafts=services.drafts.newest(),
        workers=workers_pill(jobs),
    )


def _card(preset: Preset) -> RecipeCard:
    recipe = read_recipe(preset.text).draft
    if recipe is None:
        return RecipeCard(preset, "", "", ())
    name = recipe.merge_method
    return RecipeCard(preset, name, METHODS[name].title, parent_cards(view(recipe), {}))


def _rows(shared: SharedRecipes, newest: Sequence[SharedRecipe]) -> list[SharedRow]:
    rows = []
    for one in newest:
        origin = shared.get(one.forked_from) if one.forked_from else None
        rows.append(SharedRow(one, _method(one.text), origin, difference(origin.text, one.text) if origin else ()))
    return rows


def _method(text: str) -> str:
    """What tells recipes with the same parents apart."""
    recipe = read_recipe(text).draft
    return METHODS[recipe.merge_method].title if recipe and recipe.merge_method in METHODS else ""
