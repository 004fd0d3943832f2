"""Pages and fragments: the one Jinja environment, its filters, and the rule for answering htmx.

The rule: a fragment that htmx asks for is the very partial the full page includes. A handler computes one context and
calls ``answer``; with ``HX-Request-Type: partial`` the partial goes out alone, else the page around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.recipe.findings import Finding
from app.web.shown import shown
from app.web.static_files import Static

Headers = Mapping[str, str]
_VARIES = {"Vary": "HX-Request-Type"}


def wants_partial(request: Request) -> bool:
    """Whether htmx asks for a fragment rather than for a page."""
    return request.headers.get("HX-Request-Type") == "partial"


class Templates:
    """Renders the files under ``folder``: ``pages/*.html`` are whole pages, ``partials/_*.html`` are pieces of them."""

    def __init__(self, folder: Path, static: Static) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: shown(value) if isinstance(value, str) else value,
        )
        self.environment.globals["static"] = static.url
        self.environment.filters.update(FILTERS)

    def render(self, name: str, /, **context: Any) -> str:
        """The text of a template, for places without a request (event streams, tests)."""
        return self.environment.get_template(name).render(context)

    def page(
        self, request: Request, name: str, /, *, status_code: int = 200, headers: Headers | None = None, **context: Any
    ) -> HTMLResponse:
        """A whole page. The template also sees ``request``."""
        return HTMLResponse(self.render(name, request=request, **context), status_code, headers)

    partial = page
    """A fragment on its own: rendered in the same way, named apart so that the handler says what it sends."""

    def answer(
        self,
        request: Request,
        page: str,
        partial: str,
        /,
        *,
        status_code: int = 200,
        headers: Headers | None = None,
        **context: Any,
    ) -> HTMLResponse:
        """``partial`` when htmx asks for a fragment, else ``page``, which includes it; both from the same context."""
        name = partial if wants_partial(request) else page
        return self.page(request, name, status_code=status_code, headers={**_VARIES, **(headers or {})}, **context)


def number(value: float) -> str:
    """``1234567`` -> ``1,234,567``; other numbers with at most four significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def short_number(value: float) -> str:
    """``134515008`` -> ``134.5M``: three or four digits and a letter, as model sizes are told."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size * 0.99995:
            return f"{value / size:.4g}{letter}" if value < size * 1000 else f"{value / size:.0f}{letter}"
    return f"{value:.4g}"


def byte_size(value: float) -> str:
    """Bytes in decimal units, as disks and the Hub count them: ``269060552`` -> ``269 MB``, ``5e9`` -> ``5.00 GB``."""
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def duration(seconds: float | None) -> str:
    """``75`` -> ``1 min 15 s``, ``8000`` -> ``2 h 13 min``; an empty string for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return "< 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def percent(share: float) -> str:
    """``0.1234`` -> ``12 %``; never rounds up to 100 %."""
    return f"{int(share * 100)} %"


def degrees(angle: float) -> str:
    """``43.2`` -> ``43°``; below ten with one decimal."""
    return f"{angle:.1f}°" if angle < 9.95 else f"{angle:.0f}°"


def moment(value: datetime | float | None) -> str:
    """A point in time as ISO 8601 in UTC, to the second (``2026-01-31T12:00:00Z``), for ``<time datetime>``.

    Takes an aware datetime, a naive one in UTC, or seconds since 1970.
    """
    if value is None:
        return ""
    if not isinstance(value, datetime):
        value = datetime.fromtimestamp(value, UTC)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(value: datetime | float | None) -> str:
    """The same point in time to read where no script runs: ``31 Jan 2026, 12:00 UTC``."""
    iso = moment(value)
    if not iso:
        return ""
    time = datetime.fromisoformat(iso)
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def advice(finding: Finding) -> str:
    """What to do about a remark; where access to a model is asked for is a link. Addresses in other remarks may come
    from the recipe of a stranger, and stay text."""
    words, scheme, rest = finding.fix.partition("https://" if "https://" in finding.fix else "http://")
    if finding.code != "gated" or not scheme:
        return finding.fix
    link = Markup('<a href="{0}" rel="noopener noreferrer" target="_blank">{0}</a>').format(scheme + rest)
    return Markup("{}{}").format(words, link)


FILTERS = {
    "advice": advice,
    "number": number,
    "short_number": short_number,
    "byte_size": byte_size,
    "duration": duration,
    "percent": percent,
    "degrees": degrees,
    "moment": moment,
    "clock": clock,
}
