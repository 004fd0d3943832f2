"""Remarks before a merge: few, and the right ones."""

from __future__ import annotations

import json

import pytest

from app.planning.check import check
from app.planning.facts import FileFacts
from app.recipe.findings import Finding
from app.recipe.schema import Recipe
from tests.planning.models import GOLDEN as GOLDEN_FOLDER
from tests.planning.models import facts, family, golden_facts, llama_config, llama_shapes, recipe

LINEAR = "merge_method: linear\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"
TASK = (
    "merge_method: task_arithmetic\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"
)


def found(text: str, *models) -> dict[str, Finding]:
    remarks = check(recipe(text), family(*models))
    assert len({remark.code for remark in remarks}) == len(remarks), "one remark of a kind"
    return {remark.code: remark for remark in remarks}


def pair(a: dict | None = None, b: dict | None = None, **both):
    return facts("o/a", llama_shapes(), **both, **(a or {})), facts("o/b", llama_shapes(), **both, **(b or {}))


def test_all_well():
    tokenizer = json.dumps({"model": {"vocab": {"a": 0}}})
    models = pair(licence="llama3.1", texts={"tokenizer.json": tokenizer})
    remarks = found(LINEAR, *models)
    assert {code: remark.level for code, remark in remarks.items()} == {
        "same-architecture": "info",
        "tokenizers-agree": "info",
        "licences-agree": "info",
    }
    assert remarks["same-architecture"].text == "Same architecture, 39 of 39 tensors line up."
    assert remarks["licences-agree"].text == "Licence: llama3.1 for all parents."


def test_golden_family():
    made = recipe((GOLDEN_FOLDER / "cases/ties/recipe.yml").read_text())
    codes = [remark.code for remark in check(made, golden_facts(made))]
    assert codes == ["same-architecture", "tokenizers-agree", "lineage-unknown"]


def test_single_parent_is_not_compared():
    assert found("merge_method: passthrough\nmodels: [{model: o/a}]\n", facts("o/a", llama_shapes())) == {}


def test_architectures():
    other = llama_config(architectures=["MistralForCausalLM"])
    remark = found(LINEAR, facts("o/a", llama_shapes()), facts("o/b", llama_shapes(), other))["architectures-differ"]
    assert remark.level == "warning"
    assert "o/a: LlamaForCausalLM; o/b: MistralForCausalLM" in remark.text
    assert "39 of 39" in remark.text


def test_tensors_that_do_not_line_up_are_counted():
    remark = found(LINEAR, facts("o/a", llama_shapes(head=False)), facts("o/b", llama_shapes()))["same-architecture"]
    assert "38 of 39" in remark.text
    far = found(LINEAR, facts("o/a", llama_shapes(hidden=16)), facts("o/b", llama_shapes()))
    assert "same-architecture" not in far


def test_tokenizers_and_templates():
    mine = {"tokenizer.json": json.dumps({"model": {"vocab": {"a": 0, "b": 1}}}), "chat_template.jinja": "{{a}}"}
    theirs = {"tokenizer.json": json.dumps({"model": {"vocab": {"a": 1, "b": 0}}}), "chat_template.jinja": "{{b}}"}
    remarks = found(LINEAR, *pair({"texts": mine}, {"texts": theirs}))
    assert "2 tokens with another id" in remarks["tokenizers-differ"].text
    assert "the result has o/a's" in remarks["tokenizers-differ"].text
    agree = found(LINEAR, *pair({"texts": mine}, {"texts": mine | {"chat_template.jinja": "{{b}}"}}))
    assert agree["tokenizers-agree"].text == "Tokenizers agree. The chat templates differ; the result has o/a's."
    unknown = found(LINEAR, *pair(files=(FileFacts("tokenizer.model", 5),)))
    assert unknown["tokenizers-unknown"].level == "info"


MIXED = (
    "name: soup\nmerge_method: linear\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n%s"
    "---\nmerge_method: linear\nmodels: [{model: soup}, {model: o/%s}]\nparameters: {weight: 1}\n"
)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("", "a", ["soup"]),
        ("", "b", ["soup", "last document"]),
        ("tokenizer_source: union\n", "a", []),
        ("tokenizer_source: union\n", "b", []),
    ],
)
def test_the_document_that_mixes_tokens_up_is_named(first: str, last: str, told: list[str]) -> None:
    texts = [{"tokenizer.json": json.dumps({"model": {"vocab": ids}})} for ids in ({"a": 0, "b": 1}, {"a": 1, "b": 0})]
    models = pair({"texts": texts[0]}, {"texts": texts[1]})
    remarks = check(recipe(MIXED % (first, last)), family(*models))
    assert [one.where for one in remarks if one.code == "tokenizers-differ"] == told
    assert not [one for one in remarks if one.code == "tokenizers-agree"]


def test_that_tokenizers_agree_is_told_once_for_all_documents() -> None:
    texts = {"tokenizer.json": json.dumps({"model": {"vocab": {"a": 0}}})}
    remarks = found(MIXED % ("", "b"), *pair(texts=texts))
    assert remarks["tokenizers-agree"].where == ""


def test_donor_is_the_base():
    texts = [{"tokenizer.json": "{}", "chat_template.jinja": one} for one in ("{{a}}", "{{b}}", "{{c}}")]
    models = [facts(f"o/{x}", llama_shapes(), texts=text) for x, text in zip(("a", "b", "base"), texts, strict=True)]
    assert any("the result has o/base's" in remark.text for remark in found(TASK, *models).values())


def test_settings_and_special_tokens():
    b = llama_config(rope_theta=1e6, eos_token_id=9, layer_types=["x"] * 4)
    models = (
        facts("o/a", llama_shapes(), llama_config(rope_theta=1e4, eos_token_id=2)),
        facts("o/b", llama_shapes(), b),
    )
    remarks = found(LINEAR, *models)
    assert "rope_theta 10000.0 in o/a, 1000000.0 in o/b" in remarks["configs-differ"].text
    assert "eos_token_id 2 in o/a, 9 in o/b" in remarks["special-tokens-differ"].text
    assert "layer_types" not in remarks["configs-differ"].text


def test_dtypes():
    models = facts("o/a", llama_shapes()), facts("o/b", llama_shapes(), dtype="F16")
    assert "o/a BF16, o/b F16" in found(LINEAR, *models)["dtypes-differ"].text
    assert "dtypes-differ" not in found(LINEAR + "dtype: bfloat16\n", *models)


@pytest.mark.parametrize(
    ("a", "b", "code", "says"),
    [
        ("apache-2.0", "cc-by-nc-4.0", "licence-non-commercial", "o/b: not for commercial use"),
        ("apache-2.0", None, "licence-unknown", "The licence of o/b is not known"),
        ("apache-2.0", "other", "licence-unknown", "The licence of o/b is not known"),
        ("apache-2.0", "llama3.1", "licences-differ", "apache-2.0: o/a; llama3.1: o/b"),
        ("mit", "mit", "licences-agree", "Licence: mit"),
        ("cc-by-nc-4.0", "cc-by-nc-4.0", "licences-agree", "cc-by-nc-4.0"),
    ],
)
def test_licences(a: str | None, b: str | None, code: str, says: str):
    remarks = found(LINEAR, *pair({"licence": a}, {"licence": b}))
    assert [one for one in remarks if one.startswith("licence")] == [code]
    assert says in remarks[code].text


def test_folders_without_any_licence_are_not_reproached():
    assert not [code for code in found(LINEAR, *pair()) if code.startswith("licence")]


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        (("o/base",), ("O/Base",), "same-lineage"),
        (("o/root",), ("o/base",), "same-lineage"),
        (("x/y",), ("o/base",), "lineage-differs"),
        ((), ("o/base",), "lineage-unknown"),
        ((), (), "lineage-unknown"),
    ],
)
def test_lineage(a: tuple[str, ...], b: tuple[str, ...], code: str):
    base = facts("o/base", llama_shapes(), base_models=("o/root",))
    remarks = found(TASK, base, *pair({"base_models": a}, {"base_models": b}))
    assert [one for one in remarks if "lineage" in one] == [code]
    assert remarks[code].level == "info"


def test_gated_and_private():
    remarks = found(LINEAR, *pair({"gated": True}, {"private": True}))
    assert remarks["gated"].text.startswith("o/a")
    assert remarks["private"].text.startswith("o/b")


def test_same_weights_twice():
    weights = (FileFacts("model.safetensors", 1, sha256="x"),)
    a, b = pair()
    twins = [type(a)(one.ref, one.config, one.tensors, weights) for one in (a, b)]
    assert "o/b and o/a have the same weights" in found(LINEAR, *twins)["same-weights"].text
    assert "same-weights" not in found(LINEAR, a, b)


def test_what_the_recipe_lacks():
    bare = Recipe("ties", models=recipe(LINEAR).models)
    codes = [remark.code for remark in check(bare, family(*pair())) if remark.level == "error"]
    assert codes == ["missing-base"]


def test_parents_without_facts_are_left_out():
    assert check(recipe(LINEAR), {}) == ()
    assert check(Recipe("nothing-known"), {}) == ()


@pytest.mark.parametrize(
    ("text", "matched"),
    [("mlp", True), ("o_proj", True), ("layers.77.mlp", True), ("lm_head", True), ("atention", False)],
)
def test_a_filter_without_a_match_is_told(text: str, matched: bool):
    """A number does not count: a stack has layers that no parent has."""
    setting = f"{{weight: [{{filter: {text}, value: 0}}, {{filter: '*', value: 1}}]}}"
    remarks = found(LINEAR.replace("{weight: 1}", setting), *pair())
    assert ("filter-matches-nothing" not in remarks) == matched
    if not matched:
        remark = remarks["filter-matches-nothing"]
        assert (remark.level, remark.where) == ("warning", "weight")
        assert 'No tensor has "atention" in its name' in remark.text


@pytest.mark.parametrize(
    ("rules", "idle"),
    [
        (["mlp", "up_proj"], ['"up_proj" of weight never counts: the earlier rule for "mlp" takes']),
        (["mlp", "mlp.down_proj", "*"], ['"mlp.down_proj" of weight']),
        (["*", "mlp"], ['"mlp" of weight never counts: the earlier rule for all tensors takes']),
        (["layers.1", "layers.12.mlp"], ['"layers.12.mlp" of weight']),
        (["up_proj", "mlp", "*"], []),
        (["layers.1.", "mlp", "layers.2."], []),
        (["self_attn", "q_proj", "*"], ['"q_proj" of weight']),
        (["*", "*"], ["The rule for all tensors of weight never counts"]),
    ],
)
def test_a_rule_behind_one_that_is_as_broad_is_told(rules: list[str], idle: list[str]):
    """The first rule that matches counts, so the other one never does."""
    setting = ", ".join(f"{{filter: '{one}', value: {number}}}" for number, one in enumerate(rules))
    setting += "" if "*" in rules else ", {value: 1}"
    remarks = check(recipe(LINEAR.replace("{weight: 1}", f"{{weight: [{setting}]}}")), family(*pair()))
    told = [one.text for one in remarks if one.code == "rule-never-counts"]
    assert len(told) == len(idle) and all(text.startswith(start) for text, start in zip(told, idle, strict=True))


def test_a_rule_for_the_head_is_no_mistake_where_it_is_the_embedding():
    setting = "{weight: [{filter: lm_head, value: 0}, {value: 1}]}"
    tied = (facts(name, llama_shapes(head=False)) for name in ("o/a", "o/b"))
    remarks = check(recipe(LINEAR.replace("{weight: 1}", setting)), family(*tied))
    assert "filter-matches-nothing" not in {one.code for one in remarks}
