"""``/guide``: three questions, and one or two methods as the answer.

Posted from the builder it carries the recipe along, so that a method can be taken without losing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from app.recipe.guide import QUESTIONS, advise, known_from
from app.recipe.presets import Preset, presets
from app.recipe.reading import read_recipe
from app.web.dependencies import TemplatesDep
from app.web.pages.draft import from_form
from app.web.pages.posted import FieldsDep
from app.web.pages.remembered import STREAM

router = APIRouter(include_in_schema=False)

Answer = Annotated[str, Query(max_length=20)]


@router.get("/guide")
def ask(
    request: Request, templates: TemplatesDep, have: Answer = "", base: Answer = "", want: Answer = ""
) -> HTMLResponse:
    return _page(request, templates, {"have": have, "base": base, "want": want}, "")


@router.post("/guide")
def ask_for_a_recipe(request: Request, templates: TemplatesDep, fields: FieldsDep) -> HTMLResponse:
    """The same with a recipe in the making: it answers what it can, and ``Use it`` puts the method into it.

    A builder's form names its base ``base`` too; only the guide's own form says ``guided``.
    """
    answers = {one.name: fields.get(one.name, "") for one in QUESTIONS}
    stream = STREAM in fields
    if "guided" in fields:
        return _page(request, templates, answers, fields.get("recipe", ""), stream)
    draft = from_form({name: value for name, value in fields.items() if name != "action"})
    return _page(request, templates, known_from(draft.recipe) if draft.recipe else {}, draft.text, stream)


def _page(
    request: Request, templates: TemplatesDep, answers: Mapping[str, str], text: str, stream: bool = False
) -> HTMLResponse:
    return templates.answer(
        request, "pages/guide.html", "partials/_guide_answer.html", questions=QUESTIONS, answers=answers,
        advice=advise(answers), text=text, stream=stream, ready=_ready(),
    )  # fmt: skip


@cache
def _ready() -> Mapping[str, Preset]:
    """For each method its first ready recipe."""
    found: dict[str, Preset] = {}
    for one in presets():
        recipe = read_recipe(one.text).draft
        if recipe is not None:
            found.setdefault(recipe.merge_method, one)
    return found
