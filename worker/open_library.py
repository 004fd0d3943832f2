"""The library of models as the settings describe it."""

from __future__ import annotations

from pathlib import Path

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import local_roots
from app.settings import Settings


def open_library(settings: Settings, folder: Path | None = None) -> Library:
    """``folder``: where the command line looks for plain folders; a server has none.

    Both merge what the cache holds when the Hub is out of reach: a job was let through by its server, where it may
    only be begun so by who uses the machine alone.
    """
    return Library(HubClient(settings.hub_endpoint), local_roots(settings), folder, offline=True)
