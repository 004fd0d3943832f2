"""Sending a file of any size in bounded memory, with ranges and validators."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.web.ranges import Part, choose_part

CHUNK = 1024 * 1024
"""Bytes read and sent at once, and so the memory of one download. Reads of 1 MiB keep the thread hops cheap."""

_MEDIA_TYPES = {".json": "application/json", ".md": "text/markdown; charset=utf-8", ".txt": "text/plain; charset=utf-8"}


class FileDownload(Response):
    """``part`` of a file. ``open_file`` is called in a thread before anything is sent; what it raises is the answer."""

    def __init__(self, open_file: Callable[[], BinaryIO], part: Part, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=part.status, headers=headers)
        self.open_file = open_file
        self.part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = await to_thread.run_sync(self.open_file)
        try:
            body = StreamingResponse(chunks(file, self.part), self.status_code)
            body.raw_headers = self.raw_headers
            await body(scope, receive, send)
        finally:
            file.close()


async def chunks(file: BinaryIO, part: Part) -> AsyncIterator[bytes]:
    """The bytes of ``part``. Raises EOFError when the file is shorter than it was said to be."""
    await to_thread.run_sync(_prepare, file, part)
    left = part.length
    while left:
        chunk = await to_thread.run_sync(file.read, min(CHUNK, left))
        if not chunk:
            raise EOFError(f"a file being sent ends {left} bytes early")
        left -= len(chunk)
        yield chunk


def _prepare(file: BinaryIO, part: Part) -> None:
    file.seek(part.first)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), part.first, part.length, os.POSIX_FADV_SEQUENTIAL)


def download(request: Request, open_file: Callable[[], BinaryIO], *, name: str, size: int, sha256: str) -> Response:
    """The answer to a GET or HEAD for a file that never changes: ``sha256`` (hex) is its strong validator.

    A single Range is honoured; several are answered with the whole file. Opens nothing unless bytes are sent.
    """
    part = choose_part(request.headers, size, f'"{sha256}"')
    headers = {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if part.content_range:
        headers["Content-Range"] = part.content_range
    if part.status in (304, 412, 416):
        return Response(status_code=part.status, headers=headers)
    headers["Content-Length"] = str(part.length)
    headers["Content-Type"] = _MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
    headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(name, safe='')}"
    if request.method == "HEAD":
        return Response(status_code=part.status, headers=headers)
    return FileDownload(open_file, part, headers)
