"""What goes with the weights of an embedding model, and what is never let through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.planning.facts import FileFacts
from app.planning.plan import Carry, Plan
from app.planning.plan_merge import make_plan
from app.planning.pooling import MAX_WEIGHTS
from tests.planning.models import facts, family, llama_shapes, recipe

LINEAR = """\
merge_method: linear
models:
- {model: o/one, parameters: {weight: 1}}
- {model: o/two, parameters: {weight: 1}}
"""
STEPS = [
    ("", "sentence_transformers.models.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Dense", "sentence_transformers.models.Dense"),
]


def modules(steps: list[tuple[Any, Any]]) -> str:
    return json.dumps([{"idx": i, "name": str(i), "path": p, "type": t} for i, (p, t) in enumerate(steps)])


TEXTS = {
    "modules.json": modules(STEPS),
    "1_Pooling/config.json": '{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}',
    "2_Dense/config.json": '{"in_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}',
    "sentence_bert_config.json": '{"max_seq_length": 128, "model_args": {"trust_remote_code": true}}',
    "config_sentence_transformers.json": '{"__version__": {"a": "1"}, "prompts": {"query": "os.system says: "}}',
}
DENSE = FileFacts("2_Dense/model.safetensors", 1000)


def planned(
    mine: dict[str, str] = TEXTS, theirs: dict[str, str] = TEXTS, files: tuple[FileFacts, ...] = (DENSE,)
) -> Plan:
    one = facts("o/one", llama_shapes(), texts=mine, files=files)
    return make_plan(recipe(LINEAR), family(one, facts("o/two", llama_shapes(), texts=theirs, files=files)))


def codes(plan: Plan) -> list[str]:
    return [one.code for one in plan.findings if "pool" in one.code or "step" in one.code]


def test_steps_settings_and_their_weights_come_from_the_donor():
    plan = planned()
    assert Carry(0, "2_Dense/model.safetensors") in plan.carries
    assert codes(plan) == ["pooling-taken-over", "step-not-merged"]
    assert {name: plan.texts[name] for name in ("modules.json",)} == {"modules.json": TEXTS["modules.json"]}
    for name in ("1_Pooling/config.json", "2_Dense/config.json", "config_sentence_transformers.json"):
        assert json.loads(plan.texts[name]) == json.loads(TEXTS[name])


def test_nothing_that_loads_code_survives():
    assert json.loads(planned().texts["sentence_bert_config.json"]) == {"max_seq_length": 128}


@pytest.mark.parametrize(
    "changed",
    [
        {"modules.json": modules([("", "custom_st.Transformer")])},
        {"modules.json": modules([("", "os.system")])},
        {"modules.json": modules([*STEPS[:1], ("../../etc", STEPS[1][1])])},
        {"modules.json": modules([*STEPS[:1], ("1_Pooling/..", STEPS[1][1])])},
        {"modules.json": modules([(None, STEPS[0][1])])},
        {"modules.json": modules([(7, 8)])},
        {"modules.json": "{}"},
        {"modules.json": "[]"},
        {"modules.json": "[" * 5000},
        {"modules.json": '[{"path": ""}]}'},
        {"2_Dense/config.json": '{"activation_function": "subprocess.Popen"}'},
        {"2_Dense/config.json": '{"more": [{"deep": "os.system"}]}'},
        {"1_Pooling/config.json": "no JSON"},
    ],
)
def test_what_names_other_code_or_places_is_left_out_whole(changed: dict[str, str]):
    plan = planned({**TEXTS, **changed})
    assert codes(plan) == ["pooling-left-out"]
    assert not {name for name in plan.texts if name in TEXTS}
    assert not [one for one in plan.carries if "/" in one.file]


@pytest.mark.parametrize(
    "file",
    [FileFacts("2_Dense/pytorch_model.bin", 1000), FileFacts("2_Dense/model.safetensors", MAX_WEIGHTS + 1)],
)
def test_pickled_and_huge_weights_of_a_step_are_told_and_stay(file: FileFacts):
    plan = planned(files=(file,))
    assert codes(plan) == ["pooling-left-out", "pooling-taken-over"]
    assert not [one for one in plan.carries if "/" in one.file]


def test_folders_that_no_step_names_stay():
    plan = planned({**TEXTS, "3_Other/config.json": "{}"})
    assert "3_Other/config.json" not in plan.texts


@pytest.mark.parametrize(
    ("theirs", "differs"),
    [
        ({"1_Pooling/config.json": '{"word_embedding_dimension": 8, "pooling_mode_cls_token": true}'}, True),
        ({"1_Pooling/config.json": '{"embedding_dimension": 8, "pooling_mode": "mean"}'}, False),
        ({"1_Pooling/config.json": '{"word_embedding_dimension": 9, "pooling_mode": "mean"}'}, True),
        ({"modules.json": modules(STEPS).replace("models.", "base.modules.")}, False),
        ({"modules.json": modules(STEPS[:2])}, True),
        ({"modules.json": "[" * 5000}, True),
    ],
)
def test_parents_that_pool_otherwise_are_told(theirs: dict[str, str], differs: bool):
    """However the library's versions write the same."""
    assert ("pooling-differs" in codes(planned(theirs={**TEXTS, **theirs}))) == differs


def test_other_models_have_nothing_of_it():
    assert codes(planned({"config_sentence_transformers.json": "{}"}, {})) == []
