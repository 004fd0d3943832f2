"""``/adapters``: make LoRA adapters into one; ``/adapters/extract``: make one out of a fine-tune. Their jobs have the
page of every job, ``/jobs/{id}``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.recipe.findings import Refused
from app.web.adapting import submit_extract, submit_merge
from app.web.dependencies import LibraryDep, ServicesDep, TemplatesDep
from app.web.pages.adapters_form import AdaptersForm, Pairs, from_pairs, look
from app.web.pages.extract_form import ExtractForm
from app.web.pages.extract_form import from_pairs as extract_from_pairs
from app.web.pages.extract_form import look as extract_look
from app.web.pages.workers import workers_pill
from app.web.services import Services

router = APIRouter(prefix="/adapters", include_in_schema=False)


async def _posted(request: Request) -> Pairs:
    async with request.form(max_fields=200) as form:
        return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _asked(request: Request) -> Pairs:
    return request.query_params.multi_items()


PostedDep = Annotated[Pairs, Depends(_posted)]
AskedDep = Annotated[Pairs, Depends(_asked)]
"""The pairs of the address, in order."""


@router.get("")
def form(request: Request, templates: TemplatesDep, services: ServicesDep, asked: AskedDep) -> Response:
    """The form that the address describes. A button that changed it leads to the address of what it is then."""
    form, action = from_pairs(asked), dict(asked).get("action", "")
    if not form.problems and action != "check" and {"action", "add", "key"} & dict(asked).keys():
        return RedirectResponse(form.address, status_code=303)
    return _form(request, templates, services, form, checked=action == "check")


@router.post("")
def act(request: Request, templates: TemplatesDep, services: ServicesDep, posted: PostedDep) -> Response:
    """Make it."""
    form = from_pairs(posted)
    if not form.problems:
        try:
            job = submit_merge(services, form.wanted(), key=form.key)
        except Refused as problem:
            form = replace(form, problems=problem.findings)
        else:
            return RedirectResponse(f"/jobs/{job.id}", status_code=303)
    return _form(request, templates, services, form)


@router.get("/check")
def check(request: Request, templates: TemplatesDep, library: LibraryDep, asked: AskedDep) -> HTMLResponse:
    """What headers tell of these adapters and of the result; asked for when the rest of the page is there."""
    form = from_pairs([pair for pair in asked if pair[0] not in ("add", "action")])
    return templates.partial(request, "partials/_adapters_check.html", form=form, look=look(form, library))


@router.get("/extract")
def extract_form(request: Request, templates: TemplatesDep, services: ServicesDep, asked: AskedDep) -> Response:
    """The form that the address describes, likewise."""
    form, action = extract_from_pairs(asked), dict(asked).get("action", "")
    if not form.problems and action != "check" and {"action", "key"} & dict(asked).keys():
        return RedirectResponse(form.address, status_code=303)
    return _extract_form(request, templates, services, form, checked=action == "check")


@router.post("/extract")
def extract(request: Request, templates: TemplatesDep, services: ServicesDep, posted: PostedDep) -> Response:
    """Make it."""
    form = extract_from_pairs(posted)
    if not form.problems:
        try:
            job = submit_extract(services, form.wanted(), key=form.key)
        except Refused as problem:
            form = replace(form, problems=problem.findings)
        else:
            return RedirectResponse(f"/jobs/{job.id}", status_code=303)
    return _extract_form(request, templates, services, form)


@router.get("/extract/check")
def check_extract(request: Request, templates: TemplatesDep, library: LibraryDep, asked: AskedDep) -> HTMLResponse:
    """What headers tell of the two models and of the result."""
    form = extract_from_pairs(asked)
    return templates.partial(request, "partials/_extract_check.html", form=form, look=extract_look(form, library))


def _extract_form(
    request: Request, templates: TemplatesDep, services: Services, form: ExtractForm, *, checked: bool = False
) -> HTMLResponse:
    return templates.page(
        request, "pages/extract.html", status_code=422 if form.problems else 200, form=form,
        look=extract_look(form, services.library) if checked else None, workers=workers_pill(services.jobs),
    )  # fmt: skip


def _form(
    request: Request, templates: TemplatesDep, services: Services, form: AdaptersForm, *, checked: bool = False
) -> HTMLResponse:
    return templates.page(
        request, "pages/adapters.html", status_code=422 if form.problems else 200, form=form,
        look=look(form, services.library) if checked and form.names else None, workers=workers_pill(services.jobs),
    )  # fmt: skip
