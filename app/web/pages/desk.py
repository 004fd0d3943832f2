"""One request for the builder, and what it takes to answer it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from app.drafts.store import Saved
from app.kinship import how_far_apart
from app.preflight import Preflight, gather_facts
from app.web.checking import check
from app.web.dependencies import ServicesDep, TemplatesDep
from app.web.pages.build_view import BuildPage
from app.web.pages.draft import Draft
from app.web.pages.keeping import held, keep
from app.web.pages.posted import Fields
from app.web.pages.workers import workers_pill
from app.web.rendering import wants_partial

BESIDE = 0.05
"""Seconds that an answer to a script waits for what is still being measured: the page asks again."""
NO_SECOND_TIME = 1.0
"""The same where no script runs, so that nobody will ask again."""


@dataclass
class Desk:
    """What a handler of the builder works with."""

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
        services, patience = self.services, BESIDE if self.live else NO_SECOND_TIME
        rates = services.jobs.rates()
        return check(draft.text, services.library, services.settings, patience=patience, rates=rates)

    def is_measuring(self, draft: Draft) -> bool:
        """Whether how far apart a draft's models are is not known yet. Plans nothing."""
        if draft.recipe is None:
            return False
        library = self.services.library
        facts, problems = gather_facts(draft.recipe, library, None)
        return not problems and not how_far_apart(draft.recipe, facts, library, patience=0)[1]

    def keep(self, draft: Draft, fields: Fields) -> Saved:
        """Write the draft down on this server."""
        origin = self.services.shared.get(fields.get("fork", ""))
        return keep(self.services.drafts, draft, fields, page_key(fields), origin.id if origin else None)

    def whole(self, page: BuildPage, fork: str, status_code: int = 200) -> HTMLResponse:
        """The page. ``fork`` is the shared recipe that this one is made from."""
        empty = not (page.parents or page.broken or page.saved.id)
        page = replace(page, offer=next(iter(self.services.drafts.newest(1)), None)) if empty else page
        workers = workers_pill(self.services.jobs)
        return self.templates.page(
            self.request, "pages/build.html", status_code=status_code, build=page, workers=workers, fork=fork
        )  # fmt: skip

    def parts(self, name: str, page: BuildPage, status_code: int = 200) -> HTMLResponse:
        return self.templates.partial(self.request, f"partials/{name}.html", status_code=status_code, build=page)


DeskDep = Annotated[Desk, Depends()]


def new_key() -> str:
    """A name for one page as it was sent out: makes two clicks on it one job, and tells two tabs apart."""
    return secrets.token_hex(12)


def page_key(fields: Fields) -> str:
    """The key that a posted page brings back; a new one for a page that has none."""
    key = fields.get("key", "")
    return key if key.isascii() and key.isalnum() and len(key) <= 40 else new_key()


def already_saved(fields: Fields) -> Saved:
    """What a posted page knows of its draft, for answers that write nothing down."""
    hold = held(fields, "")
    return Saved(hold.id, hold.version)
