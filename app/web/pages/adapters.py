"""``/adapters``: make LoRA adapters into one; ``/adapters/extract``: make one out of a fine-tune. Their jobs have the
page of every job, ``/jobs/{id}``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.jobs.models import Job
from app.library.facts import Library
from app.recipe.findings import Refused
from app.web.adapting import submit_extract, submit_merge
from app.web.dependencies import LibraryDep, ServicesDep, TemplatesDep
from app.web.pages import adapters_form, extract_form
from app.web.pages.adapters_form import Pairs
from app.web.pages.workers import workers_pill
from app.web.rendering import Templates
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


@dataclass(frozen=True)
class Desk:
    """One of the two forms: its template, how it is read, what headers tell of it, and its job."""

    name: str
    read: Callable[[Pairs], Any]
    look: Callable[[Any, Library], Any]
    submit: Callable[..., Job]

    def open(self, request: Request, templates: Templates, services: Services, asked: Pairs) -> Response:
        """The form that an address describes. A button that changed it leads to the address of what it is then."""
        form, action = self.read(asked), dict(asked).get("action", "")
        if not form.problems and action != "check" and {"action", "add", "key"} & dict(asked).keys():
            return RedirectResponse(form.address, status_code=303)
        return self._page(request, templates, services, form, checked=action == "check")

    def make(self, request: Request, templates: Templates, services: Services, posted: Pairs) -> Response:
        form = self.read(posted)
        if not form.problems:
            try:
                job = self.submit(services, form.wanted(), key=form.key)
            except Refused as problem:
                form = replace(form, problems=problem.findings)
            else:
                return RedirectResponse(f"/jobs/{job.id}", status_code=303)
        return self._page(request, templates, services, form)

    def check(self, request: Request, templates: Templates, library: Library, asked: Pairs) -> HTMLResponse:
        """What headers tell of the models and of the result; asked for when the rest of the page is there."""
        form = self.read([pair for pair in asked if pair[0] not in ("add", "action")])
        return templates.partial(request, f"partials/_{self.name}_check.html", form=form, look=self.look(form, library))

    def _page(
        self, request: Request, templates: Templates, services: Services, form: Any, *, checked: bool = False
    ) -> HTMLResponse:
        return templates.page(
            request, f"pages/{self.name}.html", status_code=422 if form.problems else 200, form=form,
            look=self.look(form, services.library) if checked else None, workers=workers_pill(services.jobs),
        )  # fmt: skip


MERGE = Desk("adapters", adapters_form.from_pairs, adapters_form.look, submit_merge)
EXTRACT = Desk("extract", extract_form.from_pairs, extract_form.look, submit_extract)


@router.get("")
def merge_form(request: Request, templates: TemplatesDep, services: ServicesDep, asked: AskedDep) -> Response:
    return MERGE.open(request, templates, services, asked)


@router.post("")
def merge(request: Request, templates: TemplatesDep, services: ServicesDep, posted: PostedDep) -> Response:
    return MERGE.make(request, templates, services, posted)


@router.get("/check")
def check_merge(request: Request, templates: TemplatesDep, library: LibraryDep, asked: AskedDep) -> HTMLResponse:
    return MERGE.check(request, templates, library, asked)


@router.get("/extract")
def extraction_form(request: Request, templates: TemplatesDep, services: ServicesDep, asked: AskedDep) -> Response:
    return EXTRACT.open(request, templates, services, asked)


@router.post("/extract")
def extract(request: Request, templates: TemplatesDep, services: ServicesDep, posted: PostedDep) -> Response:
    return EXTRACT.make(request, templates, services, posted)


@router.get("/extract/check")
def check_extraction(request: Request, templates: TemplatesDep, library: LibraryDep, asked: AskedDep) -> HTMLResponse:
    return EXTRACT.check(request, templates, library, asked)
