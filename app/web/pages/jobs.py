"""``/jobs``: the list, a job's page, and its buttons. The page's live parts come over ``/jobs/{id}/events``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from app.jobs.events import Event
from app.jobs.models import Job
from app.jobs.states import ACTIVE, STATES, State
from app.recipe.findings import Changed, Finding
from app.recipe.schema import ModelRef
from app.storage.base import Manifest
from app.web.dependencies import JobDep, ServicesDep, TemplatesDep
from app.web.errors import Failed
from app.web.events import Renderer
from app.web.pages.job_memory import JobLoom, JobMemory, rates_in_redis
from app.web.pages.job_snippets import Snippets, snippets
from app.web.pages.job_view import JobPage, job_page, kind_words, line_level
from app.web.pages.posted import FieldsDep
from app.web.pages.workers import workers_pill
from app.web.services import Services
from app.web.uploading import submit_upload

router = APIRouter(include_in_schema=False)

PAGE = 40
"""Jobs on one page of the list."""
_FILTERS: tuple[tuple[str, str, tuple[State, ...]], ...] = (
    ("", "All", STATES),
    ("active", "Under way", ACTIVE),
    ("succeeded", "Finished", ("succeeded",)),
    ("failed", "Failed", ("failed",)),
    ("cancelled", "Cancelled", ("cancelled",)),
)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One line of the list."""

    job: Job
    method: str
    parents: tuple[str, ...]
    size: int


@router.get("/jobs")
def index(
    request: Request,
    templates: TemplatesDep,
    services: ServicesDep,
    state: Annotated[str, Query(max_length=20)] = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> HTMLResponse:
    """Every job, the newest first."""
    states = next((states for name, _, states in _FILTERS if name == state), STATES)
    found = services.jobs.list(states=states, limit=PAGE, offset=(page - 1) * PAGE)
    total = services.jobs.count(states=states)
    return templates.answer(
        request, "pages/jobs.html", "partials/_job_rows.html",
        rows=[_row(job) for job in found], filters=_FILTERS, state=state, page=page,
        pages=max(1, -(-total // PAGE)), total=total, busy=any(not job.ended for job in found),
        workers=workers_pill(services.jobs),
    )  # fmt: skip


@router.get("/jobs/{job_id}")
async def show(request: Request, templates: TemplatesDep, services: ServicesDep, job: JobDep) -> HTMLResponse:
    """A job's page; complete without a script, which only keeps it fresh."""
    memory = memory_of(request.app)
    memory.seed_rates(job.id, await rates_in_redis(services.redis, job.id))
    view = await to_thread.run_sync(page_of, services, memory, job)
    workers = await to_thread.run_sync(workers_pill, services.jobs)
    return templates.page(request, "pages/job.html", view=view, lines=_lines(request, view), workers=workers)


@router.get("/jobs/{job_id}/progress")
def progress(request: Request, templates: TemplatesDep, services: ServicesDep, job: JobDep) -> HTMLResponse:
    """How far a job is, for a page that asks while the job waits in line."""
    view = page_of(services, memory_of(request.app), job)
    return templates.partial(request, "partials/_job_progress.html", view=view)


@router.get("/jobs/{job_id}/loom")
def loom(request: Request, templates: TemplatesDep, services: ServicesDep, job: JobDep) -> HTMLResponse:
    """The loom, asked for when the rest of the page is there: the first time its models' headers are read. With all of
    the page where no script runs."""
    memory = memory_of(request.app)
    made = memory.loom(job, services.library, services.artifacts) if job.kind == "merge" else None
    view = page_of(services, memory, job)
    return templates.answer(
        request, "pages/job.html", "partials/_job_loom.html", view=view, lines=_lines(request, view), loom=made,
        cover=_cover(job, made), workers=workers_pill(services.jobs),
    )  # fmt: skip


@router.get("/jobs/{job_id}/outcome")
def outcome(request: Request, templates: TemplatesDep, services: ServicesDep, job: JobDep) -> HTMLResponse:
    """Why it failed, or its files and what to do with them; asked for when the job has ended before one's eyes."""
    view = page_of(services, memory_of(request.app), job)
    return templates.partial(request, "partials/_job_outcome.html", view=view, lines=_lines(request, view))


@router.post("/jobs/{job_id}/cancel")
def cancel(services: ServicesDep, job: JobDep) -> RedirectResponse:
    """Ask it to stop. A job that has ended meanwhile stays as it is."""
    services.jobs.request_cancel(job.id)
    return _to(job.id)


@router.post("/jobs/{job_id}/retry")
def retry(services: ServicesDep, job: JobDep) -> RedirectResponse:
    """Queue a failed job again."""
    again = services.jobs.retry(job.id)
    if again is None:
        text = "Only a job that failed, and is no upload, can be tried again."
        raise Failed(409, Finding("error", "not-failed", "", text, "Open its recipe or its form, and start anew."))
    services.queue.send(again.id, again.kind)
    return _to(job.id)


@router.post("/jobs/{job_id}/upload")
def upload(services: ServicesDep, job: JobDep, fields: FieldsDep) -> RedirectResponse:
    """Send the checkpoint to the Hub: a job of its own. The token goes from the form into the vault, nowhere else."""
    made = submit_upload(
        services, job, repo=fields.get("repo", ""), token=fields.get("token", ""), private="private" in fields
    )
    return _to(made.id)


def memory_of(app: FastAPI) -> JobMemory:
    memory: JobMemory | None = getattr(app.state, "job_memory", None)
    if memory is None:
        memory = app.state.job_memory = JobMemory()
    return memory


def changes_of(manifest: Manifest) -> tuple[Changed, ...]:
    """What of the donor's config was set right, as the manifest tells it."""
    told = manifest.about.get("config_changes", ())
    return tuple(Changed(one["key"], one["before"], one["after"]) for one in told)


def page_of(services: Services, memory: JobMemory, job: Job) -> JobPage:
    """Everything about a job, as of now."""
    manifest = services.artifacts.manifest(job.id) if job.state == "succeeded" and job.makes_files else None
    return job_page(
        job,
        services.jobs.events(job.id),
        rates=memory.rates(job.id),
        shards=len(services.jobs.shards(job.id)),
        files=manifest.files if manifest else (),
        config_changes=changes_of(manifest) if manifest else (),
        base=str(manifest.about.get("base") or "") if manifest else "",
        told=manifest.about.get("told", ()) if manifest else (),
        uploads=services.jobs.list(kind="upload", source_job=job.id),
        source=services.jobs.get(job.source_job) if job.source_job else None,
        position=services.jobs.position(job),
        workers=len(services.jobs.workers()),
    )


def event_renderer(app: FastAPI) -> Renderer:
    """What ``/jobs/{id}/events`` sends to the page: the parts that a piece of news changes."""

    def render(event: Event, job: Job) -> str:
        services: Services = app.state.services
        memory = memory_of(app)
        if event.kind == "progress":
            memory.add_rate(job.id, event.data.get("rate"))
            _take_over(job, event)
        made = memory.known_loom(job)
        text: str = app.state.templates.render(
            "partials/_job_event.html",
            view=page_of(services, memory, job),
            event=event,
            level=line_level(event.kind, str(event.data.get("text", "")), str(event.data.get("state", ""))),
            loom=made,
            cover=_cover(job, made),
        )
        return text

    return render


def _take_over(job: Job, event: Event) -> None:
    """Live numbers are newer than the row's. The row here is a copy of its own."""
    for name, value in event.data.items():
        if name != "tensor" and hasattr(job, name):
            setattr(job, name, value)


def _cover(job: Job, made: JobLoom | None) -> str:
    """The path over what is not woven yet."""
    if made is None or job.state == "succeeded" or job.stage in ("verifying", "finalising"):
        return ""
    return made.cover(job.tensors_done if job.stage == "merging" else 0)


def _lines(request: Request, view: JobPage) -> Snippets:
    origin = str(request.base_url).rstrip("/")
    return snippets(view.job.title, view.job.id, origin, view.files, view.adapts)


def _row(job: Job) -> JobRow:
    parents = tuple("+".join(_short(part) for part in parent.split("+")) for parent in job.parents)
    size = int((job.result or {}).get("bytes") or 0)
    return JobRow(job, kind_words(job), parents, size)


def _short(reference: str) -> str:
    return ModelRef(reference.partition("@")[0]).short


def _to(job_id: str) -> RedirectResponse:
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)
