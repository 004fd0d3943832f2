"""Parents that a title names."""

from __future__ import annotations

import pytest

from app.recipe.naming import named_parents
from app.recipe.reading import read_recipe


@pytest.mark.parametrize(
    ("method", "models", "named"),
    [
        ("slerp", ["o/base", "o/other"], ["o/base", "o/other"]),
        ("slerp", ["o/other"], ["o/base", "o/other"]),
        ("ties", ["o/one", "o/two", "o/one"], ["o/one", "o/two"]),
        ("ties", ["o/base", "o/one"], ["o/one"]),
        ("ties", ["o/base"], ["o/base"]),
    ],
)
def test_the_base_is_named_where_it_is_one_of_those_that_meet(method: str, models: list[str], named: list[str]) -> None:
    listed = "".join(f"  - model: {one}\n" for one in models)
    recipe = read_recipe(f"merge_method: {method}\nbase_model: o/base\nmodels:\n{listed}").draft
    assert recipe is not None
    assert [str(one) for one in named_parents(recipe)] == named
