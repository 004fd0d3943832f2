"""The result's config: cleaned of code, true to the result, every change told."""

from __future__ import annotations

import copy
import json

import pytest
from transformers import AutoConfig, Gemma3TextConfig, Qwen2Config, Qwen3Config

from app.planning.config_edit import Change, told
from app.planning.config_repair import Target, clean_tokenizer_config, repair_config
from app.planning.layer_repair import Stack
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 4,
    "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
    "max_window_layers": 4,
    "vocab_size": 32,
    "hidden_size": 8,
    "eos_token_id": [1, 2, 3, 4],
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


def stacked(config: dict, layers: list[int], before: int = 4, **target) -> dict:
    made = repair_config(config, Target(None, stack=Stack([(config, layer) for layer in layers], before), **target))
    return made.config


def test_layer_lists_follow_their_layers():
    made = stacked(QWEN3, [0, 1, 2, 1, 2, 3])
    assert made["num_hidden_layers"] == 6
    kinds = {0: "full_attention", 1: "sliding_attention"}
    assert made["layer_types"] == [kinds[layer % 2] for layer in [0, 1, 2, 1, 2, 3]]
    assert made["max_window_layers"] == 6
    assert made["eos_token_id"] == [1, 2, 3, 4]
    assert made["architectures"] == ["Qwen3ForCausalLM"]


def test_transformers_accepts_the_stacked_config():
    for kind, extra in ((Qwen3Config, {}), (Gemma3TextConfig, {}), (Qwen2Config, {"use_sliding_window": True})):
        donor = kind(num_hidden_layers=4, hidden_size=16, num_attention_heads=2, **extra)
        donor = json.loads(donor.to_json_string(use_diff=False))
        assert len(donor["layer_types"]) == 4
        made = stacked(donor, [0, 1, 2, 2, 3])
        loaded = AutoConfig.for_model(**made)
        assert loaded.num_hidden_layers == 5
        assert loaded.layer_types == [donor["layer_types"][layer] for layer in [0, 1, 2, 2, 3]]


def test_what_is_told_of_single_layers_by_number_moves_with_them():
    donor = {"num_hidden_layers": 12, "per_layer_config": {"05": {"head_dim": 512}, "11": {"head_dim": 256}}}
    assert stacked(donor, [5, 6, 11, 5], 12)["per_layer_config"] == {
        "0": {"head_dim": 512}, "2": {"head_dim": 256}, "3": {"head_dim": 512},
    }  # fmt: skip
    longer = stacked(donor, [*range(12), *range(3, 12)], 12)["per_layer_config"]
    assert list(longer) == ["05", "11", "14", "20"]
    other = donor | {"per_layer_config": {"01": {"head_dim": 64}}}
    target = Target(None, stack=Stack([(donor, 5), (other, 1), (other, 5)], 12))
    assert repair_config(donor, target).config["per_layer_config"] == {"0": {"head_dim": 512}, "1": {"head_dim": 64}}
    labels = {"num_hidden_layers": 4, "id2label": {"0": "no", "1": "yes"}}
    assert stacked(labels, [0, 0, 1])["id2label"] == {"0": "no", "1": "yes"}


def test_a_number_of_layers_that_cannot_be_corrected_is_told():
    config = {"num_self_attends_per_block": 4}
    for layers, codes in ((range(4), []), ([0, 1, 2, 2, 3], ["layer-count-unknown"])):
        made = repair_config(config, Target(None, stack=Stack([(config, layer) for layer in layers], 4)))
        assert [finding.code for finding in made.findings] == codes


def test_what_each_layer_adds_keeps_its_scale():
    """MiniCPM: scale_depth / √layers, whatever the number of layers."""
    made = stacked({"num_hidden_layers": 4, "scale_depth": 1.4}, [0, 1, 2, 3, 0, 1, 2, 3, 3])
    assert made["scale_depth"] / made["num_hidden_layers"] ** 0.5 == pytest.approx(1.4 / 2)


def test_each_layer_takes_the_entry_of_its_own_model():
    other = QWEN3 | {"layer_types": ["a", "b", "c", "d"]}
    short = {"num_hidden_layers": 4}
    target = Target(None, stack=Stack([(QWEN3, 0), (other, 3), (short, 1)], 4))
    assert repair_config(QWEN3, target).config["layer_types"] == ["full_attention", "d", "sliding_attention"]


def test_lists_of_layer_numbers_are_renumbered():
    config = {
        "num_hidden_layers": 6,
        "full_attn_idxs": [2, 5],
        "mlp_only_layers": [],
        "no_rope_layers": [1, 1, 1, 0, 1, 0],
    }
    made = stacked(config, [0, 1, 2, 2, 5], before=6)
    assert made["full_attn_idxs"] == [2, 3, 4]
    assert made["mlp_only_layers"] == []
    assert made["no_rope_layers"] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(("window", "layers", "after"), [(4, 6, 6), (28, 6, 6), (2, 6, 2), (3, 2, 2)])
def test_max_window_layers(window: int, layers: int, after: int):
    made = stacked(llama_config(max_window_layers=window), [0] * layers)
    assert made["max_window_layers"] == after


def test_layers_counted_in_the_text_part():
    config = {
        "text_config": {"num_hidden_layers": 4, "layer_types": list("abcd")},
        "vision_config": {"num_hidden_layers": 2, "layer_types": list("xy")},
    }
    made = stacked(config, [3, 2, 1])
    assert made["text_config"] == {"num_hidden_layers": 3, "layer_types": list("dcb")}
    assert made["vision_config"] == config["vision_config"]


def test_count_in_the_config_below_the_layers_in_the_file():
    """Checkpoints with extra prediction layers count only the ordinary ones."""
    made = stacked({"num_hidden_layers": 3, "n_routed_experts": 4}, [0, 1, 2, 0, 1], before=4)
    assert made["num_hidden_layers"] == 5


def test_layer_kind_by_number_is_warned_about():
    config = {"num_hidden_layers": 12, "full_attention_interval": 4}
    moved = repair_config(config, Target(None, stack=Stack([(config, layer) for layer in [0, 1, 2, 2, 3]], 12)))
    assert [finding.code for finding in moved.findings] == ["layer-pattern"]
    assert "layer 3 of the result was layer 2" in moved.findings[0].text
    kept = repair_config(config, Target(None, stack=Stack([(config, layer) for layer in [0, 1, 2, 3, 0, 1]], 12)))
    assert kept.findings == ()


def test_kinds_of_attention_told_by_number_alone_are_spelled_out_once_layers_move():
    full, sliding = "full_attention", "sliding_attention"
    for config, period, remainder in (
        ({"model_type": "gemma2"}, 2, 1),
        ({"model_type": "gemma3_text"}, 6, 5),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 3}, 3, 2),
        ({"model_type": "modernbert", "global_attn_every_n_layers": 3}, 3, 0),
        ({"model_type": "anything", "sliding_window_pattern": 4}, 4, 3),
    ):
        donor = {**config, "num_hidden_layers": 12}
        layers = [0, 1, 2, 2, 3, 4, 5]
        made = stacked(donor, layers, before=12)
        assert made["layer_types"] == [full if layer % period == remainder else sliding for layer in layers]
        assert "layer_types" not in stacked(donor, [0, 1, 2, 3, 4], before=12)
    assert "layer_types" not in stacked({"model_type": "mistral", "num_hidden_layers": 4}, [0, 0], before=4)


def test_layers_without_experts_keep_having_none():
    config = {"num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [5], "num_experts": 4}
    made = stacked(config, [0, 1, 1, 2, 3, 5], before=6)
    assert (made["decoder_sparse_step"], made["mlp_only_layers"]) == (1, [0, 3, 5])
    kept = stacked(config, [0, 1, 4, 5], before=6)
    assert (kept["decoder_sparse_step"], kept["mlp_only_layers"]) == (2, [3])


@pytest.mark.parametrize("key", ["first_k_dense_replace", "num_dense_layers"])
def test_the_layers_before_the_experts_are_counted_anew(key: str):
    config = {"num_hidden_layers": 6, key: 2}
    after = {(2, 3, 4): 0, (1, 2, 3): 1, (0, 1, 0, 1, 4): 4, (0, 1, 2, 0, 3): 2}
    assert {layers: stacked(config, list(layers), before=6)[key] for layers in after} == after


LATE_EXPERTS = {"num_hidden_layers": 4, "first_k_dense_replace": 1}
LINEAR = {"num_hidden_layers": 4, "layer_types": ["linear_attention", "full_attention"] * 2}


@pytest.mark.parametrize(
    ("config", "layers", "warned"),
    [
        (LATE_EXPERTS, [0, 1, 2, 2, 3], None),
        (LATE_EXPERTS, [1, 2, 3], None),
        (LATE_EXPERTS, [0, 0, 1], None),
        (LATE_EXPERTS, [1, 2, 0], "Layer 0 of the result, which was layer 1 of o/a, brings mlp.experts.0.weight"),
        (LATE_EXPERTS, [0, 1, 0], "Layer 2 of the result, which was layer 0 of o/a, brings mlp.gate_proj.weight"),
        (LINEAR, [1, 1, 0], None),
        ({"num_hidden_layers": 4}, [1, 0], "Layer 0 of the result, which was layer 1 of o/a, brings self_attn"),
    ],
)
def test_layers_unlike_the_others_are_told_when_they_move(config: dict, layers: list[int], warned: str | None):
    """A mixture whose first layer has no experts; a model with two kinds of attention in turn."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32, 8)}
    for layer in range(4):
        shapes |= {f"model.layers.{layer}.{name}.weight": (8,) for name in ("a", "b", "c")}
        late = config is LATE_EXPERTS
        first, other = ("mlp.gate_proj", "mlp.experts.0") if late else ("linear_attn.x", "self_attn.y")
        kind = first if layer == 0 or (not late and layer == 2) else other
        shapes[f"model.layers.{layer}.{kind}.weight"] = (8, 8)
    slices = "".join(f"- sources: [{{model: o/a, layer_range: [{one}, {one + 1}]}}]\n" for one in layers)
    plan = make_plan(recipe(f"merge_method: passthrough\nslices:\n{slices}"), family(facts("o/a", shapes, config)))
    told = [finding.text for finding in plan.findings if finding.code == "uneven-layers"]
    assert bool(told) == (warned is not None)
    assert warned is None or told[0].startswith(warned)


PER_LAYER = {"num_hidden_layers": 4, "hidden_size_per_layer_input": 2, "hidden_size": 8}


@pytest.mark.parametrize(("layers", "fits"), [([0, 1, 2, 3], True), ([0, 1, 2], False), ([0, 2, 1, 3], False)])
def test_layers_that_share_a_matrix_stay_together(layers: list[int], fits: bool):
    """Gemma 3n: the embeddings that each layer has for itself are one matrix."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32, 8)}
    shapes |= {"model.embed_tokens_per_layer.weight": (32, 8), "model.layers.0.per_layer_input_gate.weight": (2, 8)}
    for layer in range(4):
        shapes |= {f"model.layers.{layer}.{name}.weight": (8,) for name in ("a", "b", "c")}
    slices = "".join(f"- sources: [{{model: o/a, layer_range: [{one}, {one + 1}]}}]\n" for one in layers)
    known = family(facts("o/a", shapes, PER_LAYER))
    if fits:
        assert make_plan(recipe(f"merge_method: passthrough\nslices:\n{slices}"), known).shards
        return
    with pytest.raises(Refused, match=r"embed_tokens_per_layer.weight of o/a: a part for each of the 4 layers"):
        make_plan(recipe(f"merge_method: passthrough\nslices:\n{slices}"), known)


POISON = {
    "architectures": ["LlamaForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "evil--modeling.Evil"},
    "_name_or_path": "/home/someone",
    "_attn_implementation": "someone/kernel",
    "_attn_implementation_internal": "someone/kernel",
    "attn_implementation": "someone/kernel",
    "experts_implementation": "someone/kernel",
    "model_file": "evil.py",
    "transformers_weights": "../other.safetensors",
    "custom_pipelines": {"x": {"impl": "evil.Evil"}},
    "quantization_config": {"quant_method": "custom"},
    "hidden_size": 8,
    "rope_scaling": {"factor": 2.0, "_hidden": 1},
    "text_config": {"auto_map": {"AutoConfig": "evil.Evil"}, "deep": {"auto_map": {"a": "b"}, "x": [1]}},
}


def test_nothing_that_names_code_survives():
    before = copy.deepcopy(POISON)
    made = repair_config(POISON, Target(None))
    text = json.dumps(made.config)
    assert not any(word in text for word in ("evil", "kernel", "auto_map", "someone", "quant", "_hidden", "../"))
    assert made.config["hidden_size"] == 8
    assert made.config["rope_scaling"] == {"factor": 2.0}
    assert made.config["text_config"] == {"deep": {"x": [1]}}
    assert before == POISON
    assert "custom-code" in [finding.code for finding in made.findings]
    assert {change.key for change in made.changes} >= {"auto_map", "quantization_config", "text_config.auto_map"}


def test_numbers_that_json_has_no_word_for_stay():
    """Granite 4 and other hybrids with Mamba have an infinite step limit; transformers refuses what is no number."""
    config = {"time_step_limit": [0.0, {"__float__": "Infinity"}], "low": {"__float__": "-Infinity"}}
    assert repair_config(config, Target(None)).config == config
    assert repair_config({"x": {"__float__": "os.system"}, "y": {"__float__": 1, "__z": 2}}, Target(None)).config == {
        "x": {}, "y": {},
    }  # fmt: skip


def test_tokenizer_config_is_cleaned_too():
    kept, dropped = clean_tokenizer_config(
        {
            "auto_map": {"AutoTokenizer": ["evil.T", None]},
            "name_or_path": "/x",
            "eos_token": "</s>",
            "tokenizer_file": "/y",
        }
    )
    assert kept == {"eos_token": "</s>"}
    assert len(dropped) == 3


@pytest.mark.parametrize(
    ("config", "target", "after"),
    [
        ({"tie_word_embeddings": True}, Target(None, untied=True), {"tie_word_embeddings": False}),
        ({"tie_word_embeddings": True}, Target(None), {"tie_word_embeddings": True}),
        ({}, Target(None, untied=True), {"tie_word_embeddings": False}),
        ({}, Target(None, untied=True, donor_head=True), {}),
        (
            {"tie_word_embeddings": True, "text_config": {"tie_word_embeddings": True}},
            Target(None, untied=True),
            {"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": False}},
        ),
        ({"vocab_size": 32}, Target(None, rows=40, donor_rows=32), {"vocab_size": 40}),
        ({"vocab_size": 30}, Target(None, rows=32, donor_rows=32), {"vocab_size": 30}),
        (
            {"text_config": {"vocab_size": 32}, "audio_config": {"vocab_size": 9}},
            Target(None, rows=40, donor_rows=32),
            {"text_config": {"vocab_size": 40}, "audio_config": {"vocab_size": 9}},
        ),
        (
            {"vocab_size": 32, "vocab_size_per_layer_input": 32},
            Target(None, rows=40, donor_rows=32),
            {"vocab_size": 40, "vocab_size_per_layer_input": 40},
        ),
        (
            {"vocab_size": 34, "vocab_size_per_layer_input": 30},
            Target(None, rows=40, donor_rows=32),
            {"vocab_size": 40, "vocab_size_per_layer_input": 30},
        ),
        ({"_remove_final_layer_norm": True}, Target(None), {"_remove_final_layer_norm": True}),
        ({"dtype": "float32"}, Target("BF16"), {"dtype": "bfloat16"}),
        ({"torch_dtype": "float16"}, Target("F16"), {"torch_dtype": "float16"}),
        ({}, Target("BF16"), {"torch_dtype": "bfloat16"}),
        ({"text_config": {"dtype": "float32"}}, Target("F16"), {"text_config": {"dtype": "float16"}}),
    ],
)
def test_repairs(config: dict, target: Target, after: dict):
    made = repair_config(config, target)
    assert made.config == after
    assert bool(made.changes) == (config != after)


def test_changes_are_told_in_one_remark():
    assert told([]) is None
    finding = told([Change("num_hidden_layers", 4, 6), Change("layer_types", list("abcd"), list("abcdef")),
                    Change("auto_map", {"a": 1}, None), Change("tie_word_embeddings", None, False)])  # fmt: skip
    assert finding is not None
    assert finding.text == (
        "config.json is corrected: num_hidden_layers 4 → 6; layer_types with 6 entries instead of 4; "
        "auto_map left out; tie_word_embeddings not set → False."
    )


def test_every_change_is_listed_with_what_was_before_and_after():
    finding = told([Change("num_hidden_layers", 4, 6), Change("layer_types", ["a", "a", "b"] * 2, ["a"] * 40 + ["b"]),
                    Change("auto_map", {"a": 1}, None), Change("tie_word_embeddings", None, False),
                    Change("note", "x" * 1000, "")])  # fmt: skip
    assert finding is not None
    assert [(one.key, one.before, one.after) for one in finding.changes[:4]] == [
        ("num_hidden_layers", "4", "6"),
        ("layer_types", '["a" × 2, "b", "a" × 2, "b"]', '["a" × 40, "b"]'),
        ("auto_map", '{"a": 1}', None),
        ("tie_word_embeddings", None, "false"),
    ]
    assert str(finding.changes[3]) == "tie_word_embeddings: not set → false"
    assert len(finding.changes[4].before or "") < 500
    assert finding.as_dict()["changes"][0] == {"key": "num_hidden_layers", "before": "4", "after": "6"}


def test_stack_of_two_models_end_to_end():
    text = """
merge_method: passthrough
slices:
- sources: [{model: o/a, layer_range: [0, 4]}]
- sources: [{model: o/b, layer_range: [1, 3]}]
"""
    b = QWEN3 | {"layer_types": list("wxyz")}
    models = family(facts("o/a", llama_shapes(head=False), QWEN3), facts("o/b", llama_shapes(head=False), b))
    plan = make_plan(recipe(text), models)
    config = json.loads(plan.texts["config.json"])
    assert config["num_hidden_layers"] == 6
    assert config["layer_types"] == [*QWEN3["layer_types"], "x", "y"]
    assert config["tie_word_embeddings"] is True
    (finding,) = [finding for finding in plan.findings if finding.code == "config-repaired"]
    assert "num_hidden_layers 4 → 6" in finding.text


def test_what_is_no_text_does_not_break_the_files():
    """A lone surrogate and an infinite number are legal in a config as Python reads it."""
    odd = llama_config(note="\ud800", time_step_limit=[0.0, float("inf")])
    text = "merge_method: passthrough\nmodels: [{model: o/a}]\nchat_template: '{{x}}'\n"
    plan = make_plan(recipe(text), family(facts("o/a", llama_shapes(), odd)))
    assert json.loads(plan.texts["config.json"].encode())["note"] == "\ud800"
    assert json.loads(plan.texts["config.json"])["time_step_limit"][1] == float("inf")


def test_deeply_nested_config_is_refused_not_crashed_on():
    from app.recipe.findings import Refused

    deep: object = 1
    for _ in range(800):
        deep = {"a": [deep]}
    with pytest.raises(Refused) as caught:
        make_plan(
            recipe("merge_method: passthrough\nmodels: [{model: o/a}]\n"),
            family(facts("o/a", llama_shapes(), llama_config(deep=deep))),
        )
    assert caught.value.findings[0].code == "bad-config"
