"""The stack: whatever its buttons and fields do, the recipe stays one that reads back equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.recipe.edits import act as press
from app.recipe.findings import Refused
from app.recipe.form import apply, view
from app.recipe.joints import joint
from app.recipe.reading import read_recipe
from app.recipe.resolve import position, resolve
from app.recipe.schema import ModelRef, Recipe, Rule, Slice, Source
from app.recipe.stack import act, is_one_whole
from app.recipe.stack_form import view_blocks
from app.recipe.stack_patterns import PATTERNS
from app.recipe.writing import write_recipe

ONE, TWO, BASE = ModelRef("org/one"), ModelRef("org/two"), ModelRef("org/base")
LAYERS = {ONE: 30, TWO: 30, BASE: 30}

STACK = """
merge_method: passthrough
slices:
- sources: [{model: org/one, layer_range: [0, 20], parameters: {scale: 0.9}}]
- sources:
  - model: org/two
    layer_range: [10, 30]
    parameters: {scale: [{filter: o_proj, value: [0, 1]}, {filter: down_proj, value: 0}, {value: 1}]}
tokenizer: {source: union}
dtype: bfloat16
"""
BLENDS = """
merge_method: linear
parameters: {weight: [0.1, 0.9], normalize: false}
slices:
- sources:
  - {model: org/one, layer_range: [0, 8], parameters: {weight: [0, 0.5, 1]}}
  - {model: org/two, layer_range: [2, 10]}
  parameters: {weight: [{filter: mlp, value: [1, 2, 3, 4]}]}
- sources:
  - {model: org/two, layer_range: [8, 30], parameters: {weight: 0.3}}
  - {model: org/one, layer_range: [8, 30], parameters: {weight: 0.7}}
"""
SLERP = """
merge_method: slerp
base_model: org/one
parameters: {t: [{filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}, {value: 0.5}]}
slices:
- sources:
  - {model: org/one, layer_range: [0, 30]}
  - {model: org/two, layer_range: [0, 30]}
"""
TIES = """
merge_method: ties
base_model: org/base
models:
- {model: org/one, parameters: {weight: [0.2, 0.8], density: 0.5}}
- {model: org/two, parameters: {weight: 0.4}}
parameters: {normalize: true}
"""
TEXTS = {"stack": STACK, "blends": BLENDS, "slerp": SLERP, "ties": TIES}


def parse(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def ranges(recipe: Recipe) -> list[tuple[str, int, int]]:
    return [
        (source.model.name[4:], *source.layers) for piece in recipe.slices for source in piece.sources if source.layers
    ]


SMALL = st.integers(0, 4)
ACTS = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["split", "duplicate", "up", "down", "remove", "add"]), SMALL),
    st.builds("{}:{}:{}".format, st.sampled_from(["split", "move", "blend", "leave"]), SMALL, SMALL),
    st.builds("pattern:{}:{}:{}".format, st.sampled_from(list(PATTERNS)), SMALL, SMALL),
    st.sampled_from(["make", "unmake", "split:x", "dance:1", "pattern:none:0", ""]),
)
FIELDS = st.dictionaries(
    st.builds("slice.{}.{}.{}".format, SMALL, SMALL, st.sampled_from(["first", "last", "model", "weight", "scale"])),
    st.sampled_from(["0", "1", "7", "29", "-1", "x", "", "0.5", "0.1, 0.9", "99999999999"]),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(TEXTS.values())), st.lists(st.tuples(ACTS, FIELDS), max_size=8))
def test_any_sequence_of_edits_gives_a_recipe_that_reads_back_equal(
    text: str, steps: list[tuple[str, dict[str, str]]]
) -> None:
    recipe = parse(text)
    for action, fields in steps:
        recipe, _ = apply(recipe, fields)
        try:
            recipe = act(recipe, action, LAYERS)
        except Refused as problem:
            assert all(finding.text for finding in problem.findings)
        reading = read_recipe(write_recipe(recipe))
        assert reading.draft == recipe, reading.findings
        assert bool(recipe.slices) != bool(recipe.models)
        assert [block.piece for block in view_blocks(recipe)] == list(recipe.slices)


def values(recipe: Recipe, name: str) -> dict[tuple[str, int, str], list[float]]:
    """Model, its layer and a part of a tensor's name -> the parameter's value, as published recipes mean it."""
    found: dict[tuple[str, int, str], list[float]] = {}
    for piece in recipe.slices:
        for source in piece.sources:
            assert source.layers
            for layer in range(*source.layers):
                t = position(layer - source.layers[0], source.layers[1] - source.layers[0])
                for tensor in ("self_attn.o_proj", "mlp.down_proj", "norm"):
                    value = resolve([source.parameters, piece.parameters, recipe.parameters], name, tensor, t)
                    found.setdefault((source.model.name, layer, tensor), []).append(
                        np.nan if value is None else float(value)
                    )
    return found


@pytest.mark.parametrize(("text", "name"), [(STACK, "scale"), (BLENDS, "weight"), (SLERP, "t")])
@pytest.mark.parametrize("at", [1, 3, 7])
def test_a_split_keeps_every_layers_value(text: str, name: str, at: int) -> None:
    recipe = parse(text)
    halves = act(recipe, f"split:{len(recipe.slices) - 1}:{at}", LAYERS)
    halves = act(halves, f"split:{len(recipe.slices)}:2", LAYERS)
    assert len(halves.slices) == len(recipe.slices) + 2
    before, after = values(recipe, name), values(halves, name)
    assert before.keys() == after.keys()
    for place, numbers in before.items():
        np.testing.assert_allclose(sorted(after[place]), sorted(numbers), atol=2e-6, err_msg=str(place))


def test_a_split_of_a_straight_line_stays_two_anchors() -> None:
    text = SLERP.replace("[0, 0.5, 0.3, 0.7, 1]", "[0, 0.58]")
    halves = act(parse(text), "split:0", LAYERS)
    assert [piece.parameters["t"][0].value for piece in halves.slices] == [(0.0, 0.28), (0.3, 0.58)]


def test_blocks_are_moved_copied_split_and_removed() -> None:
    recipe = parse(STACK)
    assert ranges(act(recipe, "up:0", LAYERS)) == [("two", 10, 30), ("one", 0, 20)]
    assert ranges(act(recipe, "down:0", LAYERS)) == ranges(recipe)
    assert ranges(act(recipe, "move:0:9", LAYERS)) == [("two", 10, 30), ("one", 0, 20)]
    assert ranges(act(recipe, "duplicate:1", LAYERS)) == [("one", 0, 20), ("two", 10, 30), ("two", 10, 30)]
    assert ranges(act(recipe, "split:1:4", LAYERS)) == [("one", 0, 20), ("two", 10, 14), ("two", 14, 30)]
    assert ranges(act(recipe, "remove:0", LAYERS)) == [("two", 10, 30)]
    assert ranges(act(recipe, "add:0", LAYERS))[2] == ("one", 0, 30)
    assert ranges(act(parse(BLENDS), "leave:1:0", LAYERS))[2:] == [("one", 8, 30)]


@pytest.mark.parametrize(
    ("text", "action", "code"),
    [
        (STACK, "remove:5", "unknown-action"),
        (STACK, "split:0:20", "cannot-split"),
        (STACK, "blend:0:1", "one-source"),
        (SLERP, "remove:0", "last-block"),
        (SLERP, "leave:0:7", "unknown-action"),
        (STACK, "add:9", "unknown-action"),
        (STACK, "unmake", "not-one-block"),
        (STACK, "make", "unknown-action"),
        (STACK, "pattern:none:0", "unknown-pattern"),
        (STACK, "pattern:interleave:0:0", "pattern-parents"),
        (STACK, f"split:{'9' * 5000}", "unknown-action"),
    ],
)
def test_what_cannot_be_done_is_told(text: str, action: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        act(parse(text), action, LAYERS)
    assert [finding.code for finding in refused.value.findings] == [code]


def test_a_parent_that_nobody_has_looked_at_yet() -> None:
    for action in ("add:0", "pattern:double:0"):
        with pytest.raises(Refused, match="not known yet"):
            act(parse(STACK), action, {})
    grown = press(parse(STACK), "add:org/three")
    assert ranges(grown)[2] == ("three", 0, 20)


def test_a_blend_moves_as_one() -> None:
    recipe = parse(BLENDS)
    moved, findings = apply(recipe, {"slice.0.0.first": "3", "slice.0.0.last": "7", "slice.0.1.first": "2"})
    assert findings == ()
    assert ranges(moved)[:2] == [("one", 3, 8), ("two", 5, 10)]
    apart, _ = apply(recipe, {"slice.0.1.first": "20"})
    assert ranges(apart)[:2] == [("one", 0, 8), ("two", 20, 28)]
    joined = act(recipe, "blend:0:0", LAYERS)
    assert ranges(joined)[:3] == [("one", 0, 8), ("two", 2, 10), ("one", 0, 8)]
    for wrong in ({"slice.0.0.last": "x"}, {"slice.0.0.first": "9"}, {"slice.0.1.first": "-2"}):
        same, findings = apply(recipe, wrong)
        assert same == recipe
        assert [finding.code for finding in findings] == ["bad-layer-range"]


def test_values_of_blocks_are_edited_and_rules_survive() -> None:
    recipe = parse(STACK)
    edited, findings = apply(
        recipe, {"slice.1.0.scale": "0.5", "slice.1.0.scale|down_proj": "0.1", "slice.0.0.model": "1"}
    )
    assert findings == ()
    assert edited.slices[0].sources[0].model == TWO
    assert edited.slices[1].sources[0].parameters["scale"] == (
        Rule((0, 1), "o_proj"), Rule(0.1, "down_proj"), Rule(0.5),
    )  # fmt: skip
    assert edited.tokenizer == recipe.tokenizer
    turned, _ = apply(edited, {"method": "linear"})
    assert read_recipe(write_recipe(turned)).recipe == turned
    assert {len(source.parameters["weight"]) for piece in turned.slices for source in piece.sources} == {1}


@pytest.mark.parametrize("text", [TIES, SLERP, BLENDS, STACK])
def test_posting_the_blocks_untouched_changes_nothing(text: str) -> None:
    recipe = parse(text)
    fields: dict[str, str] = {}
    for block in view_blocks(recipe):
        fields |= {knob.field: knob.text for knob in block.knobs}
        for source in block.sources:
            fields |= {f"{source.field}.first": str(source.first), f"{source.field}.last": str(source.last)}
            fields |= {knob.field: knob.text for knob in source.knobs} | {f"{source.field}.model": str(source.parent)}
            fields |= {rule.field: rule.text for knob in source.knobs for rule in knob.rules}
    same, findings = apply(recipe, fields)
    assert (same, findings) == (recipe, ())


def test_models_become_one_block_and_come_back() -> None:
    recipe = parse(TIES)
    stacked = act(recipe, "make", LAYERS)
    assert ranges(stacked) == [("one", 0, 30), ("two", 0, 30)]
    assert is_one_whole(stacked, LAYERS)
    assert act(stacked, "unmake", LAYERS) == recipe
    assert not is_one_whole(act(stacked, "split:0", LAYERS), LAYERS)
    with pytest.raises(Refused, match="differ in their layers"):
        act(recipe, "make", LAYERS | {TWO: 28})


def test_values_of_the_only_block_go_over_to_the_recipe() -> None:
    inner = SLERP + "  parameters: {t: [{filter: mlp, value: 0.9}]}\n"
    plain = act(parse(inner), "unmake", LAYERS)
    assert [rule.filter for rule in plain.parameters["t"]] == ["mlp", "self_attn", None]


@pytest.mark.parametrize(
    ("name", "count", "blocks"),
    [
        ("double", 30, [(0, 30), (0, 30)]),
        ("upscale", 32, [(0, 24), (8, 32)]),
        ("expand", 10, [(0, 4), (3, 4), (4, 8), (7, 8), (8, 10), (9, 10)]),
        ("windows", 80, [(start, start + 20) for start in range(0, 70, 10)]),
        ("interleave", 32, [(start, start + 8) for start in range(0, 28, 4)]),
    ],
)
def test_patterns_as_published(name: str, count: int, blocks: list[tuple[int, int]]) -> None:
    filled = act(parse(TIES), f"pattern:{name}:1:2", dict.fromkeys(LAYERS, count))
    assert [one[1:] for one in ranges(filled)] == blocks
    turns = {"one"} if name != "interleave" else {"one", "two"}
    assert {one[0] for one in ranges(filled)} == turns
    assert filled.base_model is None
    assert read_recipe(write_recipe(filled)).recipe == filled


def test_the_copies_of_a_block_expansion_write_nothing() -> None:
    filled = act(parse(TIES), "pattern:expand:0:0", dict.fromkeys(LAYERS, 32))
    copies = [bool(piece.sources[0].parameters) for piece in filled.slices]
    assert copies == [False, True] * 8
    assert sum(piece.sources[0].layers[1] - piece.sources[0].layers[0] for piece in filled.slices) == 40  # type: ignore[index]
    scope = filled.slices[1].sources[0].parameters
    for tensor, scale in (("self_attn.o_proj", 0), ("mlp.down_proj", 0), ("mlp.up_proj", None)):
        assert resolve((scope,), "scale", f"model.layers.3.{tensor}.weight", 0) == scale


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 30, 126])
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_fit_every_depth(name: str, count: int) -> None:
    blocks = ranges(act(parse(TIES), f"pattern:{name}:1:2", dict.fromkeys(LAYERS, count)))
    assert blocks[0][1] == 0
    assert max(end for _, _, end in blocks) == count
    assert {layer for _, first, end in blocks for layer in range(first, end)} == set(range(count))


@pytest.mark.parametrize(
    ("lower", "upper", "kind", "words"),
    [
        ((ONE, 0, 16), (ONE, 16, 30), "on", "goes on with layer 16"),
        ((ONE, 0, 16), (ONE, 8, 30), "twice", "layers 8–15 twice"),
        ((ONE, 0, 16), (ONE, 15, 30), "twice", "layer 15 twice"),
        ((ONE, 0, 16), (ONE, 20, 30), "jump", "jumps from 15 to 20: layers 16–19 left out"),
        ((ONE, 10, 16), (ONE, 2, 6), "back", "goes back from 15 to 2"),
        ((ONE, 10, 30), (ONE, 0, 20), "back", "goes back from 29 to 0: layers 10–19 twice"),
        ((ONE, 0, 30), (ONE, 0, 30), "twice", "layers 0–29 twice"),
        ((ONE, 0, 16), (TWO, 16, 30), "on", "goes on in B with layer 16"),
        ((ONE, 0, 16), (TWO, 8, 24), "twice", "layers 8–15 twice: from A, then from B"),
        ((ONE, 0, 16), (TWO, 17, 24), "jump", "jumps from A 15 to B 17: layer 16 left out"),
        ((ONE, 4, 4), (ONE, 0, 4), "hollow", "a block without layers"),
    ],
)
def test_what_happens_between_blocks(
    lower: tuple[ModelRef, int, int], upper: tuple[ModelRef, int, int], kind: str, words: str
) -> None:
    one, other = (Slice((Source(model, (first, end)),)) for model, first, end in (lower, upper))
    told = joint(one, other, {ONE: "A", TWO: "B"})
    assert (told.kind, told.text) == (kind, words)


def test_the_letters_stay_when_blocks_move() -> None:
    recipe = parse(STACK)
    order = [str(parent.model) for parent in view(recipe).parents]
    moved = act(recipe, "up:0", LAYERS)
    assert moved.parents() == (TWO, ONE)
    shown = view(moved, order)
    assert [(parent.letter, parent.model, parent.index) for parent in shown.parents] == [("A", ONE, 1), ("B", TWO, 0)]
