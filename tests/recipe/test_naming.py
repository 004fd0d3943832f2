"""What a recipe is called, and the parents that its title names."""

from __future__ import annotations

import pytest

from app.recipe.naming import named_parents, title_of
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


@pytest.mark.parametrize(
    ("base", "parents", "expected"),
    [
        ("meta/Llama-3.1-8B", ["N/Hermes-3-Llama-3.1-8B", "d/cogito-v1-llama-8B"], "Hermes × cogito"),
        (None, ["o/SmolLM2-135M"], "SmolLM2"),
        (None, [], "Untitled merge"),
        (None, ["o/7B", "o/8b"], "7B × 8b"),
        (None, ["a/v", "a/w", "a/x", "a/y", "a/z"], "v × w × x × y × …"),
        (None, ["'local:m/day.safetensors'", "'local:m/night.safetensors'"], "day × night"),
        ("local:shelf/one", ["local:shelf/one"], "one"),
        (None, ["o/base+a/python-lora", "o/base+a/scripture-lora"], "python × scripture"),
    ],
)
def test_a_recipe_without_a_name_is_called_after_its_parents(
    base: str | None, parents: list[str], expected: str
) -> None:
    lines = ["merge_method: linear", *([f"base_model: {base}"] if base else [])]
    lines += ["models:", *(f"  - {{model: {one}, parameters: {{weight: 1}}}}" for one in parents)] if parents else []
    recipe = read_recipe("\n".join(lines)).draft
    assert recipe is not None
    assert title_of(recipe) == expected


@pytest.mark.parametrize("name", ["My own", "x" * 500])
def test_a_name_of_its_own_is_kept_as_far_as_titles_go(name: str) -> None:
    recipe = read_recipe(f"name: {name}\nmerge_method: linear\nmodels:\n  - model: a/b\n").draft
    assert recipe is not None
    assert title_of(recipe) == name[:200]
