"""How much one request may send, and how many event streams one client may hold open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.recipe.findings import Finding
from app.web.errors import Failed, error_response

MAX_BODY = 512 * 1024
"""Bytes of the largest request body: four times the largest recipe, of which forms write a letter of other scripts
with three times its bytes. What is too long for a recipe is then told as that."""
STREAMS_PER_CLIENT = 16
STREAMS_IN_ALL = 200


class BodyLimit:
    """Refuses bodies over ``MAX_BODY`` bytes: at once when the length is told beforehand, else while they come in.

    Also refuses multipart bodies outright: nothing here takes a file.
    """

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if headers.get("content-type", "").lower().startswith("multipart/"):
            finding = Finding("error", "multipart", "", "Multipart bodies are not taken.", "Send JSON, YAML or a form.")
            await error_response(scope, 415, finding)(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self.max_body:
            finding = Finding("error", "too-large", "", "The request is too large.", "Send at most 512 KB.")
            await error_response(scope, 413, finding)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:
                raise HTTPException(413)
            return message

        await self.app(scope, counted, send)


class StreamLimit:
    """Counts open event streams: so many for one client, so many in all. Used from one event loop only."""

    def __init__(self, per_client: int = STREAMS_PER_CLIENT, in_all: int = STREAMS_IN_ALL) -> None:
        self._per_client = per_client
        self._in_all = in_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """One stream's place. Raises Failed (429) when there is none left."""
        if self._open[client] >= self._per_client or self._open.total() >= self._in_all:
            text = "Too many live pages are open."
            raise Failed(429, Finding("error", "too-many-streams", "", text, "Close some, or reload this one later."))
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
