"""Structure read from names, for families that name things differently."""

from __future__ import annotations

import pytest

from app.planning.facts import ModelFacts, TensorFacts
from app.planning.layers import TensorPlace, layer_stacks, module_of, natural_key, position, read_structure


def facts(names: list[str], config: dict | None = None, sizes: dict[str, int] | None = None) -> ModelFacts:
    """A model with these tensors; ``sizes`` gives elements by prefix."""

    def elements(name: str) -> int:
        return next((size for prefix, size in (sizes or {}).items() if name.startswith(prefix)), 4)

    tensors = {name: TensorFacts(name, "F32", (elements(name),), "f", 0, 4 * elements(name)) for name in names}
    return ModelFacts("m", config or {}, tensors, ())


def llama(layers: int, prefix: str = "model") -> list[str]:
    parts = ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm")
    return [f"{prefix}.layers.{i}.{part}.weight" for i in range(layers) for part in parts]


def test_position():
    assert position("model.layers.3.self_attn.q_proj.weight") == TensorPlace(
        "model.layers", 3, "self_attn.q_proj.weight"
    )
    assert position("encoder.block.10.layer.0.SelfAttention.q.weight").layer == 10
    assert position("h.0.attn.c_attn.bias") == TensorPlace("h", 0, "attn.c_attn.bias")
    assert position("lm_head.weight") == TensorPlace("", None, "lm_head.weight")
    assert position("conv1.weight").layer is None
    assert position("layers.007.w").layer is None
    assert position(f"layers.{'9' * 5000}.w").layer is None
    assert position("layers.٣.w").layer is None
    assert position("model.layers.3.mlp.up.weight").at(12) == "model.layers.12.mlp.up.weight"
    assert position("h.3").at(4) == "h.4"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "q"),
        ("model.layers.0.self_attn.q_proj.bias", "q"),
        ("model.layers.0.self_attn.o_proj.weight", "o"),
        ("model.layers.0.self_attn.q_norm.weight", "norm"),
        ("model.layers.0.mlp.gate_proj.weight", "gate"),
        ("model.layers.0.mlp.up_proj.weight", "up"),
        ("model.layers.0.mlp.down_proj.weight", "down"),
        ("model.layers.0.mlp.gate_up_proj.weight", "gate+up"),
        ("model.layers.0.input_layernorm.weight", "norm"),
        ("model.layers.0.mlp.experts.17.up_proj.weight", "up"),
        ("model.layers.0.mlp.gate.weight", "router"),
        ("model.layers.0.mlp.shared_expert.down_proj.weight", "shared down"),
        ("model.layers.0.mlp.shared_expert_gate.weight", "router"),
        ("model.layers.0.block_sparse_moe.experts.7.w2.weight", "down"),
        ("model.layers.0.block_sparse_moe.gate.weight", "router"),
        ("model.layers.0.mlp.experts.gate_up_proj", "gate+up"),
        ("model.layers.0.mlp.experts.down_proj", "down"),
        ("transformer.h.0.attn.c_attn.weight", "qkv"),
        ("transformer.h.0.attn.c_proj.weight", "o"),
        ("transformer.h.0.mlp.c_fc.weight", "up"),
        ("transformer.h.0.mlp.c_proj.weight", "down"),
        ("transformer.h.0.ln_1.bias", "norm"),
        ("transformer.h.1.self_attention.dense.weight", "o"),
        ("gpt_neox.layers.1.mlp.dense_4h_to_h.weight", "down"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "q"),
        ("encoder.block.0.layer.0.SelfAttention.o.weight", "o"),
        ("encoder.block.0.layer.0.layer_norm.weight", "norm"),
        ("encoder.block.0.layer.1.DenseReluDense.wo.weight", "down"),
        ("decoder.block.0.layer.1.EncDecAttention.k.weight", "cross k"),
        ("decoder.block.0.layer.2.DenseReluDense.wi_0.weight", "gate"),
        ("model.decoder.layers.0.encoder_attn.out_proj.weight", "cross o"),
        ("model.encoder.layers.0.self_attn.out_proj.weight", "o"),
        ("model.encoder.layers.0.fc1.weight", "up"),
        ("bert.encoder.layer.0.attention.self.query.weight", "q"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "o"),
        ("bert.encoder.layer.0.attention.output.LayerNorm.gamma", "norm"),
        ("bert.encoder.layer.0.intermediate.dense.weight", "up"),
        ("bert.encoder.layer.0.output.dense.weight", "down"),
        ("backbone.layers.0.mixer.A_log", "a_log"),
        ("backbone.layers.0.mixer.in_proj.weight", "in_proj"),
        ("visual.blocks.0.attn.proj.weight", "o"),
        ("model.embed_tokens.weight", "embeddings"),
        ("transformer.wte.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.weight", "embeddings"),
        ("shared.weight", "embeddings"),
        ("lm_head.weight", "head"),
        ("embed_out.weight", "head"),
        ("output.weight", "head"),
        ("score.weight", "head"),
        ("cls.predictions.transform.dense.weight", "head"),
        ("model.norm.weight", "final norm"),
        ("transformer.ln_f.bias", "final norm"),
        ("decoder.final_layer_norm.weight", "final norm"),
        ("multi_modal_projector.linear_1.weight", "linear_1"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q.weight", "q"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.weight", "o"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.ff.net.0.proj.weight", "up"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.ff.net.2.bias", "down"),
        ("weight", "weight"),
        ("", ""),
        ("3", "3"),
    ],
)  # fmt: skip
def test_module_names(name: str, module: str):
    assert module_of(name) == module


def test_natural_order():
    names = ["model.layers.10.w", "model.layers.9.w", "model.layers.0.w", "a1b", "a01b", f"x{'9' * 5000}"]
    ordered = ["a1b", "a01b", "model.layers.0.w", "model.layers.9.w", "model.layers.10.w", f"x{'9' * 5000}"]
    assert sorted(names, key=natural_key) == ordered


def test_one_stack():
    model = facts([*llama(32), "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
    structure = read_structure(model)
    assert structure.stacks == {"model.layers": 32}
    assert (structure.main, structure.layers, structure.ambiguous) == ("model.layers", 32, False)
    assert structure.place("model.layers.31.mlp.up_proj.weight").layer == 31
    assert structure.place("model.layers.32.mlp.up_proj.weight").layer is None
    assert structure.after_layers("model.norm.weight")
    assert structure.after_layers("lm_head.weight")
    assert not structure.after_layers("model.embed_tokens.weight")


def test_numbered_small_parts_are_no_stack():
    parts = ["classifier.0.weight", "classifier.0.bias", "classifier.1.weight", "classifier.1.bias"]
    gap = [f"net.{i}.{part}" for i in (0, 2) for part in ("a", "b", "c", "d")]
    unlike = [f"odd.{i}.{part}{i}" for i in range(3) for part in ("a", "b", "c", "d")]
    assert layer_stacks(facts([*parts, *gap, *unlike, *llama(2)])) == {"model.layers": 2}


def test_main_stack_by_config_not_by_size():
    names = [*llama(24, "vision_tower.encoder"), *llama(6, "language_model.model")]
    config = {"text_config": {"num_hidden_layers": 6}, "vision_config": {"num_hidden_layers": 24}}
    structure = read_structure(facts(names, config, {"vision": 100, "language": 10}))
    assert structure.main == "language_model.model.layers"
    assert not structure.ambiguous
    assert list(structure.stacks) == ["vision_tower.encoder.layers", "language_model.model.layers"]
    assert not structure.after_layers("vision_tower.post_layernorm.weight")
    assert structure.after_layers("language_model.model.norm.weight")


@pytest.mark.parametrize("other", ["model.vision_tower.encoder", "model.encoder", "qformer.encoder"])
def test_of_two_stacks_equally_long_the_texts_is_meant(other: str):
    config = {"text_config": {"num_hidden_layers": 4}, "vision_config": {"num_hidden_layers": 4}}
    names = [*llama(4, other), *llama(4, "model.language_model")]
    structure = read_structure(facts(names, config, {other: 100}))
    assert next(iter(structure.stacks)) == f"{other}.layers"
    assert structure.main == "model.language_model.layers"


def test_layers_of_two_kinds_without_a_common_name():
    kinds = (("mamba.A_log", "mamba.D", "norm"), ("shared.q", "shared.k", "inner.norm"))
    names = [f"model.layers.{layer}.{part}.weight" for layer in range(4) for part in kinds[layer % 2]]
    assert layer_stacks(facts(names, {"num_hidden_layers": 4})) == {"model.layers": 4}
    assert layer_stacks(facts(names)) == {}


def test_encoder_decoder_is_ambiguous():
    names = [
        *llama(4, "model.encoder"),
        *llama(4, "model.decoder"),
        "model.decoder.layers.0.encoder_attn.k_proj.weight",
    ]
    assert read_structure(facts(names, {"is_encoder_decoder": True, "encoder_layers": 4})).ambiguous
    assert read_structure(facts(names)).ambiguous


def test_no_layers_at_all():
    structure = read_structure(facts(["weight", "0.weight", "2.weight"]))
    assert (structure.main, structure.layers, dict(structure.stacks)) == (None, 0, {})
    assert read_structure(facts([])).main is None


def test_order_runs_from_embeddings_to_head():
    names = [*llama(12), "lm_head.weight", "model.norm.weight", "a.extra", "model.embed_tokens.weight"]
    ordered = sorted(names, key=read_structure(facts(names)).order)
    assert ordered[0] == "model.embed_tokens.weight"
    assert ordered[-3:] == ["a.extra", "model.norm.weight", "lm_head.weight"]
    assert [position(name).layer for name in ordered[1:-3]] == [i for i in range(12) for _ in range(4)]
