"""The builder: ``/``. The form posts itself on every change; its YAML, carried in the form, is all the state there is.

An edit is answered at once from the recipe alone. What the models' headers say may take seconds, so the page asks for
it in a second request, ``/build/check``. Where no script runs, buttons post the form and one answer carries everything.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from app.recipe.catalogue import METHODS
from app.recipe.findings import Finding, Refused
from app.recipe.knobs import KNOBS
from app.recipe.numbers import understood
from app.web.pages.build_view import build_page
from app.web.pages.desk import DeskDep, already_saved, new_key, page_key
from app.web.pages.draft import Draft, from_form, from_text
from app.web.pages.draft import opened as with_section
from app.web.pages.leading import to_mixtures
from app.web.pages.openings import OpeningDep, SectionName
from app.web.pages.posted import Fields, FieldsDep
from app.web.pages.remembered import Remembered
from app.web.pages.stack_desk import told
from app.web.submitting import submit

router = APIRouter(include_in_schema=False)

_NO_MODEL = Finding("error", "empty-recipe", "", "There is no model in this recipe yet.", "Pick at least one.")


@router.get("/")
@router.get("/build")
def first(
    desk: DeskDep,
    opened: OpeningDep,
    stream: Annotated[str, Query(max_length=10)] = "",
    section: SectionName = "",
) -> HTMLResponse:
    """An empty builder, or one with what the address asks for. ``stream``: with that switch on; ``document``: with
    this section of the recipe."""
    draft = replace(from_text(opened.text), remembered=Remembered(stream=bool(stream)))
    draft = with_section(draft, section)
    page = build_page(draft, new_key())
    return desk.whole(replace(page, saved=opened.saved), opened.fork)


@router.post("/build")
def edit(desk: DeskDep, fields: FieldsDep) -> Response:
    """The page after an edit: only what changed to a script, else the whole page with its check. A mixture's recipe in
    the YAML view leads to its own form, and the draft stays as it was."""
    if fields.get("action") == "yaml" and (elsewhere := to_mixtures(desk, fields.get("yaml", ""), "trouble")):
        return elsewhere
    draft = from_form(fields)
    saved, key = desk.keep(draft, fields), page_key(fields)
    if desk.live:
        return desk.parts("_build_update", replace(build_page(draft, key, told=_told(fields, draft)), saved=saved))
    return desk.whole(replace(build_page(draft, key, checked=desk.look(draft)), saved=saved), fields.get("fork", ""))


@router.post("/build/check")
def checked(desk: DeskDep, fields: FieldsDep) -> HTMLResponse:
    """What the models' headers say: findings, estimate, loom, one line a model."""
    draft = from_form(fields)
    return desk.parts("_check_update", build_page(draft, page_key(fields), checked=desk.look(draft)))


@router.post("/build/measured")
def measured(desk: DeskDep, fields: FieldsDep) -> Response:
    """What is still being measured, asked for again and again: the findings once it is there, until then nothing
    (204), without a new check."""
    draft = from_form(fields)
    if desk.is_measuring(draft):
        return Response(status_code=204)
    return desk.parts("_findings_update", build_page(draft, page_key(fields), checked=desk.look(draft)))


@router.post("/jobs")
def merge(desk: DeskDep, fields: FieldsDep) -> Response:
    """Hand the recipe in. Refused, the same page comes back with what is wrong, and nothing is lost."""
    draft = from_form(fields)
    try:
        _refuse_unfinished(draft)
        stream = draft.remembered.stream
        job = submit(desk.services, draft.text, stream=stream, key=_once(page_key(fields), draft.text, stream))
    except Refused as problem:
        errors = tuple(finding for finding in problem.findings if finding.level == "error")
        page = build_page(draft, page_key(fields), checked=desk.look(draft), refusal=errors)
        page = replace(page, saved=already_saved(fields))
        return desk.parts("_refused_update", page, 422) if desk.live else desk.whole(page, fields.get("fork", ""), 422)
    address = f"/jobs/{job.id}"
    if desk.live:
        return Response(status_code=200, headers={"HX-Redirect": address})
    return Response(status_code=303, headers={"Location": address})


def _once(key: str, text: str, stream: bool) -> str:
    """One job for a page and a recipe; an edited recipe is another job, and so is one merged in another way."""
    return f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:16]}{'-s' if stream else ''}"


def _refuse_unfinished(draft: Draft) -> None:
    """Raises Refused for a draft that cannot be handed in as it stands."""
    if draft.recipe is None:
        raise Refused(draft.findings)
    if not draft.recipe.parents():
        raise Refused(_NO_MODEL)
    if draft.problems:
        raise Refused(draft.problems)


def _told(fields: Fields, draft: Draft) -> str:
    """What a button did, for those who do not see it."""
    verb = fields.get("action", "").partition(":")[0]
    if draft.problems or draft.refused or draft.recipe is None:
        return ""
    words = {
        "add": "Model added.",
        "remove": "Model removed.",
        "up": "Moved up.",
        "down": "Moved down.",
        "base": "Base changed.",
        "rule": "Values for some modules changed.",
        "document": _documents_told(fields.get("action", ""), draft),
        "fix": "Done. The remarks are checked anew.",
        "stack": told(fields.get("action", ""), draft.recipe),
        "yaml": f"{METHODS[draft.recipe.merge_method].title} of {len(draft.recipe.parents())} models.",
    }
    return words.get(verb) or understood(text for name, text in fields.items() if name.startswith(KNOBS))


def _documents_told(action: str, draft: Draft) -> str:
    """What a button of the documents did, and which one the form shows now."""
    verb = (*action.split(":"), "")[1]
    words = {"further": "Merge added. ", "new": "Merge added. ", "remove": "Merge removed. ", "keep": "Left as it is. "}
    at = draft.section
    if draft.recipe is None or at is None:
        return ""
    name = at.module or (draft.recipe.documents[at.document].name if at.document < len(draft.recipe.stages) else None)
    return f"{words.get(verb, '')}The form shows {name or 'the result'}."
