"""Forms whose whole state stands in the page's address: opened, changed by buttons, checked, and handed in as a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.jobs.models import Job
from app.recipe.findings import Refused
from app.web.dependencies import ServicesDep, TemplatesDep
from app.web.pages.workers import workers_pill
from app.web.services import Services

Pairs = Sequence[tuple[str, str]]
"""The names and values of a form or an address, in order."""
LONGEST = 600
"""Letters of a field with one line."""


async def _posted(request: Request) -> Pairs:
    async with request.form(max_fields=2000) as form:
        return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _asked(request: Request) -> Pairs:
    return request.query_params.multi_items()


PostedDep = Annotated[Pairs, Depends(_posted)]
AskedDep = Annotated[Pairs, Depends(_asked)]
"""The pairs of the address, in order."""


@dataclass
class Visit:
    """One request for such a form, and what it takes to answer it."""

    request: Request
    templates: TemplatesDep
    services: ServicesDep


VisitDep = Annotated[Visit, Depends()]


@dataclass(frozen=True)
class FormDesk:
    """One form: the name of its templates, how it is read, what headers tell of it, and its job. ``submit`` raises
    Refused. A form has ``problems``, ``address``, empty where none can hold it, and ``landing``, where on its page
    somebody goes on after a button, as ``#id`` or empty."""

    name: str
    read: Callable[[Pairs], Any]
    look: Callable[[Any, Services], Any]
    submit: Callable[[Services, Any], Job]

    def open(self, visit: Visit, pairs: Pairs) -> Response:
        """The form that an address describes, or that was posted. A button that changed it leads to the address of
        what it is then; what no address can hold stays where it is."""
        form, said = self.read(pairs), dict(pairs)
        action = said.get("action", "")
        if not form.problems and form.address and action != "check" and {"action", "add", "key"} & said.keys():
            return RedirectResponse(form.address + form.landing, status_code=303)
        return self.page(visit, form, checked=action == "check")

    def make(self, visit: Visit, posted: Pairs) -> Response:
        form = self.read(posted)
        if not form.problems:
            try:
                job = self.submit(visit.services, form)
            except Refused as problem:
                form = replace(form, problems=problem.findings)
            else:
                return RedirectResponse(f"/jobs/{job.id}", status_code=303)
        return self.page(visit, form)

    def check(self, visit: Visit, pairs: Pairs) -> HTMLResponse:
        """What headers tell of the models and of the result; asked for when the rest of the page is there."""
        form = self.read([pair for pair in pairs if pair[0] not in ("add", "action")])
        return visit.templates.partial(
            visit.request, f"partials/_{self.name}_check.html", form=form, look=self.look(form, visit.services)
        )

    def page(self, visit: Visit, form: Any, *, checked: bool = False) -> HTMLResponse:
        return visit.templates.page(
            visit.request, f"pages/{self.name}.html", status_code=422 if form.problems else 200, form=form,
            look=self.look(form, visit.services) if checked else None, workers=workers_pill(visit.services.jobs),
        )  # fmt: skip
