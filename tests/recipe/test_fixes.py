"""Every one-click fix: the finding offers it, its button makes the edit, and the finding is gone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from app.planning.check import check
from app.planning.plan_merge import make_plan
from app.recipe.findings import Finding, Refused
from app.recipe.fixes import _MAKERS, apply_fix, fixes
from app.recipe.reading import read_recipe
from tests.planning.models import facts, family, llama_config, llama_shapes

TWO = "models: [{model: a/one, parameters: {weight: 0.5}}, {model: a/two, parameters: {weight: 0.5}}]\n"
SLERP = "merge_method: slerp\nbase_model: a/one\nmodels: [{model: a/one}, {model: a/two}]\n"
TIES = f"merge_method: ties\nbase_model: a/b\n{TWO}"
ONE = "merge_method: linear\nmodels: [{model: a/b, %s}]"
KARCHER = "merge_method: karcher\nmodels: [{model: a/one}, {model: a/two}]\n"
READING = {
    "a misspelt key": ("unknown-key", f"merge_methd: ties\nmerge_method: linear\n{TWO}", None),
    "a key misspelt far down": ("unknown-key", ONE % "paramters: {weight: 1}", "Call it “parameters”"),
    "a key of another tool": ("unknown-key", f"merge_method: linear\n{TWO}random_seed: 3\n", "Remove it"),
    "a misspelt parameter": ("unknown-parameter", ONE % "parameters: {weigth: 1, weight: 1}", "Call it “weight”"),
    "an unused parameter": ("unused-parameter", f"{SLERP}parameters: {{t: 0.5, density: 1}}", "Remove it"),
    "one without effect": ("no-effect", f"{TIES}parameters: {{int8_mask: true}}", "Remove it"),
    "a misspelt method": ("unknown-method", f"merge_method: liner\n{TWO}", "Use Linear (LERP)"),
    "a method with a dash": ("unknown-method", f"merge_method: dare-ties\nbase_model: a/b\n{TWO}", "Use DARE-TIES"),
    "no method": ("missing-method", TWO, "Use Linear (LERP)"),
    "a short dtype": ("unknown-dtype", f"merge_method: linear\n{TWO}dtype: bf16\n", "Use bfloat16"),
    "a misspelt dtype": ("unknown-dtype", f"merge_method: linear\n{TWO}out_dtype: flaot16\n", "Use float16"),
    "a missing weight": ("missing-parameter", "merge_method: linear\nmodels: [{model: a/b}]", "Set weight: 0.5"),
    "a missing t": ("missing-parameter", SLERP, "Set t: 0.5"),
    "too much": ("out-of-range", f"{TIES}parameters: {{density: [0.5, 1.7]}}", "Set 1"),
    "too little": (
        "out-of-range",
        f"{TIES}parameters: {{density: [{{filter: mlp, value: -1}}, {{value: 0.5}}]}}",
        "Set 0",
    ),
    "a curve where none can be": ("no-curve", f"{KARCHER}parameters: {{max_iter: [5, 9]}}", "Keep only 5"),
    "no base": ("missing-base", f"merge_method: ties\n{TWO.replace('two', 'two-instruct')}", "Take a/one"),
    "two tokenizer keys": (
        "two-tokenizers",
        f"{TIES}tokenizer: {{source: base}}\ntokenizer_source: union\n",
        "Keep the tokenizer block",
    ),
    "a bad seed": ("bad-seed", f"merge_method: linear\n{TWO}seed: -3\n", "Remove it"),
    "an address": ("bad-reference", TIES.replace("a/one", "https://hub.test/a/one/tree/v1"), "Use a/one@v1"),
}


OTHER = "merge_method: linear\nmodels: [{model: a/other, parameters: {weight: 1}}]\n"
USING = "merge_method: linear\nmodels: [{model: first, parameters: {weight: 1}}]\n"
STANDING = {
    "alone": ["{}"],
    "first of two": ["name: first\n{}", USING],
    "last of two": [f"name: first\n{OTHER}", "{}"],
    "last of two, with a name": [f"name: first\n{OTHER}", "name: second\n{}"],
    "the result, written first": ["{}", f"name: first\n{OTHER}"],
}
"""Documents, one of them with room for the text of a fix."""


@pytest.mark.parametrize("standing", STANDING.values(), ids=STANDING)
@pytest.mark.parametrize(("code", "text", "label"), READING.values(), ids=READING)
def test_what_reading_finds(code: str, text: str, label: str | None, standing: list[str]) -> None:
    text = "\n---\n".join(standing).replace("{}", text)
    findings = read_recipe(text).findings
    finding = next(one for one in findings if one.code == code)
    fix = fixes(text, findings)[finding][0]
    assert label is None or fix.label == label
    fixed = apply_fix(text, fix.action)
    after = read_recipe(fixed)
    assert finding not in after.findings
    assert len(after.findings) < len(findings)
    both = zip(yaml.safe_load_all(text), yaml.safe_load_all(fixed), strict=True)
    changed = [before != now for before, now in both]
    assert changed == ["{}" in one for one in standing], "the others are left as they are"


PARENTS = {
    "a/one": facts("a/one", llama_shapes(4), llama_config(4)),
    "a/two": facts("a/two", llama_shapes(4), llama_config(4), dtype="F16"),
    "a/wide": facts("a/wide", llama_shapes(4, vocab=40), llama_config(4, vocab=40)),
    "a/lora": facts("a/lora", {}, {}, texts={"adapter_config.json": "{}"}),
    "a/told": facts("a/told", {}, {}, texts={"adapter_config.json": '{"base_model_name_or_path": "a/two"}'}),
}
LINEAR = "merge_method: linear\n"
STACK = (
    "merge_method: linear\nslices:\n"
    "- sources:\n"
    "  - {model: a/one, layer_range: [2, 6], parameters: {weight: 1}}\n"
    "  - {model: a/two, layer_range: [0, 4], parameters: {weight: 1}}\n"
)
FACTS = {
    "formats": ("dtypes-differ", f"merge_method: linear\n{TWO}", "Set bfloat16", "dtype"),
    "rows": ("shape-mismatch", f"merge_method: linear\n{TWO.replace('two', 'wide')}", "Join the vocabularies", "union"),
    "layers": ("layer-range", STACK, "End at layer 3", "layer_range: [2, 4]"),
    "an adapter": ("adapter-alone", f"{LINEAR}{TWO.replace('two', 'lora')}", "Put it on a/one", "a/one+a/lora"),
    "one that says for whom": (
        "adapter-alone",
        f"{LINEAR}{TWO.replace('two', 'told')}",
        "Put it on a/two",
        "a/two+a/t",
    ),
}


@pytest.mark.parametrize(("code", "text", "label", "written"), FACTS.values(), ids=FACTS)
def test_what_headers_show(code: str, text: str, label: str, written: str) -> None:
    findings = found(text)
    fix = fixes(text, findings)[next(one for one in findings if one.code == code)][0]
    assert fix.label == label
    after = apply_fix(text, fix.action)
    assert written in after
    assert code not in [one.code for one in found(after)]


def found(text: str) -> tuple[Finding, ...]:
    recipe = read_recipe(text).recipe
    assert recipe is not None
    known = family(*(PARENTS.get(str(ref)) or replace(PARENTS[ref.name], ref=str(ref)) for ref in recipe.parents()))
    try:
        return (*check(recipe, known), *make_plan(recipe, known).findings)
    except Refused as problem:
        return (*check(recipe, known), *problem.findings)


def test_a_slice_is_cut_for_all_its_sources() -> None:
    findings = found(STACK)
    fix = fixes(STACK, findings)[next(one for one in findings if one.code == "layer-range")][0]
    recipe = read_recipe(apply_fix(STACK, fix.action)).recipe
    assert recipe is not None
    assert [one.layers for one in recipe.slices[0].sources] == [(2, 4), (0, 2)]


@pytest.mark.parametrize("case", ["rows", "layers"])
def test_what_headers_show_of_an_earlier_document(case: str) -> None:
    code, text, label, written = FACTS[case]
    text = f"name: first\n{text}---\n{USING}"
    findings = found(text)
    remark = next(one for one in findings if one.code == code)
    assert remark.where.startswith("first: ")
    fix = fixes(text, findings)[remark][0]
    assert fix.label == label
    after = apply_fix(text, fix.action)
    assert written in after.split("---")[0]
    assert code not in [one.code for one in found(after)]


def test_the_number_format_of_several_documents_is_the_results() -> None:
    first = "name: first\nmerge_method: linear\nmodels: [{model: a/two, parameters: {weight: 1}}]\n"
    text = f"{first}---\nmerge_method: linear\n{TWO.replace('a/two', 'first')}"
    findings = found(text)
    fix = fixes(text, findings)[next(one for one in findings if one.code == "dtypes-differ")][0]
    assert "dtype: bfloat16" in apply_fix(text, fix.action).split("---")[1]


def test_the_base_of_adapters_is_the_model_they_are_on() -> None:
    text = "merge_method: ties\nmodels: [{model: a/m+a/x}, {model: a/m+a/y}]\nparameters: {weight: 1}\n"
    (finding,) = read_recipe(text).findings
    assert [one.label for one in fixes(text, [finding])[finding]] == ["Take a/m"]


def test_vocabularies_can_also_stay_the_bases() -> None:
    text = f"merge_method: linear\n{TWO}"
    finding = Finding("warning", "tokenizers-differ", "", "differ")
    assert [one.label for one in fixes(text, [finding])[finding]] == ["Join the vocabularies", "Keep the base's"]
    assert not fixes(text + "tokenizer_source: base\n", [finding])


def test_every_kind_of_fix_is_tried_here() -> None:
    tried = {code for code, *_ in (*READING.values(), *FACTS.values())} | {"tokenizers-differ"}
    assert tried == set(_MAKERS)


def test_unknown_keys_and_order_survive_an_edit() -> None:
    text = f"merge_method: liner\n{TWO}mine: [1, {{a: b}}]\ndtype: bfloat16\n"
    findings = read_recipe(text).findings
    made = fixes(text, findings)[next(one for one in findings if one.code == "unknown-method")]
    keys = [line.split(":")[0] for line in apply_fix(text, made[0].action).splitlines() if line[:1].isalpha()]
    assert keys == ["merge_method", "models", "mine", "dtype"]


@pytest.mark.parametrize("text", ["models: [", "", "- 1", "merge_method: liner\n---\n- 1\n"])
def test_what_cannot_be_edited_offers_nothing(text: str) -> None:
    assert fixes(text, [Finding("error", "missing-method", "merge_method", "x")]) == {}


TWINS = {
    "of one name": ("x: seed", f"name: x\nseed: -1\n{OTHER}---\nname: x\nseed: -1\n{OTHER}---\n{OTHER}"),
    "without a name": ("last document: seed", f"seed: -1\n{OTHER}---\nseed: -1\n{OTHER}"),
}


@pytest.mark.parametrize(("where", "text"), TWINS.values(), ids=TWINS)
def test_of_two_documents_that_could_be_meant_neither_is_changed(where: str, text: str) -> None:
    findings = read_recipe(text).findings
    assert ("bad-seed", where) in [(one.code, one.where) for one in findings]
    assert fixes(text, findings) == {}
    with pytest.raises(Refused):
        apply_fix(text, f'fix:["{"x" if "x" in where else ""}",["drop","seed"]]')


HOSTILE = [
    "", "[", "{}", "[]", "[1]", '[1,["drop","merge_method"]]', '["","drop"]', '["nobody",["drop","merge_method"]]',
    '["",["set"]]', '["",["set",1,2]]', '["",["boom","dtype","x"]]', '["",["drop","nothing"]]',
    '["",["set","models[9].model","x"]]', '["",["rename","models[0]","x"]]', '["",["set","dtype",{"a":1}]]',
    '["",["set","dtype",[1,2,3]]]', '["",["set","a.b.c","x"]]', "[" * 100_000,
    json.dumps(["", *[["drop", "dtype"]] * 17]), '["",["set","dtype","\\ud800"]]',
    json.dumps(["", ["set", "x" * 500, 1]]), '["",["set","dtype",null]]', '[["drop","merge_method"]]',
]  # fmt: skip


@pytest.mark.parametrize("action", HOSTILE, ids=lambda action: action[:24])
def test_an_edit_that_is_none_is_refused(action: str) -> None:
    with pytest.raises(Refused):
        apply_fix(f"merge_method: linear\n{TWO}", f"fix:{action}")
