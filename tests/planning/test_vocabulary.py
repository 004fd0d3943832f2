"""Which tokens a joined vocabulary has, and which rows of the parents each gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.planning.facts import ModelFacts
from app.planning.plan import Alignment, Plan
from app.planning.plan_merge import make_plan
from app.planning.tokenizer_file import read_tokenizer, write_tokenizer
from app.planning.vocabulary import Known, Rules, count_rows, join, number_tokens
from app.recipe.findings import Refused
from tests.planning.models import Shapes, facts, family, llama_config, llama_shapes, recipe

LINEAR = "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: o/a}, {model: o/b}]\n"
BASED = (
    "merge_method: task_arithmetic\nbase_model: o/a\nparameters: {weight: 1}\nmodels: [{model: o/b}, {model: o/c}]\n"
)


def tokenizer(words: Mapping[str, int], added: Mapping[str, int] | None = None, **flags: bool) -> str:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    listed = [{"id": number, "content": word, **plain, **flags} for word, number in (added or {}).items()]
    return json.dumps(
        {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": listed, "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": dict(words), "unk_token": "?"},
        }
    )  # fmt: skip


def words(*names: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def model(ref: str, text: str | None, rows: int, config: Mapping[str, Any] | None = None, **more: Any) -> ModelFacts:
    texts = {**more.pop("texts", {}), **({"tokenizer.json": text} if text is not None else {})}
    shapes: Shapes = more.pop("shapes", None) or llama_shapes(layers=1, vocab=rows)
    return facts(ref, shapes, config or llama_config(layers=1, vocab=rows), texts=texts, **more)


def known(text: str, rows: int) -> Known:
    file = read_tokenizer(text)
    assert file is not None
    return Known.of(file, rows)


def aligned(plan: Plan, name: str = "model.embed_tokens.weight") -> dict[int, Alignment]:
    return {one.parent: one for one in plan.alignments if one.tensor.name == name}


def refusal(text: str, *models: ModelFacts) -> str:
    with pytest.raises(Refused) as caught:
        make_plan(recipe(text), family(*models))
    return caught.value.findings[0].code


VOCABULARIES = st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(0, 60), min_size=1, max_size=25)


def spread(chosen: Mapping[str, int]) -> dict[str, int]:
    """The same with each id once, gaps kept."""
    taken: dict[int, str] = {}
    for word, number in chosen.items():
        taken.setdefault(number, word)
    return {word: number for number, word in taken.items()}


@given(st.lists(st.tuples(VOCABULARIES, st.integers(0, 70)), min_size=1, max_size=4), st.sampled_from([1, 7, 64]))
def test_a_union_holds_every_token_once_and_every_map_leads_to_its_own_row(drawn, multiple: int):
    vocabularies = [(spread(chosen), rows) for chosen, rows in drawn]
    parents = [known(tokenizer(chosen), rows) for chosen, rows in vocabularies]
    tokens = number_tokens(parents[0], parents[1:])
    rows = count_rows(parents[0], tokens, multiple)
    made = join(parents, 0, tokens, rows, Rules())

    with_row = [{word: number for word, number in chosen.items() if number < limit} for chosen, limit in vocabularies]
    assert tokens.keys() == set().union(*with_row)
    assert len(set(tokens.values())) == len(tokens)
    assert {word: tokens[word] for word in with_row[0]} == with_row[0]
    assert rows % multiple == 0
    assert rows >= max(vocabularies[0][1], *tokens.values(), 0)
    for own, mine, (_, limit) in zip(made.own, with_row, vocabularies, strict=True):
        assert {word: own[row] for word, row in tokens.items() if own[row] >= 0} == mine
        assert all(row < limit for row in own)
        assert len([row for row in own if row >= 0]) == len({row for row in own if row >= 0})
    nameless = set(range(min(rows, vocabularies[0][1]))) - set(tokens.values())
    assert all(made.own[0][row] == row for row in nameless)
    assert number_tokens(parents[0], parents[1:]) == tokens
    assert list(number_tokens(parents[0], parents[1:])) == list(tokens)


def test_new_tokens_come_in_the_order_of_the_recipe_and_of_their_ids():
    base = known(tokenizer(words("?", "a")), 2)
    one, two = known(tokenizer(words("?", "z", "y")), 3), known(tokenizer(words("?", "x", "y", "b")), 4)
    assert number_tokens(base, [one, two], ["new"]) == {"?": 0, "a": 1, "z": 2, "y": 3, "x": 4, "b": 5, "new": 6}


def test_a_token_only_one_parent_has_gets_its_row_everywhere():
    a, b = tokenizer(words("?", "x")), tokenizer({"?": 0, "x": 1, "new": 2})
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(model("o/a", a, 2), model("o/b", b, 3)))
    (alignment,) = aligned(plan).values()
    assert alignment.parent == 0
    assert list(alignment.own) == [0, 1, -1]
    assert alignment.fill == {2: ((1, 2),)}
    assert alignment.tensor.shape == (3, 8)
    assert json.loads(plan.texts["config.json"])["vocab_size"] == 3
    assert Tokenizer.from_str(plan.texts["tokenizer.json"]).get_vocab() == {"?": 0, "x": 1, "new": 2}
    shapes = {step.name: step.shape for step in plan.steps()}
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (3, 8)


def test_the_bases_row_goes_before_the_others_and_else_their_mean():
    a = tokenizer(words("?", "of a"))
    b = tokenizer(words("?", "of b", "both"))
    c = tokenizer(words("?", "both"))
    models = family(model("o/a", a, 2), model("o/b", b, 3), model("o/c", c, 2))
    plan = make_plan(recipe(BASED + "tokenizer_source: union\n"), models)
    # ?, of a, of b, both
    found = aligned(plan)
    assert found[0].fill == {2: ((1, 1),), 3: ((1, 2), (2, 1))}
    assert found[1].fill == {1: ((0, 1),)}
    assert found[2].fill == {1: ((0, 1),), 2: ((1, 1),)}
    assert [list(found[parent].own) for parent in range(3)] == [[0, 1, -1, -1], [0, -1, 1, 2], [0, -1, -1, 1]]
    assert (found[0].tensor.dtype, found[1].tensor.dtype) == ("F32", "BF16")
    assert {step.dtype for step in plan.steps()} == {"BF16"}


def test_padding_is_kept_and_new_tokens_use_it_up_first():
    a, b = tokenizer(words("?", "x")), tokenizer(words("?", "x", "new"))
    models = family(model("o/a", a, 8), model("o/b", b, 4))
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), models)
    found = aligned(plan)
    assert list(found[0].own) == [0, 1, -1, 3, 4, 5, 6, 7]
    assert list(found[1].own) == [0, 1, 2, 3, -1, -1, -1, -1]
    assert found[1].fill == {row: ((0, row),) for row in range(4, 8)}
    assert "vocab_size" not in str([one.text for one in plan.findings if one.code == "config-repaired"])


@pytest.mark.parametrize(("multiple", "rows"), [(1, 3), (2, 4), (64, 64)])
def test_rows_are_rounded_up_with_the_mean_row(multiple: int, rows: int):
    a, b = tokenizer(words("?", "x", "y")), tokenizer(words("?", "y", "x"))
    block = f"tokenizer: {{source: base, pad_to_multiple_of: {multiple}}}\n"
    plan = make_plan(recipe(LINEAR + block), family(model("o/a", a, 3), model("o/b", b, 3)))
    assert list(aligned(plan)[1].own) == [0, 2, 1, *[-1] * (rows - 3)]
    assert aligned(plan)[1].fill == dict.fromkeys(range(3, rows))
    assert (0 in aligned(plan)) == (rows > 3)


def test_a_parent_in_place_is_read_as_it_is():
    a, b = tokenizer(words("?", "x", "y")), tokenizer(words("?", "y", "x"))
    plan = make_plan(recipe(LINEAR + "tokenizer_source: base\n"), family(model("o/a", a, 3), model("o/b", b, 3)))
    assert {one.parent for one in plan.alignments} == {1}
    assert {one.tensor.name for one in plan.alignments} == {"model.embed_tokens.weight", "lm_head.weight"}
    assert set(plan.files_needed) == {(0, "model.safetensors"), (1, "model.safetensors"), (0, "tokenizer.json")}
    assert plan.alignment_bytes == 2 * 3 * 8 * 2


def test_gaps_between_ids_stay_and_tokens_without_a_row_do_not_count():
    a = tokenizer({"?": 0, "x": 5}, {"<gap>": 9, "<far>": 40})
    b = tokenizer({"?": 0, "x": 1}, {"<far>": 2, "<b>": 3})
    models = family(model("o/a", a, 12), model("o/b", b, 4))
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), models)
    vocabulary = Tokenizer.from_str(plan.texts["tokenizer.json"]).get_vocab()
    assert vocabulary == {"?": 0, "x": 5, "<gap>": 9, "<far>": 10, "<b>": 11}
    assert list(aligned(plan)[0].own) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1]
    assert list(aligned(plan)[1].own) == [0, -1, -1, -1, -1, 1, -1, -1, -1, -1, 2, 3]
    assert "tokens-beyond-rows" in [finding.code for finding in plan.findings]


RULES = [
    ("{x: {source: o/b}}", {}, {}),
    ("{x: {source: o/b, force: true}}", {1: ((1, 1),)}, {1: ((1, 1),)}),
    ("{x: {force: true}}", {1: ((0, 1), (1, 1))}, {1: ((0, 1), (1, 1))}),
    ("{n: {source: {kind: zero}}}", {2: ()}, {2: ()}),
    ("{n: {source: {kind: model_token, model: o/a, token: x}}}", {2: ((0, 1),)}, {2: ((0, 1),)}),
    ("{n: {source: {kind: model_token, model: o/b, token_id: 0}}}", {2: ((1, 0),)}, {2: ((1, 0),)}),
]


@pytest.mark.parametrize(("rules", "mine", "theirs"), RULES)
def test_rules_for_single_tokens(rules: str, mine: dict, theirs: dict):
    text = tokenizer(words("?", "x"))
    plan = make_plan(
        recipe(LINEAR + f"tokenizer: {{source: union, tokens: {rules}}}\n"),
        family(model("o/a", text, 2), model("o/b", text, 2)),
    )
    found = aligned(plan)
    assert [found[parent].fill if parent in found else {} for parent in (0, 1)] == [mine, theirs]
    assert "token-without-row" not in [finding.code for finding in plan.findings]


def test_a_token_nobody_has_is_zeros_with_a_warning():
    text = tokenizer(words("?", "x"))
    plan = make_plan(
        recipe(LINEAR + "tokenizer: {tokens: {'<new>': {}}}\n"), family(model("o/a", text, 2), model("o/b", text, 2))
    )
    assert aligned(plan)[0].fill == {2: ()}
    (warning,) = [finding for finding in plan.findings if finding.code == "token-without-row"]
    assert "<new>" in warning.text
    (added,) = json.loads(plan.texts["tokenizer.json"])["added_tokens"]
    assert (added["id"], added["content"], added["special"]) == (2, "<new>", False)


def test_a_tied_head_lends_its_embedding_to_the_others_head():
    tied = llama_shapes(layers=1, vocab=2, head=False)
    a, b = tokenizer(words("?", "x")), tokenizer(words("?", "new", "x"))
    config = llama_config(layers=1, vocab=2, tie_word_embeddings=True)
    plan = make_plan(
        recipe(LINEAR + "tokenizer_source: union\n"),
        family(model("o/a", a, 2, config, shapes=tied), model("o/b", b, 3)),
    )
    steps = {step.name: step for step in plan.steps()}
    assert [one.tensor.name for one in steps["lm_head.weight"].inputs] == [
        "model.embed_tokens.weight",
        "lm_head.weight",
    ]
    assert all(one.tensor.shape == (3, 8) for one in steps["lm_head.weight"].inputs)
    first = next(one for one in plan.alignments if one.tensor == steps["lm_head.weight"].inputs[0].tensor)
    assert first.sources[1].tensor.name == "lm_head.weight"
    assert first.fill == {2: ((1, 1),)}
    assert json.loads(plan.texts["config.json"])["tie_word_embeddings"] is False


def test_another_parents_tokenizer_brings_its_files_and_special_ids():
    a = tokenizer(words("?", "<s>", "</s>", "x"), {"</s>": 2}, special=True)
    b = tokenizer(words("</s>", "?", "<s>", "x", "<|end|>"), {"</s>": 0, "<|end|>": 4}, special=True)
    mine = llama_config(layers=1, vocab=4, bos_token_id=1, eos_token_id=2, pad_token_id=3)
    theirs = llama_config(layers=1, vocab=5, bos_token_id=2, eos_token_id=[0, 4])
    first = model("o/a", a, 4, mine, texts={"generation_config.json": json.dumps({"eos_token_id": 2, "top_k": 3})})
    second = model("o/b", b, 5, theirs, texts={"tokenizer_config.json": '{"eos_token": "<|end|>"}'})
    plan = make_plan(recipe(LINEAR + "tokenizer_source: o/b\n"), family(first, second))
    carried = {(one.parent, one.file) for one in plan.carries}
    assert {(1, "tokenizer.json"), (1, "tokenizer_config.json")} <= carried
    config = json.loads(plan.texts["config.json"])
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, [0, 4], 3)
    assert config["vocab_size"] == 5
    assert json.loads(plan.texts["generation_config.json"]) == {"eos_token_id": 0, "top_k": 3}


def test_equal_vocabularies_still_take_the_tokenizer_asked_for():
    text = tokenizer(words("?", "x"))
    first = model("o/a", text, 2, texts={"tokenizer_config.json": '{"eos_token": "?"}'})
    second = model("o/b", text, 2, texts={"tokenizer_config.json": '{"eos_token": "x"}'})
    plan = make_plan(recipe(LINEAR + "tokenizer_source: o/b\n"), family(first, second))
    assert (1, "tokenizer_config.json") in {(one.parent, one.file) for one in plan.carries}
    assert not plan.alignments


def test_a_nested_vocabulary_size_is_corrected():
    a, b = tokenizer(words("?", "x")), tokenizer(words("?", "x", "new"))
    nested = {**llama_config(layers=1, vocab=2), "vocab_size": None}
    nested = {key: value for key, value in nested.items() if value is not None}
    nested["text_config"] = {"vocab_size": 7}
    models = family(model("o/a", a, 2, nested), model("o/b", b, 3))
    config = json.loads(make_plan(recipe(LINEAR + "tokenizer_source: union\n"), models).texts["config.json"])
    assert config["text_config"] == {"vocab_size": 3}
    assert "vocab_size" not in config


def test_added_tokens_are_listed_wherever_the_owner_lists_them():
    a = tokenizer(words("?", "x"), {"<s>": 2}, special=True)
    b = tokenizer(words("?", "x"), {"<b>": 2}, special=True)
    owner = model(
        "o/a", a, 3, texts={"tokenizer_config.json": '{"added_tokens_decoder": {}}', "added_tokens.json": "{}"}
    )
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(owner, model("o/b", b, 3)))
    listed = json.loads(plan.texts["tokenizer_config.json"])["added_tokens_decoder"]
    assert {number: one["content"] for number, one in listed.items()} == {"2": "<s>", "3": "<b>"}
    assert listed["3"]["special"] is True
    assert json.loads(plan.texts["added_tokens.json"]) == {"<s>": 2, "<b>": 3}


def test_older_vocabulary_files_stay_unless_the_trained_vocabulary_changed():
    files = {"vocab.json": "{}", "merges.txt": ""}
    a, grown = tokenizer(words("?", "x")), tokenizer(words("?", "x", "y"))
    added = tokenizer(words("?", "x"), {"<b>": 2})
    for other, kept in ((grown, False), (added, True)):
        models = family(model("o/a", a, 2, texts=files), model("o/b", other, 3))
        plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), models)
        assert ((0, "vocab.json") in {(one.parent, one.file) for one in plan.carries}) is kept
        assert ("vocabulary-file-left-out" in [one.code for one in plan.findings]) is not kept


def test_a_parent_without_a_tokenizer_is_taken_to_have_the_owners_if_it_fits():
    a = tokenizer(words("?", "x"))
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(model("o/a", a, 2), model("o/b", None, 2)))
    assert "tokenizer-assumed" in [finding.code for finding in plan.findings]
    assert not plan.alignments
    assert refusal(LINEAR + "tokenizer_source: union\n", model("o/a", a, 2), model("o/b", None, 3))


def bpe(merges: list, vocabulary: Mapping[str, int], added: Mapping[str, int] | None = None) -> str:
    content = json.loads(tokenizer({}, added))
    content["model"] = {"type": "BPE", "vocab": dict(vocabulary), "merges": merges}
    return json.dumps(content)


def test_trained_tokens_come_with_their_merges():
    a = bpe([["a", "b"]], words("a", "b", "c", "ab"), {"<a>": 4})
    b = bpe(["b c", "a bc", "a b"], words("c", "b", "a", "bc", "abc", "ab"), {"<b>": 6})
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(model("o/a", a, 5), model("o/b", b, 7)))
    made = Tokenizer.from_str(plan.texts["tokenizer.json"])
    assert made.get_vocab() == {"a": 0, "b": 1, "c": 2, "ab": 3, "<a>": 4, "bc": 5, "abc": 6, "<b>": 7}
    assert made.encode("ab cbc <b>").tokens == ["ab", "c", "bc", "<b>"]
    assert made.encode("x<a>bc").tokens == ["<a>", "bc"]


def test_unigram_pieces_come_with_their_scores_and_gaps_are_refused():
    def unigram(pieces: list, added: Mapping[str, int] | None = None) -> str:
        content = json.loads(tokenizer({}, added))
        content["model"] = {"type": "Unigram", "unk_id": 0, "vocab": pieces}
        return json.dumps(content)

    a = unigram([["?", 0.0], ["x", -2.0], ["y", -2.5]], {"<a>": 3})
    b = unigram([["?", 0.0], ["xy", -1.0]], {"<b>": 2})
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(model("o/a", a, 4), model("o/b", b, 3)))
    made = Tokenizer.from_str(plan.texts["tokenizer.json"])
    assert made.get_vocab() == {"?": 0, "x": 1, "y": 2, "<a>": 3, "xy": 4, "<b>": 5}
    assert made.encode("xyx<b>y").tokens == ["xy", "x", "<b>", "y"]
    gap = unigram([["?", 0.0], ["x", -2.0]], {"<a>": 5})
    assert refusal(LINEAR + "tokenizer_source: union\n", model("o/a", gap, 6), model("o/b", b, 3)) == "tokenizer-ids"


def test_other_ways_of_cutting_text_are_told():
    a, b = tokenizer(words("?", "x")), bpe([], words("\u0120x", "y"))
    plan = make_plan(recipe(LINEAR + "tokenizer_source: union\n"), family(model("o/a", a, 2), model("o/b", b, 2)))
    assert "tokenizer-kinds-differ" in [finding.code for finding in plan.findings]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"model": {"type": "Future", "vocab": {}}}', '{"model": {"type": "BPE", "vocab": {"a": -1}}}',
        '{"model": {"type": "BPE", "vocab": {"a": "0"}}}', '{"model": {"type": "Unigram", "vocab": [["a"]]}}',
        '{"model": {"type": "WordLevel", "vocab": {"\\ud800": 0}}}', '{"a":' * 60 + "1" + "}" * 60,
    ],
)  # fmt: skip
def test_files_that_are_no_tokenizers_are_none(text: str):
    assert read_tokenizer(text) is None


def test_a_file_written_with_its_own_tokens_says_the_same():
    text = bpe([["a", "b"]], words("a", "b", "ab"), {"<a>": 3})
    file = read_tokenizer(text)
    assert file is not None
    again = read_tokenizer(write_tokenizer(file, file.tokens, []))
    assert again is not None
    assert (again.tokens, again.added.keys()) == (file.tokens, file.added.keys())
    assert again.merges_into({"ab"}) == [("a", "b")]
