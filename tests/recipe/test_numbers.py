"""Numbers with commas: one number, or a list, as whoever typed them meant it."""

from __future__ import annotations

import pytest

from app.recipe.form import apply
from app.recipe.numbers import listed, understood, with_points
from app.recipe.reading import read_recipe
from app.recipe.schema import Scalar

RECIPE = """
merge_method: ties
base_model: o/base
models:
- model: o/one
  parameters: {weight: 0.3, density: 0.3}
"""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("0,5", ["0.5"]),
        (" 0,5 ", ["0.5"]),
        ("-1,25", ["-1.25"]),
        ("0,5,", ["0.5"]),
        ("0, 5", ["0", "5"]),
        ("0,2, 0,8", ["0.2", "0.8"]),
        ("0,2 0,8", ["0.2", "0.8"]),
        ("0,2;0,8; 1", ["0.2", "0.8", "1"]),
        ("1, 0,5", ["1", "0.5"]),
        ("0.2,0.8", ["0.2", "0.8"]),
        ("0.2, 0.8, 0.4", ["0.2", "0.8", "0.4"]),
        ("1,0.5", ["1", "0.5"]),
        ("0.5, 1,2", ["0.5", "1.2"]),
        ("0,0,1", ["0", "0", "1"]),
        ("0,10,1", ["0", "10", "1"]),
        ("1 0 1", ["1", "0", "1"]),
        ("1e-5", ["1e-5"]),
        ("", []),
        (" , ;", []),
        ("0,5x", ["0", "5x"]),
    ],
)
def test_a_comma_between_two_digits_that_stand_alone_is_a_decimal_one(typed: str, meant: list[str]) -> None:
    assert listed(typed) == meant
    if len(meant) == 1 and "," in typed:
        assert with_points(typed).strip(" ,") == meant[0]


def test_what_was_understood_is_told() -> None:
    assert understood(["0.5", "0, 1", "o/one"]) == ""
    assert understood([" 0,5 ", "0,2 0,8", "0,5"]) == "0,5 is read as 0.5. 0,2 0,8 is read as 0.2, 0.8."


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("weight", "0,5", 0.5),
        ("weight", "1,0", 1.0),
        ("weight", "0, 1", (0.0, 1.0)),
        ("weight", "0,2 0,8", (0.2, 0.8)),
        ("density|mlp", "0,5", 0.5),
        ("density", "0,2,0,8", None),
    ],
)
def test_fields_of_the_form_take_decimal_commas(
    field: str, typed: str, value: Scalar | tuple[Scalar, ...] | None
) -> None:
    recipe = read_recipe(RECIPE).recipe
    assert recipe is not None
    edited, findings = apply(
        recipe, {"parent.0": "o/base", "parent.1": "o/one", "base": "0", f"parent.1.{field}": typed}
    )
    name = field.partition("|")[0]
    assert bool(findings) == (value is None)
    assert edited.models[0].parameters[name][0].value == (0.3 if value is None else value)


def test_a_field_for_one_number_refuses_a_list() -> None:
    recipe = read_recipe("merge_method: karcher\nmodels: [{model: o/one}, {model: o/two}]\n").recipe
    assert recipe is not None
    half, told = apply(recipe, {"shared.tol": "0,5"})
    assert half.parameters["tol"][0].value == 0.5
    assert told == ()
    for typed in ("0, 5", "0.5,1"):
        same, told = apply(recipe, {"shared.tol": typed})
        assert (same, [one.code for one in told]) == (recipe, ["no-curve"])
