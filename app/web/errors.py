"""How a refusal is told: findings as JSON to programs, a page to people, always in the same form."""

from __future__ import annotations

import html
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi.exceptions import RequestValidationError
from jinja2 import TemplateNotFound
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from app.recipe.findings import Finding, Refused
from app.web.invalid import findings_of
from app.web.rendering import Templates, wants_partial
from app.web.shown import shown

log = logging.getLogger(__name__)

_TEXTS = {
    400: ("bad-request", "The body of this request cannot be read.", "Send it once more, as the page or /api says."),
    404: ("not-found", "There is nothing at this address.", "Check the address, or start from the first page."),
    405: ("wrong-method", "This address does not take that kind of request.", "See /api for what it takes."),
    413: ("too-large", "The request is too large.", "Send at most 512 KB."),
    500: ("internal", "Something went wrong on the server.", "Try again; if it stays, look for the id in the log."),
}
_TITLES = {
    404: "Not found",
    413: "Too large",
    429: "Too much at once",
    500: "Something went wrong",
    503: "Not ready just now",
}
"""What a page about a failure is called; any other is a request that cannot be met as it was made."""
_PLAIN_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title} – Weightloom</title>
<h1>{title}</h1>
{findings}
<p><a href="/">To the first page</a></p>
</html>
"""


class Failed(Exception):
    """A request that is answered with ``status`` and findings; for what ``Refused`` (422) does not fit."""

    def __init__(self, status: int, *findings: Finding) -> None:
        self.status = status
        self.findings = findings
        super().__init__(f"{status}: " + "; ".join(str(finding) for finding in findings))


def not_found(what: str, where: str = "", among: str = "jobs") -> Failed:
    """404 with a sentence: ``not_found("There is no such job.")``. ``among``: the list that what there is stands in."""
    fix = f"Check the address, or look in the list of {among}."
    return Failed(404, Finding("error", "not-found", where, what, fix))


def findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as the API tells them, without characters that could make a terminal or a page lie."""
    return [_shown(finding.as_dict()) for finding in findings]


def _shown(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _shown(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_shown(one) for one in told]
    return shown(told) if isinstance(told, str) else told


def is_for_programs(scope: Scope) -> bool:
    """Whether the answer is JSON (the API and the health check) or HTML. Chooses a form, never a permission."""
    path: str = scope["path"]
    return path.startswith("/api/") or path in ("/healthz", "/openapi.json")


def error_response(
    scope: Scope, status: int, *findings: Finding, error_id: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """The answer to a request that failed, in the form its sender understands."""
    if is_for_programs(scope):
        body: dict[str, Any] = {"findings": findings_json(findings)}
        if error_id:
            body["id"] = error_id
        return JSONResponse(body, status, headers)
    return _error_page(Request(scope), status, findings, error_id, headers)


def _error_page(
    request: Request, status: int, findings: tuple[Finding, ...], error_id: str | None, headers: dict[str, str] | None
) -> HTMLResponse:
    title = _TITLES.get(status, "That did not work")
    templates: Templates = request.app.state.templates
    name = "partials/_error.html" if wants_partial(request) else "pages/error.html"
    try:
        return templates.page(
            request, name, status_code=status, headers=headers, status=status, title=title, findings=findings,
            error_id=error_id,
        )  # fmt: skip
    except TemplateNotFound:
        pass
    except Exception:
        log.exception("The error page itself could not be rendered")
    lines = "".join(f"<p>{html.escape(shown(f'{one.text} {one.fix}'))}</p>" for one in findings)
    if error_id:
        lines += f"<p>Error id: {error_id}</p>"
    return HTMLResponse(_PLAIN_PAGE.format(title=html.escape(title), findings=lines), status, headers)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """404, 405 and the like, as the router raises them."""
    code, text, fix = _TEXTS.get(error.status_code, ("refused", f"{error.detail}.".replace("..", "."), ""))
    headers = dict(error.headers) if error.headers else None
    return error_response(
        request.scope, error.status_code, Finding("error", code, "", text, fix), headers=headers
    )  # fmt: skip


async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    """Fields that are missing or of the wrong kind. Names the field, never repeats its value: it may be a secret."""
    return error_response(request.scope, 422, *findings_of(error))


async def on_refused(request: Request, error: Refused) -> Response:
    return error_response(request.scope, 422, *error.findings)


async def on_failed(request: Request, error: Failed) -> Response:
    return error_response(request.scope, error.status, *error.findings)


async def on_crash(request: Request, error: Exception) -> Response:
    """Everything nobody foresaw: an id for the person, the traceback under that id for the log."""
    error_id = secrets.token_hex(6)
    log.error("Error %s at %s %s", error_id, request.method, shown(request.scope["path"]), exc_info=error)
    code, text, fix = _TEXTS[500]
    return error_response(request.scope, 500, Finding("error", code, "", text, fix), error_id=error_id)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    HTTPException: on_http_exception,
    RequestValidationError: on_invalid_request,
    Refused: on_refused,
    Failed: on_failed,
    Exception: on_crash,
}
