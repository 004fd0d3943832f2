"""A mixture's recipe: as it is published, as it is written, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experts.reading import LONGEST_PROMPT, MOST_EXPERTS, MOST_PROMPTS
from app.experts.wanted import (
    ARCHITECTURES,
    DTYPES,
    GATE_MODES,
    Expert,
    WantedMixture,
    is_mixture,
    read_mixture,
    write_mixture,
)
from app.recipe.findings import Refused
from app.recipe.schema import ModelRef

PUBLISHED = """\
base_model: mlabonne/Marcoro14-7B-slerp
gate_mode: hidden
dtype: bfloat16
experts:
  - source_model: openchat/openchat-3.5-1210
    positive_prompts:
    - "chat"
    - "tell me, as if: I was five"
    negative_prompts: ["code"]
  - source_model: "beowolx/CodeNinja-1.0-OpenChat-7B@main"
    positive_prompts: ["code", "python",]
shared_experts:
  - source_model: ../a folder/model
    positive_prompts: # required by Qwen MoE
      - "blah blah"
    residual_scale: 0.1
"""
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
refs = st.builds(
    ModelRef, st.from_regex(r"[a-z][a-z0-9]{0,8}/[a-zA-Z0-9._-]{1,12}", fullmatch=True).filter(lambda x: ".." not in x),
    st.none() | st.sampled_from(["main", "v1.0", "a" * 40]),
)  # fmt: skip
prompts = st.lists(texts, max_size=3).map(tuple)
experts = st.lists(
    st.builds(
        Expert, refs, prompts, prompts, st.just(0.0),
        st.none() | st.floats(-10, 10, allow_nan=False, allow_subnormal=False),
    ),
    min_size=1, max_size=4,
).map(tuple)  # fmt: skip
mixtures = st.builds(
    WantedMixture, refs, experts, st.just(()) | experts, st.sampled_from(sorted(GATE_MODES)), st.sampled_from(DTYPES),
    st.integers(1, MOST_EXPERTS), st.none() | st.sampled_from(sorted(ARCHITECTURES)), st.integers(0, 2**63 - 1),
)  # fmt: skip


def refused(text: str) -> dict[str, str]:
    with pytest.raises(Refused) as problem:
        read_mixture(text)
    return {one.where: f"{one.code}: {one.text} {one.fix}" for one in problem.value.findings}


def test_a_published_recipe_is_read() -> None:
    wanted = read_mixture(PUBLISHED)
    assert wanted.base == ModelRef("mlabonne/Marcoro14-7B-slerp")
    assert wanted.experts[0].positive == ("chat", "tell me, as if: I was five")
    assert wanted.experts[0].negative == ("code",)
    assert wanted.experts[1].source == ModelRef("beowolx/CodeNinja-1.0-OpenChat-7B", "main")
    assert wanted.shared[0].residual == 0.1
    assert (wanted.experts_per_token, wanted.gate_mode, wanted.architecture) == (2, "hidden", None)
    assert read_mixture(write_mixture(wanted)) == wanted


@given(mixtures)
def test_what_is_written_is_read_again(wanted: WantedMixture) -> None:
    assert read_mixture(write_mixture(wanted)) == wanted
    assert WantedMixture.of_params(json.loads(json.dumps(wanted.as_params()))) == wanted
    assert is_mixture(write_mixture(wanted))


@pytest.mark.parametrize(("said", "means"), [("qwen", "qwen2_moe"), ("qwen3", "qwen3_moe"), ("Mixtral", "mixtral")])
def test_architectures_have_older_names(said: str, means: str) -> None:
    assert read_mixture(f"{PUBLISHED}architecture: {said}\n").architecture == means


def test_what_is_wrong_is_told_all_at_once_with_what_was_meant() -> None:
    told = refused(
        "base_modl: o/a\ngate_mode: hiden\narchitecture: deepseek\ndtype: int4\nexperts_per_token: two\n"
        "experts:\n- source_modl: o/b\n- {source_model: o/c, noise_scale: 0.1, positive_prompts: one}\n- o/d\n"
    )
    assert {place: text.partition(":")[0] for place, text in told.items()} == {
        "base_modl": "unknown-key", "base_model": "missing-model", "gate_mode": "bad-value",
        "architecture": "needs-code", "dtype": "bad-value", "experts_per_token": "bad-value",
        "experts[0].source_modl": "unknown-key", "experts[0].source_model": "missing-model",
        "experts[1].noise_scale": "noise-unknown", "experts[1].positive_prompts": "bad-prompts",
        "experts[2]": "missing-model",
    }  # fmt: skip
    assert 'Did you mean "base_model"?' in told["base_modl"]
    assert 'Did you mean "hidden"?' in told["gate_mode"]
    assert 'Did you mean "source_model"?' in told["experts[0].source_modl"]
    assert "executed" in told["architecture"]


PROMPTED = "base_model: o/a\nexperts: [{{source_model: o/b, positive_prompts: [{}]}}]\n"
HOSTILE = {
    "": "not-a-mixture",
    "- a\n- b\n": "not-a-mixture",
    "base_model: o/a\n---\nbase_model: o/b\n": "not-a-mixture",
    "base_model: &a o/a\nexperts: [{source_model: *a}]\n": "yaml-not-allowed",
    "base_model: !!python/object:os.system x\n": "yaml-not-allowed",
    "experts: " + "[" * 50 + "\n": "too-deep",
    "base_model: o/a\nexperts: []\n": "no-experts",
    "base_model: https://huggingface.co/o/a\nexperts: [{source_model: o/b}]\n": "bad-reference",
    "base_model: o/a@../../etc\nexperts: [{source_model: o/b}]\n": "bad-reference",
    "base_model: {a: b}\nexperts: [{source_model: [o/b]}]\n": "missing-model",
    "base_model: o/a\nexperts: {source_model: o/b}\n": "not-a-list",
    "base_model: o/a\nexperts: [{source_model: o/b, positive_prompts: [yes]}]\n": "bad-prompts",
    "base_model: o/a\nexperts: [{source_model: o/b, residual_scale: .inf}]\n": "bad-value",
    "base_model: o/a\nseed: -1\nexperts: [{source_model: o/b}]\n": "bad-value",
    "base_model: o/a\nexperts_per_token: true\nexperts: [{source_model: o/b}]\n": "bad-value",
    f"base_model: o/a\nexperts: [{'{source_model: o/b}, ' * (MOST_EXPERTS + 1)}]\n": "too-many-experts",
    PROMPTED.format("a, " * (MOST_PROMPTS + 1)): "too-many-prompts",
    PROMPTED.format("a" * (LONGEST_PROMPT + 1)): "prompt-too-long",
    "base_model: o/a\n" + "x" * 200_000: "recipe-too-long",
}  # fmt: skip


@pytest.mark.parametrize(("text", "code"), HOSTILE.items(), ids=lambda text: text[:40])
def test_hostile_recipes_are_refused_with_a_reason(text: str, code: str) -> None:
    assert code in {told.partition(":")[0] for told in refused(text).values()}


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (PUBLISHED, True), ('"experts": []\n', True), ("gate_mode : random", True), ("merge_method: ties\n", False),
        ("models:\n- {model: o/a, parameters: {experts: 1}}\n", False), ("# experts:\n", False), ("", False),
    ],
)  # fmt: skip
def test_whether_a_text_is_one_is_seen_without_reading_it(text: str, is_one: bool) -> None:
    assert is_mixture(text) is is_one
