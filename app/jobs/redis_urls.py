"""The one place that knows how Redis addresses are spelt by its clients."""

from __future__ import annotations

from urllib.parse import urlsplit

UNIX = "unix://"


def broker_url(redis_url: str) -> str:
    """A redis-py address as Celery wants it: ``unix:///path?db=1`` becomes ``redis+socket:///path?virtual_host=1``."""
    if not redis_url.startswith(UNIX):
        return redis_url
    parts = urlsplit(redis_url)
    database = parts.query.partition("db=")[2].partition("&")[0]
    return f"redis+socket://{parts.path}" + (f"?virtual_host={database}" if database else "")
