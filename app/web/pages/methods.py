"""``/methods``: each with its picture, formula, parameters and limits; ``/limits``: what merging cannot promise."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.recipe import method_words as words
from app.recipe.catalogue import Method
from app.recipe.limits import limits
from app.recipe.method_groups import method_groups, paper_link
from app.recipe.method_notes import Notes, method_notes
from app.web.dependencies import TemplatesDep
from app.web.pages.pictures import stack
from app.web.pages.pictures.method import MethodPicture, example

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class MethodCard:
    """One method as the page shows it; ``blocks`` are its picture where ``picture`` is None."""

    method: Method
    notes: Notes
    link: str
    picture: MethodPicture | None
    blocks: tuple[stack.Block, ...]


@router.get("/methods")
def index(request: Request, templates: TemplatesDep) -> HTMLResponse:
    groups = [(title, [_card(one) for one in methods]) for title, methods in method_groups()]
    return templates.page(request, "pages/methods.html", groups=groups, words=words)


@router.get("/limits")
def about_limits(request: Request, templates: TemplatesDep) -> HTMLResponse:
    return templates.page(request, "pages/limits.html", limits=limits())


def _card(method: Method) -> MethodCard:
    notes = method_notes()[method.name]
    return MethodCard(method, notes, paper_link(method.paper), example(method), stack.sample())
