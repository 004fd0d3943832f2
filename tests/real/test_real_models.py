"""SmolLM2-135M-Instruct and its two specialists: rebuilt faithfully, and each better at what it was continued on.

With 40 windows instead of 4 the perplexities are those of tests/adapters/README.md (scripture: 37.4, 36.4 and 29.9).
What is measured here is kept for the browser's tests.
"""

from __future__ import annotations

import json

import pytest

from tests.support.asking import answer, load, measure, tokenizer_of
from tests.support.checkpoints import read_dtypes, read_tensors
from tests.support.real_models import RealModels, prepare

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def models() -> RealModels:
    return prepare()


@pytest.fixture(scope="module")
def base(models: RealModels):
    return load(models.base)


@pytest.fixture(scope="module")
def measured(models: RealModels) -> dict[str, dict[str, float]]:
    return measure(models)


def test_preparing_twice_gives_the_same_folders(models: RealModels):
    assert prepare() == models


def test_the_folders_are_whole_checkpoints_in_bfloat16(models: RealModels):
    for folder in (models.base, models.python, models.scripture):
        assert set(read_dtypes(folder).values()) == {"bfloat16"}
        assert sum(values.size for values in read_tensors(folder).values()) == 134_515_008
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        }


def test_an_adapter_changes_every_linear_layer_a_little_and_nothing_else(models: RealModels):
    base = read_tensors(models.base)
    for folder in (models.python, models.scripture):
        tuned = read_tensors(folder)
        assert tuned.keys() == base.keys()
        for name, values in base.items():
            change = abs(tuned[name] - values).max()
            assert (0 < change < 0.2) if "_proj." in name else change == 0, (name, change)


def test_text_survives_the_tokenizer_and_digits_stand_alone(base):
    tokenizer = tokenizer_of(base)
    text = "In the year 1611 — naïve café 漢字\n    def loom(self):\n\treturn 42"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.tokenize("1611") == ["1", "6", "1", "1"]
    special = tokenizer("<|im_start|>user\nHello<|im_end|>").input_ids
    assert (special[0], special[-1]) == (1, 2)


def test_chat_template_and_special_tokens_come_from_the_file(base, models: RealModels):
    told = json.loads((models.base / "tokenizer_config.json").read_text())
    assert (told["bos_token"], told["eos_token"], told["unk_token"]) == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    asked = tokenizer_of(base).apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, tokenize=False
    )
    assert asked.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert asked.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_the_base_reads_as_well_as_measured_and_knows_a_capital(base, measured):
    assert measured["base"]["scripture"] == pytest.approx(37.54, rel=0.01)
    assert measured["base"]["python"] == pytest.approx(11.9, rel=0.25)  # the text is the interpreter's own library
    assert "Paris" in answer(base, "What is the capital of France?")


@pytest.mark.parametrize(
    ("name", "scripture", "python_ratio"), [("python", 36.61, 0.759), ("scripture", 31.71, 0.998)]
)  # fmt: skip
def test_a_specialist_reads_its_own_text_better(name, scripture, python_ratio, models: RealModels, measured):
    assert measured[name]["scripture"] == pytest.approx(scripture, rel=0.01)
    assert measured[name]["python"] / measured["base"]["python"] == pytest.approx(python_ratio, abs=0.07)
    assert "Paris" in answer(getattr(models, name), "What is the capital of France?")
