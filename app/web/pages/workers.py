"""The pill that tells whether anybody is there to do the work."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.jobs.store import Store
from app.recipe.counted import counted
from app.web.dependencies import JobsDep, TemplatesDep

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class WorkersPill:
    """``kind`` is the pill's colour: ``good``, ``live`` (at work) or ``bad``."""

    text: str
    kind: str
    count: int


def workers_pill(jobs: Store) -> WorkersPill:
    """``1 worker · CPU``, ``2 workers · 1 busy``, or ``worker offline``."""
    workers = jobs.workers()
    if not workers:
        return WorkersPill("worker offline", "bad", 0)
    busy = sum(1 for worker in workers if worker.job_id)
    devices = sorted({_device(worker.device) for worker in workers})
    words = f"{counted(len(workers), 'worker')} · {', '.join(devices)}"
    return WorkersPill(f"{words} · busy" if busy == len(workers) else words, "live" if busy else "good", len(workers))


def _device(device: str) -> str:
    return "CPU" if device.lower() in ("", "cpu") else device.upper() if len(device) <= 7 else device[:24]


@router.get("/workers")
def pill(request: Request, templates: TemplatesDep, jobs: JobsDep) -> HTMLResponse:
    return templates.partial(request, "partials/_workers.html", workers=workers_pill(jobs))
