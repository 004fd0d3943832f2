"""The tokenizer block as it is read: what it may hold, and what is told at once."""

from __future__ import annotations

import pytest

from app.recipe.reading import read_recipe
from app.recipe.schema import ModelRef, TokenizerSpec, TokenRule, TokenSource

HEAD = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a/b}, {model: c/d}]\n"


def spec(block: str) -> TokenizerSpec | None:
    reading = read_recipe(HEAD + block)
    assert reading.recipe is not None, reading.findings
    return reading.recipe.tokenizer


def test_everything_a_block_may_hold() -> None:
    found = spec(
        "tokenizer:\n  source: c/d@main\n  pad_to_multiple_of: 64\n  tokens:\n"
        "    <a>: {source: a/b, force: true}\n    <b>: {source: {kind: model_token, model: c/d, token: '5'}}\n"
        "    <c>: {source: {kind: model_token, model: c/d, token_id: 5}}\n    <d>: {source: {kind: zero}}\n    <e>:\n"
    )
    assert found is not None and (found.source, found.pad_to_multiple_of) == (ModelRef("c/d", "main"), 64)
    assert dict(found.tokens) == {
        "<a>": TokenRule(TokenSource("model", ModelRef("a/b")), force=True),
        "<b>": TokenRule(TokenSource("model_token", ModelRef("c/d"), token="5")),
        "<c>": TokenRule(TokenSource("model_token", ModelRef("c/d"), token_id=5)),
        "<d>": TokenRule(TokenSource("zero")),
        "<e>": TokenRule(),
    }
    assert spec("tokenizer_source: base\n") == TokenizerSpec("base", legacy=True)
    assert spec("tokenizer: {}\n") == TokenizerSpec("union")


@pytest.mark.parametrize(
    ("block", "where", "said"),
    [
        ("tokenizer: union", "tokenizer", "key: value"),
        ("tokenizer: {sorce: union}", "tokenizer.sorce", "no key"),
        ("tokenizer: {source: ../x/../y}\ntokenizer_source: base", "tokenizer_source", "not both"),
        ("tokenizer: {pad_to_multiple_of: 0}", "tokenizer.pad_to_multiple_of", "from 1 to 65536"),
        ("tokenizer: {pad_to_multiple_of: 1000000000000}", "tokenizer.pad_to_multiple_of", "from 1 to 65536"),
        ("tokenizer: {tokens: [x]}", "tokenizer.tokens", "names"),
        ("tokenizer: {tokens: {x: 3}}", "tokenizer.tokens.x", "source and force"),
        ("tokenizer: {tokens: {x: {force: 3}}}", "tokenizer.tokens.x.force", "true or false"),
        ("tokenizer: {tokens: {x: {source: {kind: nought}}}}", "tokenizer.tokens.x.source", "one of"),
        ("tokenizer: {tokens: {x: {source: {kind: model_token, model: a/b}}}}", "tokenizer.tokens.x.source", "either"),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a/b, token: [1]}}}}",
            "tokenizer.tokens.x.source.token", "must be text",
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a/b, token_id: '1'}}}}",
            "tokenizer.tokens.x.source.token_id", "0 or more",
        ),
        (
            "tokenizer: {tokens: {x: {source: {kind: model_token, model: a/b, token_id: -1}}}}",
            "tokenizer.tokens.x.source.token_id", "0 or more",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(block: str, where: str, said: str) -> None:
    errors = [one for one in read_recipe(HEAD + block).findings if one.level == "error"]
    assert [one.where for one in errors] == [where]
    assert said in errors[0].text
