"""``/mixtures``: make a mixture of experts out of dense models. Its jobs have the page of every job, ``/jobs/{id}``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.experts.wanted import read_mixture, write_mixture
from app.jobs.models import Job
from app.premix import Premix
from app.recipe.findings import Finding, Refused
from app.recipe.from_card import merge_text
from app.web.errors import not_found
from app.web.mixing import look_at, sizes, submit_mixture
from app.web.pages.form_desk import AskedDep, FormDesk, PostedDep, Visit, VisitDep
from app.web.pages.keeping import keep_anew
from app.web.pages.mixtures_form import MixtureForm, from_pairs, from_wanted
from app.web.pages.pictures import mixture as picture
from app.web.rendering import byte_size, duration, short_number
from app.web.services import Services

router = APIRouter(prefix="/mixtures", include_in_schema=False)


@dataclass(frozen=True)
class Look:
    """What is known before it is made; or why it cannot be. ``text``: the recipe as YAML, empty when it says too
    little."""

    text: str = ""
    picture: picture.MixturePicture | None = None
    known: Premix | None = None
    problems: tuple[Finding, ...] = ()

    @property
    def tiles(self) -> tuple[tuple[str, str], ...]:
        """Values and what they are."""
        if self.known is None:
            return ()
        (whole, active), cost = sizes(self.known), self.known.estimate
        return (
            (short_number(whole), f"parameters, a {self.known.target.title}"),
            (short_number(active), "of them for a token"),
            (byte_size(cost.output_bytes), "its size"),
            (f"≈ {duration(cost.seconds)}", "on this machine"),
            (f"≈ {byte_size(cost.peak_memory_bytes)}", "memory at most"),
            (byte_size(cost.download_bytes) if cost.download_bytes else "nothing", "to fetch"),
        )


def look(form: MixtureForm, services: Services) -> Look:
    """Read the models' headers and check. Slow when they are on the Hub: call it in a thread."""
    told = Look()
    try:
        wanted = form.wanted()
        told = Look(write_mixture(wanted), picture.draw(wanted))
        known = look_at(wanted, services)
    except Refused as problem:
        return replace(told, problems=problem.findings)
    return replace(told, picture=picture.draw(wanted, known.dense.layers), known=known)


def _submit(services: Services, form: MixtureForm) -> Job:
    """One job for a page and a recipe: an edited one is another job. Raises Refused."""
    wanted, stream = form.wanted(), bool(form.stream)
    digest = hashlib.sha256(write_mixture(wanted).encode()).hexdigest()[:16]
    return submit_mixture(services, wanted, stream=stream, key=f"{form.key}-{digest}{'-s' if stream else ''}")


DESK = FormDesk("mixtures", from_pairs, look, _submit)


@router.get("")
def show(visit: VisitDep, asked: AskedDep, job_id: Annotated[str, Query(alias="job", max_length=32)] = "") -> Response:
    """The form as its address says, or that of a job."""
    return DESK.page(visit, _of_job(visit, job_id)) if job_id else DESK.open(visit, asked)


@router.post("")
def press(visit: VisitDep, posted: PostedDep) -> Response:
    """What a button does: change the form, make the mixture, or hand out its recipe. A merge's recipe that is brought
    here leads to the builder."""
    said = dict(posted)
    action = said.get("action", "")
    if action == "import" and (merge := merge_text(said.get("yaml", ""))):
        return RedirectResponse(keep_anew(visit.services.drafts, merge), status_code=303)
    if action == "make":
        return DESK.make(visit, posted)
    return _download(visit, posted) if action == "yaml" else DESK.open(visit, posted)


@router.post("/check")
def check(visit: VisitDep, posted: PostedDep) -> HTMLResponse:
    return DESK.check(visit, posted)


def _of_job(visit: Visit, job_id: str) -> MixtureForm:
    job = visit.services.jobs.get(job_id)
    if job is None or job.kind != "mixture":
        raise not_found("There is no such job.")
    return replace(from_wanted(read_mixture(job.recipe)), stream="yes" if job.params.get("stream") else "")


def _download(visit: Visit, posted: PostedDep) -> Response:
    form = from_pairs(posted)
    try:
        text = write_mixture(form.wanted())
    except Refused as problem:
        return DESK.page(visit, replace(form, problems=problem.findings))
    headers = {"Content-Disposition": 'attachment; filename="mixture.yml"'}
    return Response(text, media_type="application/yaml", headers=headers)
