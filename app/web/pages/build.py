"""The builder: ``/``. The form posts itself on every change; its YAML, carried in the form, is all the state there is.

An edit is answered at once from the recipe alone. What the models' headers say may take seconds, so the page asks for
it in a second request, ``/build/check``. Where no script runs, buttons post the form and one answer carries everything.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.preflight import Preflight, gather_facts
from app.recipe.catalogue import METHODS
from app.recipe.findings import Finding, Refused
from app.recipe.presets import preset
from app.web.checking import check
from app.web.dependencies import ServicesDep, TemplatesDep
from app.web.errors import not_found
from app.web.pages.build_view import BuildPage, build_page
from app.web.pages.draft import Draft, from_form, from_text
from app.web.pages.posted import Fields, FieldsDep
from app.web.pages.workers import workers_pill
from app.web.rendering import wants_partial
from app.web.services import Services
from app.web.submitting import submit

router = APIRouter(include_in_schema=False)

Slug = Annotated[str, Query(alias="preset", max_length=60)]
JobId = Annotated[str, Query(alias="job", max_length=32)]
SharedId = Annotated[str, Query(alias="shared", max_length=32)]
_NO_MODEL = Finding("error", "empty-recipe", "", "There is no model in this recipe yet.", "Pick at least one.")


@dataclass
class Desk:
    """One request for the builder, and what it takes to answer it."""

    request: Request
    templates: TemplatesDep
    services: ServicesDep

    @property
    def live(self) -> bool:
        """Whether a script asks, for parts of the page."""
        return wants_partial(self.request)

    def look(self, draft: Draft) -> Preflight | None:
        """Check a draft against its models' headers. None when there is nothing to look at yet."""
        if draft.recipe is None or not draft.recipe.parents():
            return None
        if any(finding.level == "error" for finding in draft.findings):
            facts, problems = gather_facts(draft.recipe, self.services.library, None)
            return Preflight(draft.recipe, (*draft.findings, *problems), facts=facts)
        return check(draft.text, self.services.library, self.services.settings)

    def whole(self, page: BuildPage, fork: str, status_code: int = 200) -> HTMLResponse:
        """The page. ``fork`` is the shared recipe that this one is made from."""
        workers = workers_pill(self.services.jobs)
        return self.templates.page(
            self.request, "pages/build.html", status_code=status_code, build=page, workers=workers, fork=fork
        )  # fmt: skip

    def parts(self, name: str, page: BuildPage, status_code: int = 200) -> HTMLResponse:
        return self.templates.partial(self.request, f"partials/{name}.html", status_code=status_code, build=page)


DeskDep = Annotated[Desk, Depends()]


@router.get("/")
@router.get("/build")
def first(desk: DeskDep, slug: Slug = "", job: JobId = "", shared: SharedId = "") -> HTMLResponse:
    """An empty builder, or one with a ready recipe (``?preset=``), a shared one (``?shared=``) or a job's (``?job=``)
    in it."""
    draft = from_text(_text_of(desk.services, slug, job, shared))
    return desk.whole(build_page(draft, new_key()), fork=shared)


@router.post("/build")
def edit(desk: DeskDep, fields: FieldsDep) -> HTMLResponse:
    """The page after an edit: only what changed to a script, else the whole page with its check."""
    draft = from_form(fields)
    if desk.live:
        return desk.parts("_build_update", build_page(draft, _key(fields), told=_told(fields, draft)))
    return desk.whole(build_page(draft, _key(fields), checked=desk.look(draft)), fields.get("fork", ""))


@router.post("/build/check")
def checked(desk: DeskDep, fields: FieldsDep) -> HTMLResponse:
    """What the models' headers say: findings, estimate, loom, one line a model."""
    draft = from_form(fields)
    return desk.parts("_check_update", build_page(draft, _key(fields), checked=desk.look(draft)))


@router.post("/jobs")
def merge(desk: DeskDep, fields: FieldsDep) -> Response:
    """Hand the recipe in. Refused, the same page comes back with what is wrong, and nothing is lost."""
    draft = from_form(fields)
    try:
        _refuse_unfinished(draft)
        job = submit(desk.services, draft.text, key=_once(_key(fields), draft.text))
    except Refused as problem:
        errors = tuple(finding for finding in problem.findings if finding.level == "error")
        page = replace(build_page(draft, _key(fields), checked=desk.look(draft)), refusal=errors)
        return desk.parts("_refused_update", page, 422) if desk.live else desk.whole(page, fields.get("fork", ""), 422)
    address = f"/jobs/{job.id}"
    if desk.live:
        return Response(status_code=200, headers={"HX-Redirect": address})
    return Response(status_code=303, headers={"Location": address})


def new_key() -> str:
    """Makes two clicks on one page one job."""
    return secrets.token_hex(12)


def _key(fields: Fields) -> str:
    key = fields.get("key", "")
    return key if key.isascii() and key.isalnum() and len(key) <= 40 else new_key()


def _once(key: str, text: str) -> str:
    """One job for a page and a recipe; an edited recipe is another job."""
    return f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _text_of(services: Services, slug: str, job_id: str, shared_id: str) -> str:
    if slug:
        found = preset(slug)
        if found is None:
            raise not_found("There is no such recipe.")
        return found.text
    if job_id:
        job = services.jobs.get(job_id)
        if job is None or not job.recipe:
            raise not_found("There is no such job.")
        return job.recipe
    if shared_id:
        shared = services.shared.get(shared_id)
        if shared is None:
            raise not_found("There is no recipe behind this link.")
        return shared.text
    return ""


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
    if draft.problems or draft.recipe is None:
        return ""
    words = {
        "add": "Model added.",
        "remove": "Model removed.",
        "up": "Moved up.",
        "down": "Moved down.",
        "base": "Base changed.",
        "yaml": f"{METHODS[draft.recipe.merge_method].title} of {len(draft.recipe.parents())} models.",
    }
    return words.get(verb, "")
