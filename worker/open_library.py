"""The library of models as the settings describe it."""

from __future__ import annotations

from pathlib import Path

from app.hub.client import HubClient
from app.library.facts import Library
from app.library.local import LocalRoots
from app.settings import Settings


def open_library(settings: Settings, folder: Path | None = None) -> Library:
    """``folder``: where the command line looks for plain folders; a server has none."""
    return Library(HubClient(settings.hub_endpoint), LocalRoots(settings.model_roots), folder)
