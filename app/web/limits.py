"""How much one request may send."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.recipe.findings import Finding
from app.web.errors import error_response

MAX_BODY = 256 * 1024
"""Bytes of the largest request body: twice the largest recipe."""


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
            finding = Finding("error", "too-large", "", "The request is too large.", "Send at most 256 KB.")
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
