"""Reading recipes: what is right is kept, what is wrong is told with a place and a fix."""

from __future__ import annotations

import time

import pytest

from app.recipe.reading import Reading, read_recipe
from app.recipe.schema import ModelRef, Rule

LINEAR = """
merge_method: linear
models:
  - model: a/b
    parameters: {weight: 0.5}
  - model: c/d@main
    parameters: {weight: [0, 0.5, 1]}
dtype: bfloat16
"""
UNEQUAL = """
merge_method: linear
models: [{model: a/b, layer_range: [0, 2]}, {model: c/d, layer_range: [0, 4]}]
parameters: {weight: 1}
"""


def codes(reading: Reading) -> set[str]:
    return {finding.code for finding in reading.findings}


def test_a_plain_recipe() -> None:
    recipe = read_recipe(LINEAR).recipe
    assert recipe is not None
    assert recipe.parents() == (ModelRef("a/b"), ModelRef("c/d", "main"))
    assert recipe.models[1].parameters["weight"] == (Rule((0, 0.5, 1)),)


def test_filters_keep_their_order() -> None:
    text = LINEAR.replace("{weight: 0.5}", "{weight: [{filter: mlp, value: 0.1}, {value: 0.9}]}")
    recipe = read_recipe(text).recipe
    assert recipe is not None
    assert recipe.models[0].parameters["weight"] == (Rule(0.1, "mlp"), Rule(0.9))


def test_numbers_written_as_words_are_numbers() -> None:
    recipe = read_recipe(
        "merge_method: ram\nbase_model: a/b\nmodels: [{model: c/d}]\nparameters: {epsilon: 1e-5}"
    ).recipe
    assert recipe is not None
    assert recipe.parameters["epsilon"] == (Rule(1e-5),)


def test_the_long_form_of_a_reference() -> None:
    text = LINEAR.replace("model: a/b", "model: {model: {path: a/b, revision: v1}, lora: {path: e/f}}")
    recipe = read_recipe(text).recipe
    assert recipe is not None
    assert str(recipe.models[0].model) == "a/b@v1+e/f"


@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        (LINEAR.replace("linear", "dare-ties"), "unknown-method", 'Did you mean "dare_ties"?'),
        (LINEAR.replace("dtype", "dtyp"), "unknown-key", 'Did you mean "dtype"?'),
        (LINEAR.replace("bfloat16", "bfloat"), "unknown-dtype", 'Did you mean "bfloat16"?'),
        (LINEAR.replace("weight: 0.5", "weigth: 0.5"), "unknown-parameter", 'Did you mean "weight"?'),
        (LINEAR.replace("{weight: 0.5}", "{}"), "missing-parameter", "Add weight: 0.5, for example."),
        (LINEAR.replace("a/b", "https://example.org/a/b"), "bad-reference", ""),
        (LINEAR.replace("a/b", "a/b@../x"), "bad-reference", ""),
        (LINEAR.replace("0.5}", "heavy}"), "bad-value", ""),
        (LINEAR.replace("0.5}", ".nan}"), "bad-value", ""),
        (LINEAR.replace("linear", "slerp"), "missing-base", ""),
        (LINEAR.replace("linear", "passthrough"), "wrong-number-of-parents", ""),
        (LINEAR + "slices: []\n", "one-of-models-slices-modules", ""),
        ("merge_method: linear", "one-of-models-slices-modules", ""),
        ("", "empty-recipe", ""),
        ("just words", "not-a-recipe", ""),
        ("a: 1\n---\nb: 2", "unnamed-document", ""),
        ("a: [1, 2", "bad-yaml", ""),
        ("merge_method: linear\nmerge_method: ties", "repeated-key", ""),
        (LINEAR.replace("model: a/b", "model: a/b\n    layer_range: [2, 4]"), "layers-outside-slice", ""),
        (UNEQUAL, "layers-outside-slice", "slices"),
    ],
)
def test_what_is_wrong_is_told(text: str, code: str, fix: str) -> None:
    reading = read_recipe(text)
    assert reading.recipe is None
    assert code in codes(reading)
    finding = next(finding for finding in reading.findings if finding.code == code)
    assert fix in finding.fix


def test_whole_models_with_a_layer_range_are_merged_whole_with_a_warning() -> None:
    both = LINEAR.replace("model: a/b", "model: a/b\n    layer_range: [0, 32]")
    both = both.replace("model: c/d@main", "model: c/d@main\n    layer_range: [0, 32]")
    reading = read_recipe(both)
    assert reading.recipe == read_recipe(LINEAR).recipe
    assert [(one.level, one.code) for one in reading.findings] == [("warning", "layers-outside-slice")]


def test_keys_without_a_value_are_as_good_as_left_out() -> None:
    more = "slices: null\nmodules:\ntokenizer: null\ntokenizer_source: base\nbase_model: null\nparameters: null\n"
    reading = read_recipe(LINEAR + more)
    assert reading.recipe is not None
    assert reading.recipe == read_recipe(LINEAR + "tokenizer_source: base\n").recipe
    assert reading.findings == ()


@pytest.mark.parametrize("written", ['["0", "4"]', "[0.0, 4.0]", '[0, "4"]'])
def test_ends_of_a_range_written_otherwise_are_whole_numbers_all_the_same(written: str) -> None:
    recipe = read_recipe(f"merge_method: passthrough\nslices: [{{sources: [{{model: a/b, layer_range: {written}}}]}}]")
    assert recipe.recipe is not None
    assert recipe.recipe.slices[0].sources[0].layers == (0, 4)


def test_a_curve_of_what_has_no_effect_is_no_error() -> None:
    text = "merge_method: ties\nbase_model: a/b\nmodels: [{model: c/d, parameters: {weight: 1}}]\n"
    reading = read_recipe(text + "parameters: {int8_mask: [true, false], density: [1, 0.5]}")
    assert reading.recipe is not None
    assert codes(reading) == {"no-effect"}


def test_slices_are_checked() -> None:
    head = "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
    unequal = "- sources: [{model: a/b, layer_range: [0, 4]}, {model: c/d, layer_range: [0, 5]}]"
    assert "unequal-slices" in codes(read_recipe(head + unequal))
    assert "missing-layer-range" in codes(read_recipe(head + "- sources: [{model: a/b}]"))
    for wrong in (
        "[4, 0]",
        "[0, -1]",
        "[0]",
        "[0, 4, 8]",
        "[0, 1.5]",
        "4",
        '["0", "x"]',
        f'["0", "{"9" * 5000}"]',
        "[0, .inf]",
    ):
        assert "bad-layer-range" in codes(read_recipe(head + f"- sources: [{{model: a/b, layer_range: {wrong}}}]"))
    assert "missing-sources" in codes(read_recipe(head + "- parameters: {weight: 1}"))


def test_a_key_without_effect_is_a_warning_and_the_recipe_still_reads() -> None:
    reading = read_recipe(LINEAR + "made_with_love: true\nparameters: {t: 0.5}\n")
    assert reading.recipe is not None
    assert codes(reading) == {"unknown-key", "unused-parameter"}


def test_out_of_range_names_the_range() -> None:
    text = "merge_method: ties\nbase_model: a/b\nmodels: [{model: c/d, parameters: {weight: 1, density: 1.5}}]"
    (finding,) = read_recipe(text).findings
    assert finding.code == "out-of-range"
    assert "between 0 and 1" in finding.text


ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: 1}\nb: &b {<<: [*a, *a, *a]}\n"


@pytest.mark.parametrize(
    "text",
    [
        ALIAS_BOMB,
        MERGE_BOMB,
        "a: {<<: {b: 1}}",
        "[" * 60_000,
        "{a: " * 30_000,
        "- " * 60_000,
        "a: !!python/object/apply:os.system ['true']",
        "a: !<tag:yaml.org,2002:int> 3",
        "merge_method: " + "x" * 1_000_000,
        "merge_method: linear\nmodels:\n" + "- {model: a/b}\n" * 8_000,
        "\x00",
        "a: \ud800",
        "? [a, b]\n: c",
        "%YAML 9.9\n---\na: 1",
        "---\n" * 1000,
        "merge_method: {}\nbase_model: [1]\nmodels: {a: b}\nparameters: 7\ntokenizer: 5\nseed: -1",
        "merge_method: linear\nmodels: [3, null, {model: null}, {model: [1]}]",
        "merge_method: 0x" + "f" * 20_000,
        "merge_method: " + "1:" * 60_000 + "1",
    ],
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    begin = time.process_time()
    reading = read_recipe(text)
    assert reading.recipe is None
    assert any(finding.level == "error" for finding in reading.findings)
    assert time.process_time() - begin < 1.0
