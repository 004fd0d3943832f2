"""Which method: every way through the three questions ends in an answer that can be followed."""

from __future__ import annotations

from itertools import product

import pytest

from app.recipe.catalogue import METHODS
from app.recipe.guide import QUESTIONS, RULES, Advice, advise, known_from
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe

PATHS = [
    dict(zip((question.name for question in QUESTIONS), values, strict=True))
    for values in product(*([one.value for one in question.options] for question in QUESTIONS))
]


def told(have: str, base: str, want: str) -> Advice:
    advice = advise({"have": have, "base": base, "want": want})
    assert advice is not None
    return advice


def names(have: str, base: str, want: str) -> list[str]:
    return [pick.name for pick in told(have, base, want).picks]


@pytest.mark.parametrize("answers", PATHS, ids=lambda one: "-".join(one.values()))
def test_every_path_names_methods_that_fit_or_says_why_not(answers: dict[str, str]) -> None:
    advice = told(**answers)
    assert len(advice.picks) <= 2
    assert advice.picks or len(advice.note) > 40
    for pick in advice.picks:
        method = METHODS[pick.name]
        assert pick.reason.endswith(".")
        if answers["base"] != "shared":
            assert not method.uses_deltas
        if answers["want"] != "stack":
            models = {"one": 1, "two": 2, "more": 3, "adapters": 2}[answers["have"]]
            besides_base = models + (answers["have"] == "one")  # its base, or the model that receives
            assert method.min_parents <= besides_base
            assert method.max_parents is None or besides_base <= method.max_parents


def test_no_rule_is_out_of_reach() -> None:
    reached = {id(next(rule for rule in RULES if rule.fits(answers))) for answers in PATHS}
    assert reached == {id(rule) for rule in RULES}


def test_what_experience_says() -> None:
    assert names("two", "shared", "blend")[0] == "slerp"
    assert names("two", "shared", "combine")[0] == "task_arithmetic"
    assert names("more", "shared", "combine")[0] == "ties"
    assert names("more", "shared", "blend")[0] == "model_stock"
    assert names("one", "none", "stack") == ["passthrough"]
    assert names("two", "none", "combine") == []
    assert "noise" in told("two", "none", "blend").note
    assert names("two", "shared", "carry")[0] in ("transfer", "task_arithmetic")


@pytest.mark.parametrize("answers", [{}, {"have": "two"}, {"have": "two", "base": "shared", "want": "magic"}])
def test_an_open_question_has_no_answer_yet(answers: dict[str, str]) -> None:
    assert advise(answers) is None


def test_a_recipe_in_the_making_answers_what_it_can() -> None:
    assert known_from(Recipe("linear")) == {}
    text = "merge_method: ties\nbase_model: o/base\nmodels: [{model: o/a, parameters: {weight: 1}}]\n"
    recipe = read_recipe(text).draft
    assert recipe is not None
    assert known_from(recipe) == {"have": "one", "base": "shared"}
    text = "merge_method: linear\nmodels:\n" + "".join(
        f"- {{model: o/{x}, parameters: {{weight: 1}}}}\n" for x in "abc"
    )
    recipe = read_recipe(text).draft
    assert recipe is not None
    assert known_from(recipe) == {"have": "more"}
    recipe = read_recipe(text.replace("o/a", "o/a+o/lora")).draft
    assert recipe is not None
    assert known_from(recipe) == {"have": "adapters"}
