"""``/compare``: choose models and compare their weights; ``/compare/{id}``: the heat maps, or how far they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.jobs.models import Job
from app.recipe.findings import Refused
from app.web.comparing import ComparisonJob, finished, submit_comparison, suggestions
from app.web.dependencies import JobsDep, LibraryDep, ServicesDep, TemplatesDep
from app.web.pages.compare_form import CompareForm, Cost, costs, from_models, from_posted, from_recipe
from app.web.pages.comparison_view import comparison_page
from app.web.pages.draft import from_form
from app.web.pages.jobs import memory_of, page_of
from app.web.pages.posted import FieldsDep
from app.web.pages.workers import workers_pill
from app.web.services import Services

router = APIRouter(prefix="/compare", include_in_schema=False)

Models = Annotated[list[str] | None, Query(alias="model", max_length=20)]
Base = Annotated[str, Query(max_length=600)]
Word = Annotated[str, Query(max_length=200)]


@router.get("")
def form(request: Request, templates: TemplatesDep, jobs: JobsDep, model: Models = None, base: Base = "") -> Response:
    """The form, with models in it that the address names."""
    return _form(request, templates, jobs, from_models(model or [], base))


@router.post("")
def act(request: Request, templates: TemplatesDep, services: ServicesDep, jobs: JobsDep, fields: FieldsDep) -> Response:
    """What a button of the form says: add or remove a model, tell what it costs, or compare."""
    asked = from_posted(fields)
    if fields.get("action") == "cost" and not asked.problems:
        told = costs(asked, services.library, jobs.rates().download_rate)
        return _form(request, templates, jobs, asked, cost=told)
    if fields.get("action") != "compare" or asked.problems:
        return _form(request, templates, jobs, asked)
    try:
        job = submit_comparison(services, asked.wanted(), recipe=asked.recipe, key=asked.key)
    except Refused as problem:
        return _form(request, templates, jobs, replace(asked, problems=problem.findings), 422)
    return RedirectResponse(f"/compare/{job.id}", status_code=303)


@router.post("/parents")
def parents(request: Request, templates: TemplatesDep, jobs: JobsDep, fields: FieldsDep) -> Response:
    """The form with the parents and the base of the recipe that the builder shows."""
    return _form(request, templates, jobs, from_recipe(from_form(fields)))


@router.get("/cost")
def cost(
    request: Request,
    templates: TemplatesDep,
    library: LibraryDep,
    jobs: JobsDep,
    model: Models = None,
    base: Base = "",
) -> HTMLResponse:
    """What a comparison of these models would read; asked for when the rest of the page is there."""
    told = costs(from_models(model or [], base), library, jobs.rates().download_rate)
    return templates.partial(request, "partials/_compare_cost.html", cost=told)


@router.get("/{job_id}")
def show(
    request: Request, templates: TemplatesDep, services: ServicesDep, job: ComparisonJob,
    measure: Word = "", of: Word = "", at: Word = "",
) -> Response:  # fmt: skip
    """The heat maps; while there are none, how far it is."""
    found = finished(services, job)
    workers = workers_pill(services.jobs)
    if found is None:
        view = _progress(request, services, job)
        return templates.page(request, "pages/comparing.html", view=view, workers=workers)
    page = comparison_page(job, found, suggestions(job, found), measure=measure, of=of, at=at)
    return templates.page(request, "pages/comparison.html", view=page, workers=workers)


@router.get("/{job_id}/progress")
def progress(request: Request, templates: TemplatesDep, services: ServicesDep, job: ComparisonJob) -> Response:
    """How far it is; sends the page on to the heat maps when they are there."""
    if finished(services, job) is not None:
        return Response(headers={"HX-Redirect": f"/compare/{job.id}"})
    view = _progress(request, services, job)
    return templates.partial(request, "partials/_comparing.html", view=view)


def _progress(request: Request, services: Services, job: Job) -> object:
    return page_of(services, memory_of(request.app), job)


def _form(
    request: Request,
    templates: TemplatesDep,
    jobs: JobsDep,
    asked: CompareForm,
    status_code: int = 200,
    cost: Cost | None = None,
) -> HTMLResponse:
    code = status_code if status_code != 200 or not asked.problems else 422
    workers = workers_pill(jobs)
    return templates.page(request, "pages/compare.html", status_code=code, form=asked, cost=cost, workers=workers)
