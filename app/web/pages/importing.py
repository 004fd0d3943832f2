"""Bringing a recipe to the builder: YAML or a model card, pasted or dropped, or a published merge by its Hub id.

A mixture's recipe leads to its own form (``leading``)."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response

from app.library.published import published_recipe
from app.recipe.findings import Finding, Refused
from app.web.pages.build_view import build_page
from app.web.pages.desk import DeskDep, new_key
from app.web.pages.draft import from_form, from_text
from app.web.pages.leading import lead, to_mixtures
from app.web.pages.posted import FieldsDep
from app.web.pages.remembered import builder_address, remembered
from app.web.pages.typed import typed_reference

router = APIRouter(include_in_schema=False)
_NOTHING = Finding("error", "empty", "", "There is nothing to open.", "Paste a recipe, choose a file or name a merge.")


@router.post("/build/import")
def bring(desk: DeskDep, fields: FieldsDep) -> Response:
    """Keep what was brought as a new draft and go there. What cannot be fetched is told where it was asked for."""
    published = fields.get("published", "").strip()
    try:
        text = published_recipe(desk.services.library, typed_reference(published)) if published else fields.get(
            "recipe", "")  # fmt: skip
        if desk.live and not text.strip():
            raise Refused([_NOTHING])
    except Refused as problem:
        if desk.live:
            return desk.templates.partial(
                desk.request, "partials/_import_refused.html", status_code=422, findings=problem.findings
            )
        page = build_page(replace(from_text(""), remembered=remembered(fields)), new_key(), refusal=problem.findings)
        return desk.whole(replace(page, refusal_title="This cannot be imported"), "", 422)
    if elsewhere := to_mixtures(desk, text, "import-elsewhere"):
        return elsewhere
    draft = from_form({"action": "import", "recipe": text})
    saved = desk.keep(draft, {"action": "import", "recipe": text})
    return lead(desk, builder_address(saved.id, fields))
