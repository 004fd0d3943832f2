"""Who may talk to this server: response headers, the list of host names, and the check on requests from other sites.

Three plain ASGI layers. They decide by headers and method alone, never by a path, so no odd address slips past them.
"""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.recipe.findings import Finding
from app.settings import Settings
from app.web.errors import error_response

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": under that a browser sends "Origin: null" with our own forms, and those must be told apart
    # from strangers' where Sec-Fetch-Site is not sent (plain http in a local network). Nothing goes to other sites.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether a server bound to ``host`` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """The values of the Host header this server answers to, in lower case, with port.

    The loopback names and the configured host, each with the configured port (and without it on port 80, where browsers
    leave it out), and whatever ``allowed_hosts`` adds: ``name`` or ``name:port``, taken as written.
    """
    names = [*_LOCAL_NAMES]
    if settings.host not in ("0.0.0.0", "::", "[::]"):  # noqa: S104 - a wildcard to listen on is not a name to answer to
        names.append(f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host)
    hosts = {f"{name}:{settings.port}" for name in names}
    if settings.port == 80:
        hosts.update(names)
    hosts.update(settings.allowed_hosts)
    return frozenset(host.lower() for host in hosts)


class SecurityHeaders:
    """Puts the headers on every response, errors included; keeps what a handler has set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class KnownHosts:
    """Refuses requests whose Host header is not on the list, so that a foreign name pointed at this machine
    (DNS rebinding) reaches nothing."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        values = Headers(scope=scope).getlist("host")
        if len(values) == 1 and values[0].lower() in self.hosts:
            await self.app(scope, receive, send)
            return
        finding = Finding(
            "error", "unknown-host", "Host", "This server does not answer to the name in the address.",
            "Open it under the address it printed at its start, or add the name to WEIGHTLOOM_ALLOWED_HOSTS.",
        )  # fmt: skip
        await error_response(scope, 421, finding)(scope, receive, send)


class SameOrigin:
    """Refuses unsafe requests that a page of another site sends (cross-site request forgery), without tokens.

    The algorithm of Go 1.25's ``http.CrossOriginProtection``: a browser says in Sec-Fetch-Site where the request comes
    from; one that does not say it sends Origin, which must then be this host; a request with neither is no browser's.
    Stricter in one point: an opaque ``Origin: null`` never passes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS or comes_from_here(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        finding = Finding(
            "error", "cross-origin", "Origin", "This request came from another site, so it was refused.",
            "Send it from Weightloom's own pages, or from a program that sets neither Origin nor Sec-Fetch-Site.",
        )  # fmt: skip
        await error_response(scope, 403, finding)(scope, receive, send)


def comes_from_here(headers: Headers) -> bool:
    """Whether the headers show a request of our own pages, of the address bar, or of a program that is no browser."""
    origins = headers.getlist("origin")
    sites = headers.getlist("sec-fetch-site")
    if len(origins) > 1 or len(sites) > 1 or origins == ["null"]:
        return False
    if sites:
        return sites[0] in ("same-origin", "none")
    if not origins:
        return True
    scheme, separator, host = origins[0].partition("://")
    return bool(separator) and scheme in ("http", "https") and host.lower() == headers.get("host", "").lower()
