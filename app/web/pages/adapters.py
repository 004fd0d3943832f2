"""``/adapters``: make LoRA adapters into one; ``/adapters/extract``: make one out of a fine-tune. Their jobs have the
page of every job, ``/jobs/{id}``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from app.web.adapting import submit_extract, submit_merge
from app.web.pages import adapters_form, extract_form
from app.web.pages.form_desk import AskedDep, FormDesk, PostedDep, VisitDep

router = APIRouter(prefix="/adapters", include_in_schema=False)

MERGE = FormDesk(
    "adapters", adapters_form.from_pairs, lambda form, services: adapters_form.look(form, services.library),
    lambda services, form: submit_merge(services, form.wanted(), key=form.key),
)  # fmt: skip
EXTRACT = FormDesk(
    "extract", extract_form.from_pairs, lambda form, services: extract_form.look(form, services.library),
    lambda services, form: submit_extract(services, form.wanted(), key=form.key),
)  # fmt: skip


@router.get("")
def merge_form(visit: VisitDep, asked: AskedDep) -> Response:
    return MERGE.open(visit, asked)


@router.post("")
def merge(visit: VisitDep, posted: PostedDep) -> Response:
    return MERGE.make(visit, posted)


@router.get("/check")
def check_merge(visit: VisitDep, asked: AskedDep) -> HTMLResponse:
    return MERGE.check(visit, asked)


@router.get("/extract")
def extraction_form(visit: VisitDep, asked: AskedDep) -> Response:
    return EXTRACT.open(visit, asked)


@router.post("/extract")
def extract(visit: VisitDep, posted: PostedDep) -> Response:
    return EXTRACT.make(visit, posted)


@router.get("/extract/check")
def check_extraction(visit: VisitDep, asked: AskedDep) -> HTMLResponse:
    return EXTRACT.check(visit, asked)
