"""The static folder: addresses that change with the content, so that browsers may keep every file for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.settings import ROOT

_FOR_EVER = "public, max-age=31536000, immutable"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""Told outright: under ``nosniff`` a type guessed from the machine's own table may break a page."""


def asset_folder(name: str) -> Path:
    """``templates`` or ``static``: beside the packages in a checkout, inside the package when installed."""
    beside = ROOT / name
    return beside if beside.is_dir() else Path(__file__).resolve().parent.parent / "_assets" / name


class Static(StaticFiles):
    """Serves ``folder`` under ``/static``. With the right ``?v=`` a file may be kept for ever, else it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        self.folder = folder
        self._versions: dict[str, tuple[float, int, str]] = {}

    def url(self, path: str) -> str:
        """``/static/css/x.css?v=<sha8>``. Raises FileNotFoundError for a file that is not there."""
        return f"/static/{path}?v={self.version(path)}"

    def version(self, path: str) -> str:
        """The first 8 hex digits of the file's SHA-256, read again only when size or time changed."""
        file = self.folder / path
        status = file.stat()
        known = self._versions.get(path)
        if known is None or known[:2] != (status.st_mtime, status.st_size):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
            known = self._versions[path] = (status.st_mtime, status.st_size, digest)
        return known[2]

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("v", [""])[0]
        current = asked and response.status_code in (200, 304) and asked == self.version(path)
        response.headers["Cache-Control"] = _FOR_EVER if current else "no-cache"
        media_type = _MEDIA_TYPES.get(Path(path).suffix)
        if media_type and response.status_code == 200:
            response.headers["Content-Type"] = media_type
        return response
