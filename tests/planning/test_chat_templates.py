"""Chat templates by name, against conversations written out by hand. They are rendered here, never in the app."""

from __future__ import annotations

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.planning.chat_templates import BUILT_IN, chat_template_of, chosen_template
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from tests.planning.models import facts, family, llama_shapes, recipe

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Bye."},
]
LLAMA = "<|start_header_id|>{}<|end_header_id|>\n\n{}"
EXPECTED = {
    "alpaca": "Be kind.\n\n### Instruction:\nHello?\n\n### Response:\nHi.</s>\n\n### Instruction:\nBye.\n\n"
    "### Response:\n",
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n"
    "<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nBye.<|im_end|>\n<|im_start|>assistant\n",
    "exaone": "[|system|]Be kind.[|endofturn|]\n[|user|]Hello?\n[|assistant|]Hi.[|endofturn|]\n[|user|]Bye.\n"
    "[|assistant|]",
    "llama3": "<s>" + "".join(LLAMA.format(one["role"], one["content"] + "<|eot_id|>") for one in TALK)
    + LLAMA.format("assistant", ""),
    "mistral": "<s>[INST] Be kind.\n\nHello? [/INST] Hi.</s>[INST] Bye. [/INST]",
}  # fmt: skip


def rendered(name: str, messages: list) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(BUILT_IN[name])
    return template.render(messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_conversation(name: str):
    assert rendered(name, TALK) == EXPECTED[name]
    assert BUILT_IN.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_conversation_without_a_system_message(name: str):
    assert "Be kind." not in rendered(name, TALK[1:])
    assert "Hello?" in rendered(name, TALK[1:])


@pytest.mark.parametrize("text", ["chatml", "auto", "{{ messages }} and some more text"])
def test_the_template_stands_beside_the_result_and_nowhere_else(text: str):
    mine = '{"chat_template": "{{ mine }}", "eos_token": "x"}'
    models = family(
        *(facts(f"o/{name}", llama_shapes(), texts={"tokenizer_config.json": mine}) for name in "ab"),
        facts("o/c", llama_shapes(), texts={"chat_template.jinja": "{{ other }}"}),
    )
    listed = "models: [{model: o/c}, {model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"
    plan = make_plan(recipe(f'merge_method: linear\n{listed}chat_template: "{text}"\n'), models)
    expected = {"chatml": BUILT_IN["chatml"], "auto": "{{ mine }}"}.get(text, text)
    assert plan.texts["chat_template.jinja"] == expected
    assert "chat_template.jinja" not in [one.file for one in plan.carries]


def test_an_unknown_name_is_refused_with_a_guess():
    with pytest.raises(Refused, match=r'Did you mean "chatml"\?'):
        chosen_template("chatm", [])
    with pytest.raises(Refused, match="mistral"):
        chosen_template("nothing like it", [])
    assert chosen_template("auto", [facts("o/a", {})]) is None


def test_a_models_template_is_found_wherever_it_is_kept():
    named = '{"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]}'
    assert chat_template_of(facts("o/a", {}, texts={"tokenizer_config.json": named})) == "d"
    assert chat_template_of(facts("o/a", {}, texts={"tokenizer_config.json": "{"})) is None
