"""A job's news as server-sent events: HTML for its page, JSON for programs.

Each event's id is the number of its line in the job's history; progress has none, because only the newest counts.
A reader that comes back with ``Last-Event-ID`` gets every line after it and none twice. The last event is named
``done``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.jobs.events import Event, follow
from app.jobs.models import Job
from app.web.dependencies import JobDep, ServicesDep, StreamSlot
from app.web.services import Services
from app.web.stopping import Stopping

router = APIRouter(tags=["jobs"])

Renderer = Callable[[Event, Job], str]
"""Makes the body of a message: ``<hx-partial>`` elements for the page. An empty string is sent as no message."""

_LAST_LINE = 2**63 - 1

After = Annotated[int, Query(ge=0, le=_LAST_LINE, description="Leave out the lines up to this number.")]
LastEventId = Annotated[
    str | None, Header(description="Stronger than ``after``; browsers send it when they reconnect.")
]


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    dependencies=[StreamSlot],
    include_in_schema=False,
)
async def page_events(
    request: Request, job: JobDep, services: ServicesDep, after: After = 0, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """The live parts of the job's page, as HTML."""
    render: Renderer = request.app.state.render_event
    async for message in messages(services, job.id, starting_line(after, last_event_id), render):
        yield message


@router.get("/api/jobs/{job_id}/events", response_class=EventSourceResponse, dependencies=[StreamSlot])
async def json_events(
    job: JobDep, services: ServicesDep, after: After = 0, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a job, as it happens: one JSON object a message, until the event named ``done``."""
    async for message in messages(services, job.id, starting_line(after, last_event_id), as_json):
        yield message


def as_json(event: Event, _job: Job) -> str:
    return json.dumps({"kind": event.kind, **event.data})


def starting_line(after: int, last_event_id: str | None) -> int:
    """The line to go on from. A ``Last-Event-ID`` that is no line number of ours counts for nothing."""
    text = (last_event_id or "").strip()
    told = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    return told if 0 <= told <= _LAST_LINE else after


async def messages(services: Services, job_id: str, line: int, render: Renderer) -> AsyncIterator[ServerSentEvent]:
    """Everything after ``line``, until the job has ended (then ``event: done``) or the server stops (then nothing more,
    so that the reader comes back)."""
    news = follow(services.redis, services.jobs, job_id, line)
    async for event in until_stopped(news, services.stopping):
        body = await asyncio.to_thread(_render, services, job_id, event, render)
        number = None if event.id is None else str(event.id)
        if body or number:
            yield ServerSentEvent(raw_data=body or None, id=number)
    if not services.stopping.is_set():
        yield ServerSentEvent(raw_data="The job has ended.", event="done")


def _render(services: Services, job_id: str, event: Event, render: Renderer) -> str:
    """The message's body, with the row as it is now."""
    job = services.jobs.get(job_id)
    return "" if job is None else render(event, job)


async def until_stopped(news: AsyncIterator[Event], stopping: Stopping) -> AsyncIterator[Event]:
    """``news``, broken off when the server stops, even in the middle of waiting for the next."""
    stopped = asyncio.ensure_future(stopping.wait())
    step: asyncio.Future[Event] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(news))
            await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            yield step.result()
    except StopAsyncIteration:
        return
    finally:
        stopped.cancel()
        if step is not None:
            step.cancel()
