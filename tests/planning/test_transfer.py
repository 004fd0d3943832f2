"""Transfer: who receives, what happens to tensors that somebody lacks, and who gives the config."""

from __future__ import annotations

import json

import pytest

from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.planning.shares import loom, shares
from app.recipe.reading import read_recipe
from tests.planning.models import Shapes, facts, family, llama_config, llama_shapes, recipe

TRANSFER = """
merge_method: transfer
base_model: o/base
models: [{model: o/chat}, {model: o/code, parameters: {weight: 0.5}}]
parameters: {lambda: 0.8}
"""
NORM = "model.norm.weight"


def without(*names: str) -> Shapes:
    return {name: shape for name, shape in llama_shapes(2).items() if name not in names}


def plan(base: Shapes, chat: Shapes, code: Shapes) -> Plan:
    models = {"base": base, "chat": chat, "code": code}
    configs = {name: llama_config(2, marked=name) for name in models}
    return make_plan(recipe(TRANSFER), family(*(facts(f"o/{name}", models[name], configs[name]) for name in models)))


def test_the_first_model_receives_and_gives_the_config() -> None:
    made = plan(without(), without(), without())
    step = next(iter(made.steps()))
    assert step.method == "transfer"
    assert step.base is not None
    assert (step.base.parent, [one.parent for one in step.inputs]) == (0, [1, 2])
    assert step.inputs[1].parameters["weight"] == 0.5
    assert json.loads(made.texts["config.json"])["marked"] == "chat"
    assert shares(step) == pytest.approx((0, 1 / 1.4, 0.4 / 1.4))
    assert loom(made).exact


def test_what_no_change_is_known_for_stays_the_receiving_models() -> None:
    for made in (plan(without(NORM), without(), without()), plan(without(), without(), without(NORM))):
        step = next(step for step in made.steps() if step.name == NORM)
        assert (step.method, step.inputs[0].parent) == ("copy", 1)
        assert [one.code for one in made.findings if one.code == "kept"] == ["kept"]


def test_what_the_receiving_model_lacks_is_left_out() -> None:
    made = plan(without(), without(NORM), without())
    assert NORM not in {step.name for step in made.steps()}
    assert [(one.level, one.code) for one in made.findings if NORM in one.text] == [("warning", "left-out")]


def test_a_weight_on_the_receiving_model_is_told_of() -> None:
    text = TRANSFER.replace("{model: o/chat}", "{model: o/chat, parameters: {weight: 2}}")
    reading = read_recipe(text)
    assert [(one.code, one.where) for one in reading.findings] == [("no-effect", "models[0].parameters.weight")]


@pytest.mark.parametrize("method", ["consensus_ta", "consensus_ties"])
def test_no_more_parents_can_agree_than_there_are(method: str) -> None:
    text = f"""
merge_method: {method}
base_model: o/base
models: [{{model: o/a}}, {{model: o/b}}]
parameters: {{weight: 1, k: 3}}
"""
    reading = read_recipe(text)
    assert [one.code for one in reading.findings if one.level == "warning"] == ["k-too-large"]
    models = (facts(f"o/{name}", llama_shapes(2), llama_config(2)) for name in ("base", "a", "b"))
    made = make_plan(recipe(text.replace("k: 3", "k: 2")), family(*models))
    assert not loom(made).exact
    assert shares(next(iter(made.steps()))) == pytest.approx((0, 0.5, 0.5))
