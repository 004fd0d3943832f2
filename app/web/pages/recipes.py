"""``/recipes``: the ready recipes, and those that were shared on this server."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.recipe.catalogue import METHODS
from app.recipe.form import view
from app.recipe.presets import Preset, presets
from app.recipe.reading import read_recipe
from app.web.dependencies import JobsDep, ServicesDep, TemplatesDep
from app.web.pages.parent_cards import ParentCard, parent_cards
from app.web.pages.workers import workers_pill

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class RecipeCard:
    """A ready recipe with its method's title and its parents in their colours."""

    preset: Preset
    method: str
    parents: tuple[ParentCard, ...]


@router.get("/recipes")
def index(request: Request, templates: TemplatesDep, jobs: JobsDep, services: ServicesDep) -> HTMLResponse:
    cards, shared = [_card(one) for one in presets()], services.shared.newest()
    return templates.page(request, "pages/recipes.html", cards=cards, shared=shared, workers=workers_pill(jobs))


def _card(preset: Preset) -> RecipeCard:
    recipe = read_recipe(preset.text).draft
    if recipe is None:
        return RecipeCard(preset, "", ())
    return RecipeCard(preset, METHODS[recipe.merge_method].title, parent_cards(view(recipe), {}))
