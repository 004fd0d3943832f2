"""Do two tokenizers agree, from their files alone."""

from __future__ import annotations

import json

import pytest

from app.planning.facts import FileFacts
from app.planning.plan_merge import make_plan
from app.planning.tokenizers import agreement, difference, read_vocabulary
from app.recipe.findings import Refused
from tests.planning.models import GOLDEN, facts, family, folder_facts, llama_shapes, recipe


def tokenizer(vocabulary, added: dict[str, int] | None = None) -> str:
    listed = [{"id": number, "content": token} for token, number in (added or {}).items()]
    return json.dumps({"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": listed})


def with_tokenizer(ref: str, text: str, shapes: dict | None = None):
    return facts(ref, shapes if shapes is not None else llama_shapes(), texts={"tokenizer.json": text})


def test_vocabularies():
    found = read_vocabulary(tokenizer({"a": 0, "b": 1}, {"<s>": 2, "a": 0}))
    assert found is not None
    assert found.tokens == {"a": 0, "b": 1, "<s>": 2}
    assert found.added == {"<s>"}
    unigram = read_vocabulary(tokenizer([["<unk>", 0.0], ["x", -1.5]]))
    assert unigram is not None
    assert unigram.tokens == {"<unk>": 0, "x": 1}
    for bad in ("", "[]", "{}", "null", '{"model": 3}', '{"model": {"vocab": 3}}', "[" * 100_000):
        assert read_vocabulary(bad) is None


def test_agreement_by_content():
    a = with_tokenizer("o/a", tokenizer({"a": 0, "b": 1}))
    assert agreement(a, with_tokenizer("o/b", tokenizer({"b": 1, "a": 0}))) == "same"
    assert agreement(a, with_tokenizer("o/b", tokenizer({"a": 1, "b": 0}))) == "different"
    assert agreement(a, facts("o/b", {})) == "unknown"
    other = with_tokenizer("o/b", tokenizer({"a": 1, "b": 0, "c": 2}))
    assert difference(a, other) == "1 token more, 2 tokens with another id"


@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        ({"sha256": "x"}, {"sha256": "x"}, "same"),
        ({"sha256": "x"}, {"sha256": "y"}, "unknown"),
        ({"oid": "x"}, {"oid": "x"}, "same"),
        ({}, {}, "unknown"),
    ],
)
def test_agreement_by_the_files_identity(mine: dict, theirs: dict, result: str):
    a = facts("o/a", {}, files=(FileFacts("tokenizer.json", 10, **mine),))
    b = facts("o/b", {}, files=(FileFacts("tokenizer.json", 10, **theirs),))
    assert agreement(a, b) == result


def test_golden_models():
    base, code, grown = (folder_facts(GOLDEN / "models" / name, name) for name in ("base", "code", "grown"))
    assert agreement(base, code) == "same"
    assert agreement(base, grown) == "different"


TEXT = "merge_method: linear\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"


@pytest.mark.parametrize(
    "block",
    [
        "tokenizer_source: union\n",
        "tokenizer_source: base\n",
        "tokenizer: {source: union}\n",
        "tokenizer: {source: o/a, pad_to_multiple_of: 8}\n",
    ],
)
def test_equal_vocabularies_need_no_joining(block: str):
    models = family(*(with_tokenizer(f"o/{x}", tokenizer({"a": 0})) for x in "ab"))
    assert "tokenizers-equal" in [finding.code for finding in make_plan(recipe(TEXT + block), models).findings]


@pytest.mark.parametrize(
    ("block", "other", "say"),
    [
        ("tokenizer_source: union\n", "{}", "cannot be read"),
        ("tokenizer: {source: o/zzz}\n", tokenizer({"a": 1}), "none of the models"),
        ("tokenizer_source: o/zzz\n", tokenizer({"a": 0}), "none of the models"),
        ("tokenizer: {source: base, tokens: {a: {source: o/zzz}}}\n", tokenizer({"a": 0}), "none of the models"),
        ("tokenizer: {source: base, tokens: {b: {source: o/b}}}\n", tokenizer({"a": 0}), "no token"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_the_reason(block: str, other: str, say: str):
    models = family(with_tokenizer("o/a", tokenizer({"a": 0})), with_tokenizer("o/b", other))
    with pytest.raises(Refused, match=say) as caught:
        make_plan(recipe(TEXT + block), models)
    assert [finding.code for finding in caught.value.findings] in (["tokenizer-not-supported"], ["no-such-token"])
