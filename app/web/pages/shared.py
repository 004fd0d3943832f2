"""Recipes behind links: ``/r/{id}`` on this server, ``/r#…`` on any. Opening one shows it and does nothing else: no
download, no job, no look-up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from app.recipe.findings import Refused
from app.recipe.identity import read_share_token
from app.recipe.naming import title_of
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe
from app.recipe.writing import write_recipe
from app.sharing.models import SharedRecipe
from app.sharing.store import SharedRecipes
from app.web.dependencies import JobsDep, LibraryDep, ServicesDep, TemplatesDep
from app.web.errors import not_found
from app.web.pages.build_view import BuildPage, build_page
from app.web.pages.desk import new_key
from app.web.pages.draft import from_form
from app.web.pages.family_view import family
from app.web.pages.pictures import link_card
from app.web.pages.posted import FieldsDep
from app.web.pages.shared_view import SharedPage, carried_page, stored_page
from app.web.pages.workers import workers_pill
from app.web.png import png
from app.web.rendering import wants_partial

router = APIRouter(include_in_schema=False)

IdPath = Annotated[str, Path(alias="recipe_id", max_length=32)]
_DEEPEST = 1000
_A_DAY = {"Cache-Control": "public, max-age=86400"}


@router.post("/recipes/share")
def share(request: Request, services: ServicesDep, templates: TemplatesDep, fields: FieldsDep) -> Response:
    """Give the recipe on the page a link and go there. A recipe that cannot be read comes back with what is wrong."""
    draft = from_form(fields)
    try:
        recipe = _readable(draft.text)
        if draft.problems:
            raise Refused(draft.problems)
    except Refused as problem:
        page = build_page(draft, fields.get("key", ""), refusal=problem.findings)
        return _refused(request, services, templates, page, fields.get("fork", ""))
    layers = _layers(fields.get("layers", ""))
    made = services.shared.share(recipe, title_of(recipe), fields.get("fork") or None, layers)
    address = f"/r/{made.id}"
    if wants_partial(request):
        return Response(status_code=200, headers={"HX-Redirect": address})
    return Response(status_code=303, headers={"Location": address})


def _readable(text: str) -> Recipe:
    """Raises Refused with the errors of a text that is no recipe."""
    reading = read_recipe(text)
    if reading.recipe is None:
        raise Refused(finding for finding in reading.findings if finding.level == "error")
    return reading.recipe


def _layers(text: str) -> int | None:
    return min(int(text), _DEEPEST) if text.isascii() and text.isdigit() and 0 < len(text) < 6 else None


def _refused(
    request: Request, services: ServicesDep, templates: TemplatesDep, page: BuildPage, fork: str
) -> HTMLResponse:
    if wants_partial(request):
        return templates.partial(request, "partials/_refused_update.html", status_code=422, build=page)
    workers = workers_pill(services.jobs)
    return templates.page(request, "pages/build.html", status_code=422, build=page, workers=workers, fork=fork)


@router.get("/r")
def reader(request: Request, templates: TemplatesDep, jobs: JobsDep) -> HTMLResponse:
    """The page that opens a link which carries its recipe behind a ``#``: no server ever sees that part of an address,
    so the page's script sends it on."""
    return templates.page(request, "pages/carried.html", shared=None, workers=workers_pill(jobs))


@router.post("/r")
def open_carried(request: Request, templates: TemplatesDep, jobs: JobsDep, fields: FieldsDep) -> HTMLResponse:
    """The recipe of a token, shown. Nothing is kept, looked up or run."""
    text = read_share_token(fields.get("token", "").strip())
    recipe = _readable(text)
    shared = carried_page(write_recipe(recipe), recipe, new_key(), _host(request))
    return templates.answer(
        request, "pages/carried.html", "partials/_shared.html", shared=shared, workers=workers_pill(jobs)
    )


@router.post("/recipes/family")
def lineage(
    request: Request, services: ServicesDep, templates: TemplatesDep, library: LibraryDep, fields: FieldsDep
) -> HTMLResponse:
    """Licences and family tree of a recipe's parents. Asks the Hub for what their cards say; no weights, no headers."""
    recipe = _readable(fields.get("recipe", ""))
    shared = carried_page(write_recipe(recipe), recipe, new_key(), _host(request))
    found = family(recipe, shared.build, library)
    return templates.answer(
        request, "pages/family.html", "partials/_family.html", family=found, title=shared.title,
        workers=workers_pill(services.jobs),
    )  # fmt: skip


@router.get("/r/{recipe_id}.yml")
def as_yaml(recipe_id: IdPath, services: ServicesDep) -> PlainTextResponse:
    found = find(services.shared, recipe_id)
    headers = {"Content-Disposition": f'attachment; filename="{found.id}.yml"'}
    return PlainTextResponse(found.text, media_type="text/yaml", headers=headers)


@router.get("/r/{recipe_id}.svg")
def as_svg(request: Request, recipe_id: IdPath, services: ServicesDep, templates: TemplatesDep) -> Response:
    """The picture of a link, for pages and chats that show SVG."""
    picture = _picture(request, services, templates, recipe_id)
    return Response(picture, media_type="image/svg+xml", headers=_A_DAY)


@router.get("/r/{recipe_id}.png")
def as_png(request: Request, recipe_id: IdPath, services: ServicesDep, templates: TemplatesDep) -> Response:
    """The same for those that do not."""
    return Response(png(_picture(request, services, templates, recipe_id)), media_type="image/png", headers=_A_DAY)


@router.get("/r/{recipe_id}")
def show(
    request: Request, recipe_id: IdPath, services: ServicesDep, templates: TemplatesDep, jobs: JobsDep
) -> HTMLResponse:
    shared = stored_page(find(services.shared, recipe_id), services.shared, new_key(), _host(request))
    return templates.page(request, "pages/shared.html", shared=shared, workers=workers_pill(jobs))


def find(shared: SharedRecipes, recipe_id: str) -> SharedRecipe:
    found = shared.get(recipe_id)
    if found is None:
        raise not_found("There is no recipe behind this link.", among="recipes")
    return found


def _host(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _picture(request: Request, services: ServicesDep, templates: TemplatesDep, recipe_id: str) -> str:
    shared: SharedPage = stored_page(find(services.shared, recipe_id), services.shared, "", _host(request))
    names = [link_card.Name(one.colour, one.letter, one.name) for one in shared.build.parents]
    card = link_card.draw(shared.title, shared.build.method.title, names, shared.loom)
    colours, strengths = link_card.COLOURS, link_card.STRENGTHS
    return templates.render("pictures/link.svg", card=card, colours=colours, strengths=strengths)
