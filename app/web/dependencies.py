"""What handlers ask for by type: each name is an ``Annotated`` dependency taken from the application's state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request

from app.jobs.models import Job
from app.jobs.store import Store
from app.library.facts import Library
from app.recipe.findings import refuse
from app.settings import Settings
from app.storage.base import Artifacts
from app.web.errors import not_found
from app.web.rendering import Templates
from app.web.services import Services


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _templates(request: Request) -> Templates:
    templates: Templates = request.app.state.templates
    return templates


async def _jobs(services: ServicesDep) -> Store:
    return services.jobs


async def _library(services: ServicesDep) -> Library:
    return services.library


async def _artifacts(services: ServicesDep) -> Artifacts:
    return services.artifacts


SettingsDep = Annotated[Settings, Depends(_settings)]
TemplatesDep = Annotated[Templates, Depends(_templates)]
JobsDep = Annotated[Store, Depends(_jobs)]
LibraryDep = Annotated[Library, Depends(_library)]
ArtifactsDep = Annotated[Artifacts, Depends(_artifacts)]


def _job(job_id: Annotated[str, Path(description="The job's id: 32 hex digits.")], jobs: JobsDep) -> Job:
    job = jobs.get(job_id) if len(job_id) == 32 else None
    if job is None:
        raise not_found("There is no such job.")
    return job


JobDep = Annotated[Job, Depends(_job)]
"""The job named by ``{job_id}`` in the address; 404 when there is none."""


async def _body_text(request: Request) -> str:
    try:
        return (await request.body()).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise refuse(
            "not-utf-8", f"byte {problem.start}", "The text is not UTF-8.", "Save it as UTF-8 and send it again."
        ) from None


BodyText = Annotated[str, Depends(_body_text)]
"""The request's body as text, whatever its Content-Type says; 422 when it is not UTF-8."""


async def _stream_slot(request: Request, services: ServicesDep) -> AsyncIterator[None]:
    with services.streams.slot(request.client.host if request.client else ""):
        yield


StreamSlot = Depends(_stream_slot)
"""Held as long as the answer is being sent; 429 when the client has too many open."""
