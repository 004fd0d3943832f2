"""``/models``: what can be picked, from this machine and from the Hub, and what a model is made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.library.facts import Library
from app.recipe.references import is_hub_id, parse_reference
from app.web.dependencies import JobsDep, LibraryDep, SettingsDep, TemplatesDep
from app.web.pages.model_view import model_page, suggestions
from app.web.pages.typed import exact_reference
from app.web.pages.workers import workers_pill
from app.web.rendering import Templates

router = APIRouter(include_in_schema=False)

Words = Annotated[str, Query(max_length=200)]
Reference = Annotated[str, Query(max_length=600)]


@router.get("/models")
def index(
    request: Request, templates: TemplatesDep, library: LibraryDep, jobs: JobsDep, settings: SettingsDep, q: Words = ""
) -> HTMLResponse:
    """Local models, and the Hub's for a search."""
    found = library.search(q, 30)
    return templates.page(
        request, "pages/models.html", q=q, found=suggestions(found.models), findings=found.findings,
        roots=settings.model_roots, pasted=exact_reference(q), workers=workers_pill(jobs),
    )  # fmt: skip


@router.get("/models/suggest")
def suggest(request: Request, templates: TemplatesDep, library: LibraryDep, q: Words = "") -> HTMLResponse:
    """The options below the field that picks a parent of a merge: a model, or an adapter that goes on one."""
    return _options(request, templates, library, q, None)


@router.get("/models/suggest/models")
def suggest_models(request: Request, templates: TemplatesDep, library: LibraryDep, q: Words = "") -> HTMLResponse:
    """The options where only models fit, by themselves or with an adapter on them."""
    return _options(request, templates, library, q, False)


@router.get("/models/suggest/adapters")
def suggest_adapters(request: Request, templates: TemplatesDep, library: LibraryDep, q: Words = "") -> HTMLResponse:
    """The options where only adapters fit."""
    return _options(request, templates, library, q, True)


def _options(request: Request, templates: Templates, library: Library, q: str, adapters: bool | None) -> HTMLResponse:
    model, plus, words = q.rpartition("+")
    model = exact_reference(model) if plus and not adapters else ""
    found = library.search(words, 8, adapters=True) if model else library.search(q, 8, adapters=adapters)
    return templates.partial(
        request, "partials/_suggestions.html", q=q, found=suggestions(found.models, model), findings=found.findings,
        pasted=exact_reference(q), what="adapter" if adapters or model else "model",
    )  # fmt: skip


@router.get("/models/view")
def show(
    request: Request, templates: TemplatesDep, library: LibraryDep, jobs: JobsDep, settings: SettingsDep,
    ref: Reference = "",
) -> Response:  # fmt: skip
    """What is known of a model before its weights are read. Without a model, the list of models."""
    if not ref:
        return RedirectResponse("/models", status_code=303)
    model = parse_reference(ref, "ref")
    facts = library.facts(model)
    page = model_page(facts, settings.hub_endpoint if is_hub_id(model.name) else None)
    return templates.page(request, "pages/model.html", view=page, workers=workers_pill(jobs))
