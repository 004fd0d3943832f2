"""A parent full of traps: what comes out of a merge with it must be clean."""

from __future__ import annotations

import json

import pytest

from app.planning.carried import carried_files, is_carried
from app.planning.facts import FileFacts
from app.planning.plan_merge import make_plan
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe

NEVER = (
    "modeling_evil.py", "tokenization_evil.py", "evil.PY", "pytorch_model.bin", "training_args.bin", "optimizer.pt",
    "model.pkl", "events.pickle", "config.json", "model.safetensors", "model.safetensors.index.json", "LICENSE.py",
    "LICENSE.bin", "license.so", "NOTICE.pkl", "LICENSE.txt.py", "LICENSE\n.txt", "x/LICENSE", "../LICENSE",
    "README.md", "tokenizer.json.py", "tokenizer.json/x", "run.sh", "a.exe", ".git", "generation_config.json.bak",
    "handler.py", "requirements.txt", "Tokenizer.json", "chat_template.jinja.py",
)  # fmt: skip
WITH_TEXT = {
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["evil.T", None]}, "eos_token": "</s>"},
    "generation_config.json": {"_from_model_config": True, "eos_token_id": 2},
    "preprocessor_config.json": {
        "auto_map": {"AutoProcessor": "evil.P"},
        "size": 2,
        "deep": [{"auto_map": {"x": "y"}}],
    },
    "processor_config.json": {"processor_class": "LlavaProcessor"},
    "chat_template.jinja": "{{ ''.__class__.__mro__ }}",
}
PLAIN = ("tokenizer.json", "tokenizer.model", "merges.txt", "LICENSE", "LICENCE.md", "NOTICE.txt", "LICENSE-MIT")


def poisoned(ref: str = "o/a"):
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in WITH_TEXT.items()}
    files = tuple(FileFacts(name, 10) for name in (*NEVER, *PLAIN) if name != "model.safetensors")
    config = llama_config(auto_map={"AutoModel": "evil.M"}, _attn_implementation="someone/kernel")
    return facts(ref, llama_shapes(), config, texts=texts, files=files)


@pytest.mark.parametrize("name", NEVER)
def test_never_carried(name: str):
    assert not is_carried(name)


@pytest.mark.parametrize("name", PLAIN)
def test_carried(name: str):
    assert is_carried(name)


def test_poisoned_parent_clean_result():
    plan = make_plan(recipe("merge_method: passthrough\nmodels: [{model: o/a}]\n"), family(poisoned()))
    carried = {carry.file for carry in plan.carries}
    assert carried == {*PLAIN, "generation_config.json", "processor_config.json", "chat_template.jinja"}
    assert set(plan.texts) == {
        "config.json", "mergekit_config.yml", "tokenizer_config.json", "preprocessor_config.json",
    }  # fmt: skip
    assert not any(word in "".join(plan.texts.values()) for word in ("auto_map", "evil", "kernel"))
    assert json.loads(plan.texts["tokenizer_config.json"]) == {"eos_token": "</s>"}
    assert json.loads(plan.texts["preprocessor_config.json"]) == {"size": 2, "deep": [{}]}
    assert "custom-code" in [finding.code for finding in plan.findings]


def test_a_config_that_cannot_be_looked_into_stays_behind():
    listed = tuple(FileFacts(name, 10) for name in ("tokenizer_config.json", "preprocessor_config.json"))
    model = facts(
        "o/a", llama_shapes(), texts={"tokenizer_config.json": '{"auto_map": 1, "auto_map": 2}'}, files=listed
    )
    found = carried_files(0, [model], None)
    assert found.carries == ()
    assert found.texts == {}
    assert [finding.code for finding in found.findings] == ["file-left-out", "file-left-out"]
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    assert carried_files(0, [facts("o/a", {}, texts={"tokenizer_config.json": deep})], None).texts == {}


TEMPLATE = "{% for message in messages %}{{ message }}{% endfor %}"


def test_template_of_the_recipe_replaces_the_donors():
    model = facts("o/a", llama_shapes(), texts={
        "tokenizer_config.json": json.dumps({"chat_template": "old {{ x }}", "eos_token": "</s>"}),
        "chat_template.jinja": "older {{ x }}",
    })  # fmt: skip
    found = carried_files(0, [model], TEMPLATE)
    assert found.texts["chat_template.jinja"] == TEMPLATE
    assert json.loads(found.texts["tokenizer_config.json"]) == {"eos_token": "</s>"}
    assert found.carries == ()


def test_most_frequent_template():
    inline = facts("o/a", {}, texts={"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE + "\n"})})
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": TEMPLATE}]
    several = facts("o/b", {}, texts={"tokenizer_config.json": json.dumps({"chat_template": named})})
    other = facts("o/c", {}, texts={"chat_template.jinja": "other {{ x }}"})
    broken = facts("o/e", {}, texts={"tokenizer_config.json": '{"chat_template": "{{ x }}\\ud800"}'})
    assert carried_files(0, [broken], "auto").texts["chat_template.jinja"].encode() == b"{{ x }}?"
    none = facts("o/d", {}, texts={"tokenizer_config.json": '{"chat_template": 7}'})
    assert carried_files(0, [other, inline, several, none], "auto").texts["chat_template.jinja"] == TEMPLATE
    assert "chat_template.jinja" not in carried_files(0, [none], "auto").texts
