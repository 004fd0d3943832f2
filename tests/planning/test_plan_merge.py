"""The plan: who meets whom, with which values, in which dtype, at which byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from app.planning.facts import DTYPE_BYTES
from app.planning.header import header_length, parse_header
from app.planning.plan import Plan, Step
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from app.recipe.reading import read_recipe
from tests.planning.models import GOLDEN, facts, family, golden_facts, llama_config, llama_shapes, recipe
from tests.support.checkpoints import metadata_of

LINEAR = (
    "merge_method: linear\nmodels:\n- model: o/a\n  parameters: {weight: 0.7}\n"
    "- model: o/b\n  parameters: {weight: 0.5}\n"
)
TIES = (
    "merge_method: ties\nbase_model: o/base\nmodels:\n- model: o/a\n  parameters: {weight: 0.7, density: 0.5}\n"
    "- model: o/b\n  parameters: {weight: 0.5}\n"
)


def steps(plan: Plan) -> dict[str, Step]:
    return {step.name: step for step in plan.steps()}


def refused(text: str, *models) -> list:
    with pytest.raises(Refused) as caught:
        make_plan(recipe(text), family(*models))
    return list(caught.value.findings)


def codes(found) -> list[str]:
    return [finding.code for finding in found]


def test_every_golden_recipe_is_planned_with_the_names_and_shapes_of_its_result():
    for case in sorted((GOLDEN / "cases").iterdir()):
        made = recipe((case / "recipe.yml").read_text())
        if made.tokenizer:
            continue
        plan = make_plan(made, golden_facts(made))
        with safe_open(case / "expected.safetensors", "np") as expected:
            shapes = {name: tuple(expected.get_slice(name).get_shape()) for name in expected.keys()}  # noqa: SIM118
        assert {step.name: step.shape for step in plan.steps()} == shapes, case.name
        config = json.loads(plan.texts["config.json"])
        wanted = json.loads((case / "config.json").read_text())
        assert {key: config.get(key) for key in wanted} == wanted, case.name


def test_shard_headers_are_files_the_library_reads(tmp_path: Path):
    made = recipe((GOLDEN / "cases/ties/recipe.yml").read_text())
    plan = make_plan(made, golden_facts(made), shard_bytes=60_000)
    assert len(plan.shards) > 3
    seen = {}
    for number, shard in enumerate(plan.shards, start=1):
        assert shard.file == f"model-{number:05}-of-{len(plan.shards):05}.safetensors"
        assert shard.size <= 60_000
        content = shard.header + bytes(shard.size - len(shard.header))
        (tmp_path / shard.file).write_bytes(content)
        with safe_open(tmp_path / shard.file, "np") as opened:
            assert set(opened.keys()) == {step.name for step in shard.steps}
            assert opened.metadata()["format"] == "pt"
            assert read_recipe(opened.metadata()["weightloom"]).recipe == made
        found = parse_header(content[: 8 + header_length(content[:8], "f", len(content))], shard.file, len(content))
        for step, offset in zip(shard.steps, shard.offsets, strict=True):
            assert found[step.name].begin == offset
            assert (found[step.name].dtype, found[step.name].shape) == (step.dtype, step.shape)
            seen[step.name] = shard.file
    index = json.loads(plan.texts["model.safetensors.index.json"])
    assert index["weight_map"] == seen
    assert index["metadata"]["total_size"] == 4 * plan.parameters
    assert plan.output_bytes == sum((tmp_path / shard.file).stat().st_size for shard in plan.shards)


def test_a_tensor_larger_than_a_shard_gets_one_of_its_own():
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")), shard_bytes=10)
    assert all(len(shard.steps) == 1 for shard in plan.shards)


def test_one_shard_has_the_plain_name_and_no_index():
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))
    assert [shard.file for shard in plan.shards] == ["model.safetensors"]
    assert "model.safetensors.index.json" not in plan.texts


def test_same_recipe_same_plan():
    models = family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b")))
    first, second = make_plan(recipe(TIES), models), make_plan(recipe(TIES), models)
    assert [shard.header for shard in first.shards] == [shard.header for shard in second.shards]
    assert first.texts == second.texts


def test_order_and_layers():
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes(12)) for x in "ab")))
    names = [step.name for step in plan.steps()]
    assert names[0] == "model.embed_tokens.weight"
    assert names[-2:] == ["model.norm.weight", "lm_head.weight"]
    layers = [step.layer for step in plan.steps()]
    assert layers[0] is None
    assert layers[-1] is None
    assert layers[1:-2] == sorted(layers[1:-2])
    assert set(layers[1:-2]) == set(range(12))


def test_wide_dtypes_first_so_that_all_are_aligned():
    shapes = {"odd": (3,), "model.flag": (5,), "wide": (3,), "half": (1,)}
    kinds = {"odd": "BF16", "model.flag": "BOOL", "wide": "F32", "half": "F16"}
    plan = make_plan(
        recipe("merge_method: passthrough\nmodels: [{model: o/a}]\n"), family(facts("o/a", shapes, {}, kinds))
    )
    (shard,) = plan.shards
    assert all(offset % DTYPE_BYTES[step.dtype] == 0 for step, offset in zip(shard.steps, shard.offsets, strict=True))
    assert {step.name: step.method for step in shard.steps} == dict.fromkeys(shapes, "copy")


def test_values_of_linear():
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))
    step = steps(plan)["lm_head.weight"]
    assert [dict(one.parameters) for one in step.inputs] == [{"weight": 0.7}, {"weight": 0.5}]
    assert dict(step.parameters) == {"normalize": True}
    assert (step.method, step.base, step.dtype) == ("linear", None, "BF16")
    assert [one.parent for one in step.inputs] == [0, 1]


def test_values_of_ties_with_defaults_and_base_apart():
    plan = make_plan(recipe(TIES), family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b"))))
    step = steps(plan)["model.layers.2.mlp.up_proj.weight"]
    assert step.base is not None
    assert plan.parents[step.base.parent].ref == "o/base"
    assert [plan.parents[one.parent].ref for one in step.inputs] == ["o/a", "o/b"]
    assert [dict(one.parameters) for one in step.inputs] == [
        {"weight": 0.7, "density": 0.5},
        {"weight": 0.5, "density": 1.0},
    ]
    assert dict(step.parameters) == {"normalize": True, "rescale": False, "lambda": 1.0}


def test_base_among_the_models_is_not_an_input_of_its_own_delta():
    text = TIES + "- model: o/base\n  parameters: {weight: 9}\n"
    plan = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b"))))
    assert all(len(step.inputs) == 2 and step.base is not None for step in plan.steps())


def test_slerp_gradient_by_hand():
    """Five anchors over six layers: layer 2 of 0..5 is t = 0.4, between anchors 1 and 2 at 0.6."""
    made = recipe((GOLDEN / "cases/slerp-gradient/recipe.yml").read_text())
    found = steps(make_plan(made, golden_facts(made)))
    q = found["model.layers.2.self_attn.q_proj.weight"]
    assert q.parameters["t"] == pytest.approx(0.4 * 0.5 + 0.6 * 0.3)
    assert found["model.layers.5.mlp.up_proj.weight"].parameters["t"] == 0
    assert found["model.layers.0.mlp.up_proj.weight"].parameters["t"] == 1
    assert found["model.layers.3.input_layernorm.weight"].parameters["t"] == 0.5
    assert q.base is not None
    assert q.base.parameters == {}


def test_filters_look_at_the_parents_own_names_for_values_of_a_parent():
    text = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 2]}]
- sources:
  - model: o/a
    layer_range: [1, 4]
    parameters:
      scale: [{filter: layers.2.mlp, value: 3}, {value: 1}]
"""
    found = steps(make_plan(recipe(text), family(facts("o/a", llama_shapes()))))
    assert found["model.layers.3.mlp.up_proj.weight"].inputs[0].parameters == {"scale": 3}
    assert found["model.layers.2.mlp.up_proj.weight"].method == "copy"


STACK = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 3]}]
- sources: [{model: o/b, layer_range: [1, 4]}]
"""


def test_a_stack_renumbers_layers_and_takes_the_ends_from_first_and_last_slice():
    plan = make_plan(recipe(STACK), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))
    found = steps(plan)
    source = {
        name: (plan.parents[step.inputs[0].parent].ref, step.inputs[0].tensor.name) for name, step in found.items()
    }
    assert source["model.embed_tokens.weight"] == ("o/a", "model.embed_tokens.weight")
    assert source["model.layers.2.mlp.up_proj.weight"] == ("o/a", "model.layers.2.mlp.up_proj.weight")
    assert source["model.layers.3.mlp.up_proj.weight"] == ("o/b", "model.layers.1.mlp.up_proj.weight")
    assert source["model.layers.5.mlp.up_proj.weight"] == ("o/b", "model.layers.3.mlp.up_proj.weight")
    assert source["model.norm.weight"] == ("o/b", "model.norm.weight")
    assert source["lm_head.weight"] == ("o/b", "lm_head.weight")
    assert "model.layers.6.mlp.up_proj.weight" not in found
    assert all(step.method == "copy" for step in found.values())
    assert json.loads(plan.texts["config.json"])["num_hidden_layers"] == 6
    assert "config-repaired" in codes(plan.findings)


def test_many_layers_in_a_stack_stay_in_order():
    text = "merge_method: passthrough\nslices:\n" + "- sources: [{model: o/a, layer_range: [0, 4]}]\n" * 4
    plan = make_plan(recipe(text), family(facts("o/a", llama_shapes())))
    layers = [step.layer for step in plan.steps() if step.layer is not None]
    assert layers == sorted(layers)
    assert layers[-1] == 15
    assert next(reversed(list(plan.steps()))).name == "lm_head.weight"


def test_more_sources_in_the_last_slice_all_count_for_head_and_norm():
    text = """
merge_method: linear
slices:
- sources: [{model: o/a, layer_range: [0, 2], parameters: {weight: 1}}]
- sources:
  - {model: o/a, layer_range: [2, 4], parameters: {weight: 0.25}}
  - {model: o/b, layer_range: [2, 4], parameters: {weight: 0.75}}
"""
    found = steps(make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab"))))
    assert [one.parameters["weight"] for one in found["lm_head.weight"].inputs] == [0.25, 0.75]
    assert len(found["model.norm.weight"].inputs) == 2
    assert found["model.embed_tokens.weight"].method == "copy"
    assert found["model.layers.0.mlp.up_proj.weight"].method == "copy"


def test_curves_run_over_each_slice_and_start_at_the_ends():
    text = """
merge_method: slerp
base_model: o/a
slices:
- sources: [{model: o/a, layer_range: [0, 3]}, {model: o/b, layer_range: [0, 3]}]
- sources: [{model: o/a, layer_range: [3, 4]}, {model: o/b, layer_range: [3, 4]}]
  parameters: {t: [0.2, 0.4]}
parameters: {t: [0, 1]}
"""
    found = steps(make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab"))))
    of_layer = [found[f"model.layers.{i}.mlp.up_proj.weight"].parameters["t"] for i in range(4)]
    assert of_layer == [0, 0.5, 1, 0.4]
    assert found["model.embed_tokens.weight"].parameters["t"] == 0
    assert found["lm_head.weight"].parameters["t"] == 0.2


def test_same_model_twice_in_a_slice():
    text = """
merge_method: linear
slices:
- sources:
  - {model: o/a, layer_range: [0, 2], parameters: {weight: 0.5}}
  - {model: o/a, layer_range: [2, 4], parameters: {weight: 0.5}}
"""
    found = steps(make_plan(recipe(text), family(facts("o/a", llama_shapes()))))
    names = [one.tensor.name for one in found["model.layers.1.mlp.up_proj.weight"].inputs]
    assert names == ["model.layers.1.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"]


def test_base_outside_a_slice_takes_the_range_that_all_share():
    text = """
merge_method: task_arithmetic
base_model: o/base
slices:
- sources: [{model: o/a, layer_range: [2, 4]}, {model: o/b, layer_range: [2, 4]}]
parameters: {weight: 0.5}
"""
    models = [facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b")]
    step = steps(make_plan(recipe(text), family(*models)))["model.layers.0.mlp.up_proj.weight"]
    assert step.base is not None
    assert step.base.tensor.name == "model.layers.2.mlp.up_proj.weight"
    found = refused(text.replace("o/b, layer_range: [2, 4]", "o/b, layer_range: [1, 3]"), *models)
    assert codes(found) == ["base-layers-unknown"]


def test_slice_with_a_base_of_its_own():
    text = """
merge_method: task_arithmetic
base_model: o/base
slices:
- sources: [{model: o/a, layer_range: [0, 2]}]
- sources: [{model: o/a, layer_range: [2, 4]}]
  base_model: o/other
parameters: {weight: 0.5}
"""
    plan = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "other", "a"))))
    bases = {step.name: plan.parents[step.base.parent].ref for step in plan.steps() if step.base}
    assert bases["model.layers.1.mlp.up_proj.weight"] == "o/base"
    assert bases["model.layers.2.mlp.up_proj.weight"] == "o/other"
    assert bases["lm_head.weight"] == "o/other"


def test_layer_range_beyond_the_model():
    found = refused(STACK.replace("[1, 4]", "[1, 9]"), *(facts(f"o/{x}", llama_shapes()) for x in "ab"))
    assert codes(found) == ["layer-range"]
    assert "o/b has layers 0 to 3" in found[0].text
    assert found[0].where == "slices[1]"


def test_layers_of_another_size_cannot_be_stacked():
    found = refused(STACK, facts("o/a", llama_shapes()), facts("o/b", llama_shapes(hidden=16), llama_config(hidden=16)))
    assert codes(found) == ["shape-mismatch"]
    assert "input_layernorm.weight is 8 in o/a and 16 in o/b" in found[0].text


def test_slices_of_an_encoder_decoder_are_refused():
    shapes = {name.replace("model.", "model.encoder."): shape for name, shape in llama_shapes().items()}
    shapes |= {name.replace("model.", "model.decoder."): shape for name, shape in llama_shapes().items()}
    found = refused(STACK.replace("o/b", "o/a"), facts("o/a", shapes, {"is_encoder_decoder": True}))
    assert codes(found) == ["several-stacks"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("merge_method: passthrough\nslices: [{sources: [{model: o/a, layer_range: [0, 0]}]}]\n", "no-layers"),
        ("merge_method: passthrough\nmodules: {m: {models: [{model: o/a}]}}\n", "unknown-module"),
        ("merge_method: passthrough\nmodels: [{model: o/a}]\nchat_template: chatlm\n", "chat-template-not-supported"),
    ],
)
def test_what_is_not_possible_is_said(text: str, code: str):
    made = recipe(text)
    with pytest.raises(Refused) as caught:
        make_plan(made, {ref: facts(str(ref), llama_shapes()) for ref in made.parents()})
    assert codes(caught.value.findings) == [code]
    assert caught.value.findings[0].fix


def test_zero_length_slice_chooses_the_head():
    text = STACK.replace("[1, 4]", "[3, 3]")
    plan = make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))
    found = steps(plan)
    assert plan.parents[found["lm_head.weight"].inputs[0].parent].ref == "o/b"
    assert json.loads(plan.texts["config.json"])["num_hidden_layers"] == 3


def test_layer_counts_must_agree_side_by_side():
    found = refused(LINEAR, facts("o/a", llama_shapes(4)), facts("o/b", llama_shapes(6), llama_config(6)))
    assert codes(found) == ["layer-count-differs"]
    assert found[0].text == "o/a has 4 layers, o/b has 6."


def test_another_architecture():
    gpt = {f"h.{i}.{part}": (8,) for i in range(4) for part in ("attn.c_attn.weight", "mlp.c_fc.weight", "ln_1.weight")}
    found = refused(LINEAR, facts("o/a", llama_shapes()), facts("o/b", gpt, {"n_layer": 4}))
    assert codes(found) == ["different-architecture"]
    assert "only 0 of 39" in found[0].text


def test_vocabularies_of_different_size():
    found = refused(LINEAR, facts("o/a", llama_shapes()), facts("o/b", llama_shapes(vocab=34), llama_config(vocab=34)))
    assert codes(found) == ["shape-mismatch"]
    assert found[0].text == (
        "model.embed_tokens.weight and lm_head.weight: 32 rows in o/a, 34 in o/b. Their vocabularies differ in size."
    )
    assert "vocabulary" in found[0].fix


def test_other_shapes_name_tensor_models_and_shapes_once():
    odd = {name: (*shape[:-1], 12) if "mlp.down" in name else shape for name, shape in llama_shapes().items()}
    found = refused(LINEAR, facts("o/a", llama_shapes()), facts("o/b", odd))
    assert codes(found) == ["shape-mismatch"]
    assert found[0].text.startswith(
        "model.layers.0.mlp.down_proj.weight, model.layers.1.mlp.down_proj.weight and 2 more"
    )
    assert "8 × 16 in o/a, 8 × 12 in o/b" in found[0].text
    assert found[0].where == "model.layers.0.mlp.down_proj.weight"


@pytest.mark.parametrize(
    ("kinds", "given", "out"),
    [
        (("BF16", "BF16"), "", "BF16"),
        (("BF16", "F16"), "", "F32"),
        (("F16", "F32"), "", "F32"),
        (("BF16", "F64"), "", "F64"),
        (("F32", "F32"), "dtype: bfloat16\n", "BF16"),
        (("F32", "F32"), "dtype: bfloat16\nout_dtype: float16\n", "F16"),
        (("BF16", "BF16"), "out_dtype: float32\n", "F32"),
    ],
)
def test_output_dtype(kinds: tuple[str, str], given: str, out: str):
    models = family(*(facts(f"o/{x}", llama_shapes(), dtype=kind) for x, kind in zip("ab", kinds, strict=True)))
    plan = make_plan(recipe(LINEAR + given), models)
    assert {step.dtype for step in plan.steps()} == {out}
    wanted = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}[out]
    assert json.loads(plan.texts["config.json"])["torch_dtype"] == wanted


def test_unknown_dtype_is_refused():
    from dataclasses import replace

    with pytest.raises(Refused) as caught:
        make_plan(replace(recipe(LINEAR), dtype="bfloat"), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))
    assert caught.value.findings[0].code == "unknown-dtype"
    assert caught.value.findings[0].fix == 'Did you mean "bfloat16"?'


def test_cast_without_a_change_is_passthrough():
    text = "merge_method: passthrough\nmodels: [{model: o/a}]\ndtype: float16\n"
    plan = make_plan(recipe(text), family(facts("o/a", llama_shapes())))
    assert {(step.method, step.dtype) for step in plan.steps()} == {("passthrough", "F16")}


def test_one_parent_with_normalised_weight_is_a_copy():
    text = "merge_method: linear\nmodels: [{model: o/a, parameters: {weight: 0.3}}]\n"
    plan = make_plan(recipe(text), family(facts("o/a", llama_shapes())))
    assert {step.method for step in plan.steps()} == {"copy"}
    plan = make_plan(recipe(text + "parameters: {normalize: false}\n"), family(facts("o/a", llama_shapes())))
    assert {step.method for step in plan.steps()} == {"linear"}


def test_tied_parent_lends_its_embedding_as_head_and_the_config_says_so():
    models = family(
        facts("o/a", llama_shapes(head=False), llama_config(tie_word_embeddings=True)),
        facts("o/b", llama_shapes(), llama_config()),
    )
    plan = make_plan(recipe(LINEAR), models)
    head = steps(plan)["lm_head.weight"]
    assert [one.tensor.name for one in head.inputs] == ["model.embed_tokens.weight", "lm_head.weight"]
    assert json.loads(plan.texts["config.json"])["tie_word_embeddings"] is False
    assert {"tied-head", "config-repaired"} <= set(codes(plan.findings))
    assert "tie_word_embeddings True → False" in str(plan.findings)


def test_all_tied_stays_tied():
    tied = llama_config(tie_word_embeddings=True)
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes(head=False), tied) for x in "ab")))
    assert "lm_head.weight" not in steps(plan)
    assert json.loads(plan.texts["config.json"])["tie_word_embeddings"] is True


def test_a_head_stored_twice_over_stays_tied():
    tied = llama_config(tie_word_embeddings=True)
    plan = make_plan(recipe(LINEAR), family(*(facts(f"o/{x}", llama_shapes(), tied) for x in "ab")))
    assert "lm_head.weight" in steps(plan)
    assert json.loads(plan.texts["config.json"])["tie_word_embeddings"] is True


def test_untied_parent_without_head_does_not_borrow_the_embedding():
    models = family(facts("o/a", llama_shapes()), facts("o/b", llama_shapes(head=False), llama_config()))
    plan = make_plan(recipe(LINEAR), models)
    assert steps(plan)["lm_head.weight"].method == "copy"
    assert "partly-missing" in codes(plan.findings)


EXTRA = "value_head.weight"


def plan_with_extra(text: str, *owners: str) -> Plan:
    made = recipe(text)
    models = {
        ref: facts(str(ref), llama_shapes() | ({EXTRA: (8, 8), "zz.more": (8,)} if ref.name in owners else {}))
        for ref in made.parents()
    }
    return make_plan(made, models)


SLERP = "merge_method: slerp\nbase_model: o/a\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {t: 0.5}\n"
STOCK = "merge_method: model_stock\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\n"
NEARSWAP = SLERP.replace("slerp", "nearswap").replace("0.5", "0.001")
NUSLERP = LINEAR.replace("linear", "nuslerp")


@pytest.mark.parametrize(
    ("text", "owners", "method", "inputs", "code"),
    [
        (LINEAR, ("o/a",), "copy", ["o/a"], "partly-missing"),
        (NUSLERP, ("o/b",), "copy", ["o/b"], "copied-from-one"),
        (SLERP, ("o/a",), "copy", ["o/a"], "copied-from-base"),
        (SLERP, ("o/b",), "copy", ["o/b"], "copied-from-one"),
        (NEARSWAP, ("o/a",), "copy", ["o/a"], "copied-from-base"),
        (NEARSWAP, ("o/b",), None, [], "left-out"),
        (TIES, ("o/base",), "copy", ["o/base"], "copied-from-base"),
        (TIES, ("o/base", "o/a"), "ties", ["o/base", "o/a"], "partly-missing"),
        (TIES, ("o/a", "o/b"), None, [], "left-out"),
        (STOCK, ("o/base", "o/a"), "copy", ["o/base"], "too-few-parents"),
    ],
)
def test_tensors_that_not_everybody_has(text: str, owners: tuple[str, ...], method: str | None, inputs, code: str):
    plan = plan_with_extra(text, *owners)
    step = steps(plan).get(EXTRA)
    assert (step.method if step else None) == method
    assert [plan.parents[one.parent].ref for one in step.every_input] == inputs if step else inputs == []
    (finding,) = [finding for finding in plan.findings if finding.code == code]
    assert "value_head.weight and zz.more" in finding.text


def test_fixed_numbers_are_taken_over_when_all_agree_in_form():
    shapes = llama_shapes() | {"model.position_ids": (1, 8)}
    plan = make_plan(recipe(LINEAR + "dtype: float32\n"), family(
        facts("o/a", shapes, dtype={"model.position_ids": "I64"}),
        facts("o/b", shapes, dtype={"model.position_ids": "I64"}),
    ))  # fmt: skip
    step = steps(plan)["model.position_ids"]
    assert (step.method, step.dtype, len(step.inputs)) == ("copy", "I64", 1)
    assert "not-merged" in codes(plan.findings)
    found = refused(
        LINEAR,
        facts("o/a", shapes, dtype={"model.position_ids": "I64"}),
        facts("o/b", shapes, dtype={"model.position_ids": "F32"}),
    )
    assert codes(found) == ["dtype-mismatch"]


@pytest.mark.parametrize(
    ("dtype", "shape", "told"), [("I8", (4, 2), True), ("I8", (1, 8), False), ("I64", (4, 2), False)]
)
def test_few_bytes_that_may_be_weights_are_told_louder(dtype: str, shape: tuple[int, ...], told: bool):
    shapes = llama_shapes() | {"model.layers.0.mlp.gate.weight": shape}
    models = (facts(name, shapes, dtype={"model.layers.0.mlp.gate.weight": dtype}) for name in ("o/a", "o/b"))
    plan = make_plan(recipe(LINEAR), family(*models))
    assert [one.code for one in plan.findings if one.level == "warning"] == ["bytes-not-merged"] * told
    assert steps(plan)["model.layers.0.mlp.gate.weight"].method == "copy"


@pytest.mark.parametrize(
    ("config", "extra"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, ("model.layers.0.mlp.up_proj.qweight", "I32", (4, 8))),
        ({"quantization_config": {"quant_method": "fp8"}}, ("model.layers.0.mlp.up_proj.w8", "F8_E4M3", (8, 8))),
        ({"quantization_config": {"quant_method": "mx"}}, ("model.layers.0.mlp.blocks", "U8", (8, 8))),
        ({}, ("model.layers.0.mlp.up_proj.weight_packed", "I32", (8, 8))),
        ({}, ("blob", "U8", (4096, 8))),
        ({}, ("scale8", "F8_E5M2", (1,))),
    ],
)
def test_quantised_parents(config: dict, extra):
    name, dtype, shape = extra
    model = facts("o/b", llama_shapes() | {name: shape}, llama_config(**config), {name: dtype})
    found = refused(LINEAR, facts("o/a", llama_shapes()), model)
    assert codes(found) == ["quantised-parent"]
    assert f"{name} is {dtype}" in found[0].text


def test_what_training_on_a_quantised_base_left_in_the_config_is_dropped():
    left = llama_config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    plan = make_plan(recipe(LINEAR), family(facts("o/a", llama_shapes(), left), facts("o/b", llama_shapes())))
    assert "quantization_config" not in json.loads(plan.texts["config.json"])
    assert any("quantization_config left out" in finding.text for finding in plan.findings)


def test_all_problems_at_once():
    packed = {"w.qweight": "I32"}
    found = refused(
        LINEAR, facts("o/a", {"w.qweight": (8, 8)}, dtype=packed), facts("o/b", {"w.qweight": (8, 8)}, dtype=packed)
    )
    assert [finding.where for finding in found] == ["o/a", "o/b"]


def test_missing_value_for_some_tensors():
    text = LINEAR.replace("{weight: 0.5}", "{weight: [{filter: self_attn, value: 0.5}]}")
    found = refused(text, *(facts(f"o/{x}", llama_shapes()) for x in "ab"))
    assert codes(found) == ["missing-parameter"]
    assert 'needs "weight", but no rule gives a value for model.embed_tokens.weight' in found[0].text
    assert "o/b" in found[0].text


def test_weights_that_cancel_out():
    found = refused(LINEAR.replace("0.7", "-0.5"), *(facts(f"o/{x}", llama_shapes()) for x in "ab"))
    assert codes(found) == ["weights-sum-to-zero"]
    text = LINEAR.replace("0.7", "-0.5") + "parameters: {normalize: false}\n"
    assert make_plan(recipe(text), family(*(facts(f"o/{x}", llama_shapes()) for x in "ab")))


def test_della_chances_must_be_chances():
    models = [facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b")]
    text = TIES.replace("ties", "della").replace("density: 0.5", "density: 0.9")
    found = refused(text, *models)
    assert codes(found) == ["density-and-epsilon"]
    assert "o/a" in found[0].text
    assert found[0].fix.startswith("Set epsilon below 0.1")
    assert make_plan(recipe(text.replace("density: 0.9", "density: 0.9, epsilon: 0.05")), family(*models))


@pytest.mark.parametrize(("method", "listed"), [("karcher", ["o/a", "o/b"]), ("passthrough", ["o/a"])])
def test_base_that_is_not_listed_does_not_join_other_methods_either(method: str, listed: list[str]):
    models = family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b")))
    named = ", ".join(f"{{model: {one}}}" for one in listed)
    plan = make_plan(recipe(f"merge_method: {method}\nbase_model: o/base\nmodels: [{named}]\n"), models)
    assert all([plan.parents[one.parent].ref for one in step.every_input] == listed for step in plan.steps())
    assert "base-ignored" in codes(plan.findings)


def test_base_that_is_not_among_the_models_of_linear_is_no_input():
    models = family(*(facts(f"o/{x}", llama_shapes()) for x in ("base", "a", "b")))
    plan = make_plan(recipe("base_model: o/base\n" + LINEAR), models)
    assert all([plan.parents[one.parent].ref for one in step.every_input] == ["o/a", "o/b"] for step in plan.steps())
    (finding,) = [finding for finding in plan.findings if finding.code == "base-ignored"]
    assert "Config and tokenizer come from it" in finding.text
    assert all(
        file != "model.safetensors" or plan.parents[parent].ref != "o/base" for parent, file in plan.files_needed
    )


def test_unlike_base_of_linear_is_not_the_donor_either():
    models = family(facts("o/base", llama_shapes(2), llama_config(2)), *(facts(f"o/{x}", llama_shapes()) for x in "ab"))
    plan = make_plan(recipe("base_model: o/base\n" + LINEAR), models)
    assert json.loads(plan.texts["config.json"])["num_hidden_layers"] == 4


def test_two_of_a_kind_where_one_is_the_base():
    models = family(*(facts(f"o/{x}", llama_shapes()) for x in "ab"))
    plan = make_plan(recipe(SLERP.replace("{model: o/a}, ", "")), models)
    assert all(step.base and len(step.inputs) == 1 for step in plan.steps())


def test_recipe_in_the_result_is_pinned_and_seeded_and_without_paths():
    text = TIES.replace("ties", "dare_ties")
    made = recipe(text)
    models = {
        ref: facts(str(ref), llama_shapes(), commit=str(number) * 40) for number, ref in enumerate(made.parents())
    }
    plan = make_plan(made, models, seed=7)
    kept = read_recipe(plan.texts["mergekit_config.yml"]).recipe
    assert kept is not None
    assert kept.seed == plan.seed == 7
    assert [ref.revision for ref in kept.parents()] == ["0" * 40, "1" * 40, "2" * 40]
    assert metadata_of(plan.shards[0].header)["weightloom"] == plan.texts["mergekit_config.yml"]
    assert make_plan(made, models).seed == 0
    assert make_plan(recipe(text + "seed: 3\n"), models).seed == 3


def test_machine_paths_do_not_leave_the_machine():
    text = LINEAR.replace("o/a", "/home/someone/runs/x/checkpoint").replace("o/b", "/home/someone/other/x/checkpoint")
    made = recipe(text)
    plan = make_plan(made, {ref: facts(str(ref), llama_shapes()) for ref in made.parents()})
    assert "someone" not in plan.texts["mergekit_config.yml"]
    kept = read_recipe(plan.texts["mergekit_config.yml"]).recipe
    assert kept is not None
    assert [ref.name for ref in kept.parents()] == ["local:x/checkpoint", "local:x/checkpoint-2"]


def test_large_plan_is_quick():
    import time

    shapes = llama_shapes(40)
    for layer in range(40):
        shapes |= {
            f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight": (4, 4)
            for expert in range(64)
            for part in ("gate_proj", "up_proj", "down_proj")
        }
    models = family(*(facts(f"o/{x}", shapes, llama_config(40)) for x in ("base", "a", "b")))
    began = time.process_time()
    plan = make_plan(recipe(TIES), models)
    assert sum(1 for _ in plan.steps()) == len(shapes)
    assert time.process_time() - began < 10
