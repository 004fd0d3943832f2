"""``coefficients.json``: written in the result's order, read back as it was, and never a reason to fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.planning.mixture import Mixture, mixtures_of, read_coefficients, rows_of, tells, write_coefficients
from app.planning.plan_merge import make_plan
from tests.planning.models import facts, family, llama_shapes, recipe

SLERP = """
merge_method: slerp
base_model: o/a
models: [{model: o/a}, {model: o/b}]
parameters: {t: 0.3}
"""
TWO = """
name: first
merge_method: karcher
models: [{model: o/a}, {model: o/b}]
---
merge_method: linear
models:
  - {model: first, parameters: {weight: 0.5}}
  - {model: o/b, parameters: {weight: 0.5}}
"""
EVERY = [
    Mixture("model.norm.weight", (0.7, 0.4), (43.5,)),
    Mixture("lm_head.weight", (0.25, 0.375, 0.375), (12.0, None, 90.5)),
    Mixture("x", (-0.125, 1.5), by="row"),
    Mixture("x", (0.5, 0.5), by="weight", document="first"),
]


def test_rows_come_back_as_they_were() -> None:
    rows = json.loads(json.dumps(rows_of(EVERY)))
    assert list(mixtures_of(rows)) == EVERY


def test_the_file_names_parents_and_keeps_the_results_order() -> None:
    plan = make_plan(recipe(SLERP), family(*(facts(f"o/{x}", llama_shapes(2)) for x in "ab")))
    found = [Mixture(step.name, (0.7, 0.3), (12.5,)) for step in plan.steps()]
    text = write_coefficients(plan, reversed([*found, Mixture("of no tensor", (1.0,))]))
    content = json.loads(text)
    assert content["parents"] == ["o/a", "o/b"]
    assert [one["tensor"] for one in content["tensors"]] == [step.name for step in plan.steps()]
    assert content["tensors"][0]["method"] == "slerp"
    assert content["tensors"][0]["inputs"] == [0, 1]
    assert len(text.splitlines()) == len(found) + 4
    assert read_coefficients(text.encode()) == {one.key: one for one in found}


def test_parents_are_called_as_in_the_published_recipe() -> None:
    text = SLERP.replace("o/b", "/home/me/secret/models/b")
    known = family(
        replace(facts("o/a", llama_shapes(1)), commit="c" * 40), facts("/home/me/secret/models/b", llama_shapes(1))
    )
    plan = make_plan(recipe(text), known)
    name = next(iter(plan.steps())).name
    content = json.loads(write_coefficients(plan, [Mixture(name, (0.7, 0.3))]))
    assert content["parents"] == ["o/a@" + "c" * 40, "local:models/b"]
    assert all(one in plan.texts["mergekit_config.yml"] for one in content["parents"])


def test_documents_stand_beside_the_result() -> None:
    plan = make_plan(recipe(TWO), family(*(facts(f"o/{x}", llama_shapes(1)) for x in "ab")))
    assert tells(plan.steps())
    name = next(iter(plan.steps())).name
    content = json.loads(write_coefficients(plan, [Mixture(name, (0.5, 0.6), (43.0,), document="first")]))
    (row,) = content["tensors"]
    assert (row["document"], row["method"]) == ("first", "karcher")
    assert [content["parents"][index] for index in row["inputs"]] == ["o/a", "o/b"]


def test_what_the_recipe_decides_needs_no_telling() -> None:
    text = SLERP.replace("slerp", "task_arithmetic").replace("{model: o/b}", "{model: o/b, parameters: {weight: 1}}")
    made = recipe(text.replace("{model: o/a}, ", "").replace("parameters: {t: 0.3}", ""))
    assert not tells(make_plan(made, family(*(facts(f"o/{x}", llama_shapes(1)) for x in "ab"))).steps())


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b"\xff", b'{"format": 2, "tensors": []}', b'{"format": 1}', b'{"format": 1, "tensors": [1]}',
        b'{"format": 1, "tensors": [{"tensor": "x"}]}',
        b'{"format": 1, "tensors": [{"tensor": "x", "coefficients": ["a"]}]}',
        b'{"format": 1, "tensors": [{"tensor": "x", "coefficients": [NaN]}]}',
        b'{"format": 1, "tensors": [{"tensor": "x", "coefficients": [1], "by": "magic"}]}',
    ],
)  # fmt: skip
def test_what_is_no_such_file_tells_nothing(raw: bytes) -> None:
    assert read_coefficients(raw) == {}


def test_a_later_line_of_the_same_tensor_counts() -> None:
    rows = rows_of([EVERY[0], replace(EVERY[0], coefficients=(0.1, 0.9))])
    found = read_coefficients(json.dumps({"format": 1, "tensors": rows}).encode())
    assert found["", "model.norm.weight"].coefficients == (0.1, 0.9)
