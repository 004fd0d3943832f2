"""From the builder to the form of mixtures: a mixture of experts has a form of its own, and its recipe leads there."""

from __future__ import annotations

from fastapi.responses import Response

from app.experts.from_card import mixture_text
from app.web.pages.desk import Desk
from app.web.pages.form_desk import Visit
from app.web.pages.mixtures import DESK as MIXTURES
from app.web.pages.mixtures_form import from_pairs


def to_mixtures(desk: Desk, text: str, place: str) -> Response | None:
    """Where the recipe of a mixture leads; None for any other text. What no address can hold, or cannot be read, is
    posted there by a button in the ``place``, an id of the page, and without a script at once."""
    mixture = mixture_text(text)
    if not mixture:
        return None
    form = from_pairs([("action", "import"), ("yaml", mixture)])
    if form.address and not form.problems:
        return lead(desk, form.address)
    if desk.live:
        return desk.templates.partial(desk.request, "partials/_import_mixture.html", text=mixture, place=place)
    return MIXTURES.page(Visit(desk.request, desk.templates, desk.services), form)


def lead(desk: Desk, address: str) -> Response:
    if desk.live:
        return Response(status_code=200, headers={"HX-Redirect": address})
    return Response(status_code=303, headers={"Location": address})
