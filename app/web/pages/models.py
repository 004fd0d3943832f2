"""``/models``: what can be picked, from this machine and from the Hub, and what a model is made of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from app.recipe.findings import Refused
from app.recipe.references import is_hub_id, parse_reference
from app.web.dependencies import JobsDep, LibraryDep, SettingsDep, TemplatesDep
from app.web.pages.model_view import model_page, suggestions
from app.web.pages.workers import workers_pill

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
        roots=settings.model_roots, pasted=_pasted(q), workers=workers_pill(jobs),
    )  # fmt: skip


@router.get("/models/suggest")
def suggest(request: Request, templates: TemplatesDep, library: LibraryDep, q: Words = "") -> HTMLResponse:
    """The options below the field that picks a model."""
    found = library.search(q, 8)
    return templates.partial(
        request, "partials/_suggestions.html", q=q, found=suggestions(found.models), findings=found.findings,
        pasted=_pasted(q),
    )  # fmt: skip


@router.get("/models/view")
def show(
    request: Request, templates: TemplatesDep, library: LibraryDep, jobs: JobsDep, settings: SettingsDep, ref: Reference
) -> HTMLResponse:
    """What is known of a model before its weights are read."""
    model = parse_reference(ref, "ref")
    facts = library.facts(model)
    page = model_page(facts, settings.hub_endpoint if is_hub_id(model.name) else None)
    return templates.page(request, "pages/model.html", view=page, workers=workers_pill(jobs))


def _pasted(text: str) -> str:
    """The reference a text is, taken out of a Hub address if need be; empty when it is only words."""
    text = text.strip()
    for scheme in ("https://", "http://"):
        if text.startswith(scheme):
            parts = text.removeprefix(scheme).split("/")
            text = "/".join(parts[1:3]) + (f"@{parts[4]}" if parts[3:4] == ["tree"] and len(parts) > 4 else "")
    try:
        ref = parse_reference(text) if "/" in text else None
    except Refused:
        return ""
    return str(ref) if ref is not None and (ref.is_local or is_hub_id(ref.name)) else ""
