"""Whose config and files the result gets: always the same parent's, and all of its files that matter."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from app.planning.facts import FileFacts
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.settings import ROOT
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe
from tests.support.tiny_models import SPECIAL

LINEAR = "merge_method: linear\nmodels:\n" + "".join(
    f"- {{model: o/{name}, parameters: {{weight: 1}}}}\n" for name in ("third", "first", "second")
)
SHIPPED = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "merges.txt", "vocab.json", "chat_template.jinja", "generation_config.json", "preprocessor_config.json",
    "LICENSE", "NOTICE.txt",
)  # fmt: skip


def planned(text: str) -> Plan:
    """Three fine-tunes, each with settings and files of its own."""
    models = []
    for number, name in enumerate(("first", "second", "third")):
        texts = {
            "generation_config.json": json.dumps({"eos_token_id": number}),
            "tokenizer_config.json": json.dumps({"model_max_length": number}),
            "preprocessor_config.json": "{}",
            "chat_template.jinja": f"{{{{ {number} }}}}",
        }
        files = tuple(FileFacts(file, 5, oid=f"{number:040}") for file in SHIPPED if file not in texts)
        code = tuple(FileFacts(file, 5) for file in ("modeling.py", "pytorch_model.bin", "sub/x.json", "optimizer.pt"))
        models.append(
            facts(f"o/{name}", llama_shapes(), llama_config(rope_theta=number), texts=texts, files=(*files, *code))
        )
    return make_plan(recipe(text), family(*models))


@pytest.mark.parametrize(
    ("more", "donor"), [("", "third"), ("base_model: o/second\n", "second"), ("base_model: o/first\n", "first")]
)
def test_the_base_else_the_first_that_is_listed(more: str, donor: str):
    plan = planned(LINEAR.replace("linear", "task_arithmetic") + more if more else LINEAR)
    names = [one.ref for one in plan.parents]
    assert json.loads(plan.texts["config.json"])["rope_theta"] == ("first", "second", "third").index(donor)
    assert {names[carry.parent] for carry in plan.carries} == {f"o/{donor}"}


def test_everything_beside_the_weights_comes_along_and_no_code():
    plan = planned(LINEAR)
    brought = {carry.file for carry in plan.carries} | plan.texts.keys()
    assert set(SHIPPED) <= brought
    assert not {name for name in brought if name.endswith((".py", ".bin", ".pt")) or "/" in name}


def test_a_joined_vocabulary_keeps_generation_config_and_chat_template():
    entries = {token: number for number, token in enumerate(SPECIAL)}
    models = []
    for name, more in (("a", "alpha"), ("b", "beta")):
        vocabulary = {**entries, more: len(entries)}
        texts = {
            "tokenizer.json": json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}}),
            "generation_config.json": json.dumps({"eos_token_id": 2, "temperature": 0.5}),
            "chat_template.jinja": "{{ messages }}",
        }
        models.append(facts(f"o/{name}", llama_shapes(vocab=8), llama_config(vocab=8), texts=texts))
    text = "merge_method: linear\nmodels:\n" + "".join(
        f"- {{model: o/{one}, parameters: {{weight: 1}}}}\n" for one in "ab"
    )
    plan = make_plan(recipe(text + "tokenizer: {source: union}\n"), family(*models))
    assert "beta" in plan.texts["tokenizer.json"]
    assert {"generation_config.json", "chat_template.jinja"} <= {carry.file for carry in plan.carries}


def test_hashes_of_the_process_decide_nothing():
    """Sets are in another order in every process; a plan is not."""
    code = "from tests.planning import test_donor; print(test_donor.fingerprint())"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert told == {fingerprint() + "\n"}


def fingerprint() -> str:
    """Stands for everything a plan says."""
    plan = planned(LINEAR)
    told = repr((plan.texts, plan.carries, plan.shards, plan.findings))
    return hashlib.sha256(told.encode()).hexdigest()
