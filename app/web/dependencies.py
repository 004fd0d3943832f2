"""What handlers ask for by type: each name is an ``Annotated`` dependency taken from the application's state."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.settings import Settings
from app.web.rendering import Templates


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _templates(request: Request) -> Templates:
    templates: Templates = request.app.state.templates
    return templates


SettingsDep = Annotated[Settings, Depends(_settings)]
TemplatesDep = Annotated[Templates, Depends(_templates)]
