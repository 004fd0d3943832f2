"""Drafts of the builder, kept on this server under addresses of their own: ``/?draft=…``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from app.web.dependencies import ServicesDep, TemplatesDep
from app.web.pages.desk import page_key
from app.web.pages.keeping import held, keep_anew
from app.web.pages.posted import FieldsDep
from app.web.pages.remembered import builder_address

router = APIRouter(include_in_schema=False)

DraftId = Annotated[str, Path(alias="draft_id", max_length=32)]


@router.post("/drafts")
def fork(services: ServicesDep, fields: FieldsDep) -> RedirectResponse:
    """A copy to work on, which remembers what it was made from."""
    origin = services.shared.get(fields.get("fork", ""))
    return RedirectResponse(keep_anew(services.drafts, fields.get("recipe", ""), origin.id if origin else None), 303)


@router.post("/drafts/news")
def news(request: Request, services: ServicesDep, templates: TemplatesDep, fields: FieldsDep) -> Response:
    """The remark that another tab has changed the draft; nothing (204) if none has."""
    hold = held(fields, page_key(fields))
    if not services.drafts.overtaken(hold):
        return Response(status_code=204)
    return templates.partial(request, "partials/_draft_news.html", draft_id=hold.id)


@router.post("/drafts/{draft_id}/swap")
def swap(draft_id: DraftId, services: ServicesDep, fields: FieldsDep) -> RedirectResponse:
    """Take back what another tab's text was written over."""
    services.drafts.swap(draft_id)
    there = services.drafts.get(draft_id)
    return RedirectResponse(builder_address(draft_id, fields) if there else "/recipes", 303)


@router.post("/drafts/{draft_id}/remove")
def remove(draft_id: DraftId, services: ServicesDep) -> RedirectResponse:
    services.drafts.remove(draft_id)
    return RedirectResponse("/recipes", 303)
