"""Each rule: the numbers that call for it, those that do not, and what its button makes of a recipe."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.comparing.comparison import Comparison, every_value, read_subject, subject_key
from app.comparing.measures import MEASURES, subjects
from app.comparing.suggestions import Suggestion, suggest
from app.comparing.tables import as_csv
from app.comparing.telling import brief, told
from app.recipe.reading import read_recipe
from app.recipe.schema import Recipe, Rule
from app.recipe.writing import write_recipe
from tests.comparing.made import LAYERS, comparison, tensor_sums


def recipe(text: str) -> Recipe:
    read = read_recipe(text).recipe
    assert read is not None
    return read


def of_two(method: str, **settings: float) -> Recipe:
    told = ", ".join(f"{name}: {value}" for name, value in settings.items())
    base = "base_model: a/base\n" if method != "linear" else ""
    models = "".join(f"- {{model: a/{one}, parameters: {{{told}}}}}\n" for one in "AB")
    return recipe(f"merge_method: {method}\n{base}models:\n{models}")


def only(found: Sequence[Suggestion], code: str) -> Suggestion:
    (one,) = [each for each in found if each.code == code]
    return one


def codes(found: Sequence[Suggestion]) -> list[str]:
    return [one.code for one in found]


def test_calm_numbers_call_for_nothing() -> None:
    assert suggest(comparison()) == ()
    assert suggest(comparison(base=None)) == ()


def test_a_stranger_is_left_out() -> None:
    found = suggest(comparison(norms=(0.01, 0.02, 1.4)))
    one = only(found, "stranger")
    assert "C differs from the base by 140 % of its size" in one.text
    assert one.recipe is not None
    assert [str(source.model) for source in one.recipe.models] == ["a/A", "a/B"]
    assert only(suggest(comparison(norms=(1.4,))), "stranger").recipe is None


def test_without_a_base_unrelated_weights_are_told_by_their_matrices() -> None:
    near = comparison(base=None)
    far = replace(near, tensors=tuple(replace(one, products=(0.0,), apart=(2.0,)) for one in near.tensors))
    one = only(suggest(far), "unrelated")
    assert "A and B differ by 141 % of their size" in one.text
    assert one.recipe is None
    norms = tuple(replace(one, shape=(1000,)) for one in far.tensors)
    assert suggest(replace(far, tensors=norms)) == ()


def test_a_copy_of_the_base_adds_nothing() -> None:
    one = only(suggest(comparison(norms=(0.0, 0.02))), "nothing-new")
    assert one.text.startswith("A has the same weights")
    assert one.action == "Leave A out"


def test_twins() -> None:
    one = only(suggest(comparison(cosine=0.97)), "twins")
    assert "cosine 0.97" in one.text
    assert one.action == "Leave B out"
    assert codes(suggest(comparison(cosine=0.9))) == []


def test_the_louder_one_is_turned_down() -> None:
    found = suggest(comparison(norms=(0.01, 0.05)), of_two("ties", weight=0.8, density=0.5))
    one = only(found, "unequal")
    assert "B's change is 5.0 times as large" in one.text
    assert one.recipe is not None
    weights = [source.parameters["weight"] for source in one.recipe.models]
    assert weights == [(Rule(0.8),), (Rule(0.16),)]
    assert codes(suggest(comparison(norms=(0.01, 0.029)))) == []


def test_changes_that_rarely_meet_are_added_up() -> None:
    calm = comparison(conflict=0.05, overlap=0.2)
    one = only(suggest(calm, of_two("linear", weight=0.5)), "rarely-meet")
    assert one.recipe is not None
    assert (one.recipe.merge_method, str(one.recipe.base_model)) == ("task_arithmetic", "a/base")
    assert only(suggest(calm, of_two("ties", weight=1, density=0.5)), "rarely-meet").recipe is None
    assert codes(suggest(comparison(conflict=0.05, overlap=0.3))) == []


OPPOSED = dict.fromkeys(range(4, 8), 0.38)


def test_opposed_layers_are_named_and_ties_offered() -> None:
    told_of = comparison(norms=(0.01, 0.01, 0.02), mlp_conflict=OPPOSED)
    text = "merge_method: linear\nmodels:\n"
    text += "".join(f"- {{model: a/{one}, parameters: {{weight: 0.3}}}}\n" for one in "ABC")
    one = only(suggest(told_of, recipe(text)), "opposed")
    assert one.text.startswith("B and C oppose each other in 38 % of their changes of MLP weights in layers 4–7.")
    assert one.action == "Use TIES"
    assert one.recipe is not None
    assert one.recipe.merge_method == "ties"
    assert {name for source in one.recipe.models for name in source.parameters} == {"weight", "density"}
    assert read_recipe(write_recipe(one.recipe)).recipe == one.recipe


def test_under_ties_the_weaker_one_gets_a_lower_density_there() -> None:
    told_of = comparison(norms=(0.02, 0.01), mlp_conflict=OPPOSED)
    one = only(suggest(told_of, of_two("ties", weight=1, density=0.5)), "opposed")
    assert one.action == "Lower B's density there to 0.3"
    assert one.recipe is not None
    before, after = (source.parameters["density"] for source in one.recipe.models)
    assert before == (Rule(0.5),)
    assert after == (Rule((0.5,) * 4 + (0.3,) * 4, "mlp"), Rule(0.5))
    everywhere = comparison(norms=(0.02, 0.01), mlp_conflict=dict.fromkeys(range(LAYERS), 0.4))
    one = only(suggest(everywhere, of_two("ties", weight=1, density=0.5)), "opposed")
    assert "in all layers" in one.text
    assert one.recipe is not None
    assert one.recipe.models[1].parameters["density"] == (Rule(0.3, "mlp"), Rule(0.5))


@pytest.mark.parametrize("conflict", [dict.fromkeys(range(4, 8), 0.3), dict.fromkeys((1, 2, 5, 6), 0.45)])
def test_little_or_scattered_opposition_is_not_worth_a_word(conflict: dict[int, float]) -> None:
    assert suggest(comparison(mlp_conflict=conflict)) == ()


def test_slices_get_words_only() -> None:
    stack = "merge_method: ties\nbase_model: a/base\nslices:\n- sources:\n"
    stack += "".join(f"  - {{model: a/{one}, layer_range: [0, 4], parameters: {{weight: 1}}}}\n" for one in "AB")
    one = only(suggest(comparison(mlp_conflict=OPPOSED), recipe(stack)), "opposed")
    assert (one.action, one.recipe) == ("", None)


def test_a_pinned_comparison_fits_a_recipe_that_leaves_the_commit_open() -> None:
    told_of = comparison(norms=(0.01, 0.05))
    pinned = Comparison(tuple(f"{one}@{'0' * 40}" for one in told_of.models), told_of.base, False, 0.2, told_of.tensors)
    assert only(suggest(pinned, of_two("ties", weight=1, density=0.5)), "unequal").recipe is not None


def test_csv_has_a_line_for_each_tensor_and_subject() -> None:
    told_of = comparison(norms=(0.01, 0.02, 0.03))
    rows = list(csv.DictReader(io.StringIO("".join(as_csv(told_of)))))
    assert len(rows) == len(told_of.tensors) * 7
    line = next(one for one in rows if one["of"] == "A-C" and one["module"] == "up" and one["layer"] == "2")
    assert float(line["sign_conflict"]) == pytest.approx(0.2)
    assert line["delta_norm"] == ""
    hostile = Comparison(("a/A",), "a/base", False, 0.2, (tensor_sums("=cmd()", 0, "up", (0.1,), 0, (), 0),))
    assert "'=cmd()" in "".join(as_csv(hostile))


def test_every_measure_can_be_told_of_all_its_subjects() -> None:
    told_of = comparison(norms=(0.01, 0.02, 0.03))
    values = every_value(told_of, told_of.tensors)
    assert set(values) == set(MEASURES)
    assert all(value is not None and math.isfinite(value) for each in values.values() for value in each.values())
    assert set(values["sign_conflict"]) == {"all", "A-B", "A-C", "B-C"}
    assert set(values["rank"]) == {"all", "A", "B", "C"}
    every = subjects(MEASURES["overlap"], 3)
    assert read_subject("B-C", every) == (1, 2)
    assert read_subject("nonsense", every) == every[0] == ()
    assert subject_key((0, 2)) == "A-C"


@pytest.mark.parametrize(
    ("measure", "value", "long", "short"),
    [
        ("sign_conflict", 0.384, "38 %", "38"), ("delta_norm", 0.00641, "0.64 %", ".64"), ("overlap", 0.0, "0 %", "0"),
        ("delta_norm", 1.404, "140 %", "140"), ("cosine_deltas", -0.051, "−0.05", "−.05"),
        ("cosine_weights", 0.9999602, "0.99996", ".99996"), ("cosine_weights", 1.0, "1", "1"),
        ("cosine_weights", 1 - 2e-8, "1", "1"), ("cosine_weights", 0.9957, "0.996", ".996"),
        ("rank", 30.62, "30.6", "30.6"),
        ("cosine_deltas", -0.0001, "0.00", ".00"), ("rank", None, "–", "–"), ("rank", 248.4, "248", "248"),
    ],
)  # fmt: skip
def test_values_in_words(measure: str, value: float | None, long: str, short: str) -> None:
    assert (told(MEASURES[measure], value), brief(MEASURES[measure], value)) == (long, short)
