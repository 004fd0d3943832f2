"""The web application: its layers, and every address it answers, in one list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from app.accounts.redact import hide_tokens_in_logs
from app.settings import Settings
from app.web import api_page, events
from app.web.api import adapters as adapters_api
from app.web.api import compare as compare_api
from app.web.api import files, health, jobs, methods, models, recipes
from app.web.api import mixtures as mixtures_api
from app.web.errors import HANDLERS
from app.web.limits import BodyLimit
from app.web.pages import adapters as adapter_pages
from app.web.pages import build as build_page
from app.web.pages import compare as compare_pages
from app.web.pages import drafts as draft_pages
from app.web.pages import guide as guide_page
from app.web.pages import importing as import_pages
from app.web.pages import jobs as job_pages
from app.web.pages import methods as method_pages
from app.web.pages import mixtures as mixture_pages
from app.web.pages import models as model_pages
from app.web.pages import recipes as recipe_pages
from app.web.pages import shared as shared_pages
from app.web.pages import styleguide
from app.web.pages import workers as workers_pill
from app.web.rendering import Templates
from app.web.security import KnownHosts, SameOrigin, SecurityHeaders, allowed_hosts
from app.web.services import open_services
from app.web.static_files import Static, asset_folder

ROUTERS: tuple[APIRouter, ...] = (
    health.router,  # /healthz
    methods.router,  # /api/methods
    models.router,  # /api/models/search, /api/models/facts
    recipes.router,  # /api/recipes/check
    jobs.router,  # /api/jobs, /api/jobs/{id}, .../cancel, .../upload
    files.router,  # /api/jobs/{id}/files/{name}
    compare_api.router,  # /api/compare, /api/compare/{id}, its tensors.csv and map.svg
    adapters_api.router,  # /api/adapters, /api/adapters/extract and their checks
    mixtures_api.router,  # /api/mixtures and its check
    build_page.router,  # /, /build, /build/check, POST /jobs
    job_pages.router,  # /jobs, /jobs/{id} and its buttons
    model_pages.router,  # /models
    compare_pages.router,  # /compare, /compare/{id}
    adapter_pages.router,  # /adapters, /adapters/extract
    mixture_pages.router,  # /mixtures
    recipe_pages.router,  # /recipes
    shared_pages.router,  # /r, /r/{id}, /recipes/share, /recipes/family
    draft_pages.router,  # /drafts and their buttons
    import_pages.router,  # /build/import
    workers_pill.router,  # /workers
    method_pages.router,  # /methods, /limits
    guide_page.router,  # /guide
    styleguide.router,  # /styleguide
    api_page.router,  # /api, /docs
    events.router,  # /jobs/{id}/events, /api/jobs/{id}/events
)


class Weightloom(FastAPI):
    """FastAPI with the security headers outside of everything, also of the layer that answers 500."""

    def build_middleware_stack(self) -> ASGIApp:
        return SecurityHeaders(super().build_middleware_stack())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    hide_tokens_in_logs()
    async with open_services(app.state.settings) as services:
        app.state.services = services
        yield


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for ``settings`` (default: from the environment). Opens nothing until it is started."""
    settings = settings or Settings()
    app = Weightloom(
        title="Weightloom",
        summary="Build, run and share merges of language models.",
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(KnownHosts, hosts=allowed_hosts(settings)),
            Middleware(SameOrigin),
            Middleware(BodyLimit),
        ],
        exception_handlers=HANDLERS,
        lifespan=_lifespan,
    )
    static = Static(asset_folder("static"))
    app.state.settings = settings
    app.state.templates = Templates(asset_folder("templates"), static)
    app.state.render_event = job_pages.event_renderer(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", static, name="static")
    return app
