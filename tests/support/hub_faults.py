"""What goes wrong on the way: an ASGI layer around the stand-in Hub that keeps a log and plays scripted faults."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["status", "hang", "cut", "stall", "slow", "ignore-range", "swap", "longer", "shorter"]
App = Callable[..., Any]
Message = dict[str, Any]


class Cut(Exception):
    """Ends a response in the middle; the server then closes the connection."""


@dataclass
class Fault:
    """One thing that goes wrong.

    ``status`` answers with ``status``, ``headers`` and ``body``; ``hang`` never answers. ``cut`` closes the connection
    after ``after`` bytes of body, ``stall`` sends nothing more after them, ``slow`` sends ``after`` bytes every 10 ms.
    ``ignore-range`` answers 200 with the whole file. ``swap`` sends other bytes of the same length. ``longer`` and
    ``shorter`` send ``after`` bytes more or less than asked for, with a Content-Length that fits.
    Concerns requests whose path contains ``path`` (a regular expression) and whose method is ``method``; skips the
    first ``skip`` of them and then happens ``times`` times (None: always).
    """

    kind: Kind
    path: str = ""
    method: str | None = None
    skip: int = 0
    times: int | None = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": "scripted"}'
    after: int = 0
    happened: int = 0

    def concerns(self, method: str, path: str) -> bool:
        if not re.search(self.path, path) or self.method not in (None, method):
            return False
        if self.skip:
            self.skip -= 1
            return False
        return self.times is None or self.happened < self.times


@dataclass
class Seen:
    """One request as the server saw it. ``sent`` counts the bytes of body that went out."""

    method: str
    path: str
    query: str
    host: str
    token: str | None
    range: str | None
    status: int = 0
    sent: int = 0

    @property
    def url(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Faults:
    """The layer itself. ``seen`` and ``script`` may be read and written from any thread."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.seen: list[Seen] = []
        self.script: list[Fault] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of stalled requests, so that the server can end."""
        self._closing.set()

    async def __call__(self, scope: Message, receive: App, send: App) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        entry = _seen(scope)
        self.seen.append(entry)
        fault = self._next_fault(entry)
        if fault and fault.kind == "status":
            await _answer(fault, entry, send)
            return
        if fault and fault.kind == "hang":
            await self._until_over(receive)
            return
        if fault and fault.kind == "ignore-range":
            scope = scope | {"headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        await self.app(scope, receive, self._sender(fault, entry, send, receive))

    def _next_fault(self, entry: Seen) -> Fault | None:
        with self._lock:
            for fault in self.script:
                if fault.concerns(entry.method, entry.path):
                    fault.happened += 1
                    return fault
        return None

    def _sender(self, fault: Fault | None, entry: Seen, send: App, receive: App) -> App:
        kind = fault.kind if fault else None
        limit = fault.after if fault and fault.kind in ("cut", "stall") else None

        async def forward(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                if fault and kind in ("longer", "shorter"):
                    message = _resized(message, fault.after if kind == "longer" else -fault.after)
                await send(message)
                return
            body = _changed(message, fault) if fault else message.get("body", b"")
            if fault and kind == "slow":
                await self._trickle(body, fault.after, entry, send)
                body = b""
            if limit is not None and entry.sent + len(body) >= limit:
                rest = body[: limit - entry.sent]
                entry.sent += len(rest)
                await send({"type": "http.response.body", "body": rest, "more_body": True})
                if kind == "stall":
                    await self._until_over(receive)
                raise Cut
            entry.sent += len(body)
            await send(message | {"body": body})

        return forward

    async def _trickle(self, body: bytes, step: int, entry: Seen, send: App) -> None:
        for begin in range(0, len(body), step):
            piece = body[begin : begin + step]
            entry.sent += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0.01)

    async def _until_over(self, receive: App) -> None:
        """Until the client leaves or the server closes."""

        async def client_left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        left = asyncio.ensure_future(client_left())
        while not left.done() and not self._closing.is_set():
            await asyncio.wait([left], timeout=0.05)
        left.cancel()


def _seen(scope: Message) -> Seen:
    headers = {key.decode().lower(): value.decode() for key, value in scope["headers"]}
    token = headers.get("authorization", "").removeprefix("Bearer ") or None
    return Seen(
        scope["method"], scope["path"], scope["query_string"].decode(), headers.get("host", ""), token,
        headers.get("range"),
    )  # fmt: skip


async def _answer(fault: Fault, entry: Seen, send: App) -> None:
    body = fault.body.encode()
    headers = {"content-type": "application/json", **fault.headers, "content-length": str(len(body))}
    entry.status, entry.sent = fault.status, len(body)
    pairs = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body if entry.method != "HEAD" else b""})


def _resized(message: Message, by: int) -> Message:
    headers = dict(message["headers"])
    headers[b"content-length"] = str(int(headers[b"content-length"]) + by).encode()
    return message | {"headers": list(headers.items())}


def _changed(message: Message, fault: Fault) -> bytes:
    body: bytes = message.get("body", b"")
    last = not message.get("more_body", False)
    if fault.kind == "swap":
        return bytes(byte ^ 0xFF for byte in body)
    if fault.kind == "longer" and last:
        return body + b"x" * fault.after
    if fault.kind == "shorter" and body:
        return body[: -fault.after]
    return body


def limited(seconds: int, *, by: Literal["retry-after", "ratelimit"] = "ratelimit") -> dict[str, Any]:
    """The arguments of a 429 as the Hub sends it."""
    reset = {"RateLimit": f'"api";r=0;t={seconds}', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    headers = reset if by == "ratelimit" else {"Retry-After": str(seconds)}
    return {"status": 429, "headers": headers, "body": json.dumps({"error": "Too many requests"})}
