"""The method panel's picture, with the numbers that stand in the form."""

from __future__ import annotations

from collections.abc import Sequence

from app.recipe.form import FormView
from app.recipe.knobs import Knob
from app.web.pages.pictures import method as picture
from app.web.pages.pictures.parents import Parent


def method_picture(form: FormView) -> picture.MethodPicture | None:
    """What the form's method does to example vectors. Parents keep their letters."""
    base = next((one for one in form.parents if one.is_base), None)
    lettered = [Parent(one.letter, _values(one.knobs)) for one in form.parents if one.letter]
    return picture.draw(
        form.method.name, lettered, _values(form.shared), base_letter=base.letter if base else "A",
        based=base is not None,
    )  # fmt: skip


def _values(knobs: Sequence[Knob]) -> dict[str, float]:
    """Every knob that says something: its number, of a curve the mean, of a switch 0 or 1."""
    return {one.parameter.name: _number(one) for one in knobs if one.text and not one.ruled}


def _number(knob: Knob) -> float:
    if knob.parameter.kind == "boolean":
        return float(knob.text == "true")
    values = [float(piece) for piece in knob.text.split(",") if piece.strip()]
    return sum(values) / len(values)
