"""Recipes behind links: ``/r/{id}``. Opening one shows it and does nothing else: no download, no job, no look-up."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from app.recipe.findings import Refused
from app.recipe.reading import read_recipe
from app.sharing.models import SharedRecipe
from app.sharing.store import SharedRecipes
from app.web.dependencies import JobsDep, ServicesDep, TemplatesDep
from app.web.errors import not_found
from app.web.pages.build import new_key
from app.web.pages.build_view import BuildPage, build_page
from app.web.pages.draft import from_form, from_text
from app.web.pages.posted import FieldsDep
from app.web.pages.workers import workers_pill
from app.web.rendering import wants_partial
from app.web.submitting import title

router = APIRouter(include_in_schema=False)

IdPath = Annotated[str, Path(alias="recipe_id", max_length=32)]
_CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference. ``kind``: ``added``, ``removed`` or empty."""

    kind: str
    text: str


@router.post("/recipes/share")
def share(request: Request, services: ServicesDep, templates: TemplatesDep, fields: FieldsDep) -> Response:
    """Give the recipe on the page a link and go there. A recipe that cannot be read comes back with what is wrong."""
    draft = from_form(fields)
    try:
        reading = read_recipe(draft.text)
        if reading.recipe is None:
            raise Refused(finding for finding in reading.findings if finding.level == "error")
        if draft.problems:
            raise Refused(draft.problems)
    except Refused as problem:
        page = build_page(draft, fields.get("key", ""), refusal=problem.findings)
        return _refused(request, services, templates, page, fields.get("fork", ""))
    made = services.shared.share(reading.recipe, title(reading.recipe), fields.get("fork") or None)
    address = f"/r/{made.id}"
    if wants_partial(request):
        return Response(status_code=200, headers={"HX-Redirect": address})
    return Response(status_code=303, headers={"Location": address})


def _refused(
    request: Request, services: ServicesDep, templates: TemplatesDep, page: BuildPage, fork: str
) -> HTMLResponse:
    if wants_partial(request):
        return templates.partial(request, "partials/_refused_update.html", status_code=422, build=page)
    workers = workers_pill(services.jobs)
    return templates.page(request, "pages/build.html", status_code=422, build=page, workers=workers, fork=fork)


@router.get("/r/{recipe_id}.yml")
def as_yaml(recipe_id: IdPath, services: ServicesDep) -> PlainTextResponse:
    found = find(services.shared, recipe_id)
    headers = {"Content-Disposition": f'attachment; filename="{found.id}.yml"'}
    return PlainTextResponse(found.text, media_type="text/yaml", headers=headers)


@router.get("/r/{recipe_id}")
def show(
    request: Request, recipe_id: IdPath, services: ServicesDep, templates: TemplatesDep, jobs: JobsDep
) -> HTMLResponse:
    found = find(services.shared, recipe_id)
    origin = services.shared.get(found.forked_from) if found.forked_from else None
    return templates.page(
        request,
        "pages/shared.html",
        shared=found,
        build=build_page(from_text(found.text), new_key()),
        origin=origin,
        difference=difference(origin.text, found.text) if origin else (),
        forks=services.shared.forks(found.id),
        link=f"{str(request.base_url).rstrip('/')}/r/{found.id}",
        workers=workers_pill(jobs),
    )


def find(shared: SharedRecipes, recipe_id: str) -> SharedRecipe:
    found = shared.get(recipe_id)
    if found is None:
        raise not_found("There is no recipe behind this link.")
    return found


def difference(before: str, after: str) -> tuple[Line, ...]:
    """The lines in which two recipes differ, with a few around them."""
    kinds = {"+": "added", "-": "removed"}
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=_CONTEXT_LINES, lineterm="")
    return tuple(Line(kinds.get(line[:1], ""), line[1:]) for line in lines if line[:3] not in ("---", "+++", "@@ "))
