"""Which tensors an adapter changes, found from headers and settings alone; and what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.planning.adapted import AdaptedTensor
from app.planning.adapter_config import read_settings
from app.planning.adapter_names import Names, sort_tensors
from app.planning.adapters import about_adapter, put_on, remarks
from app.planning.check import check
from app.planning.facts import FileFacts, ModelFacts
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from app.recipe.references import parse_reference
from tests.planning.models import facts, family, llama_config, llama_shapes, recipe
from tests.support.adapters import PREFIX, SETTINGS

Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"
LORA = {
    f"{Q}.lora_A.weight": (4, 8),
    f"{Q}.lora_B.weight": (8, 4),
    f"{DOWN}.lora_A.weight": (4, 16),
    f"{DOWN}.lora_B.weight": (8, 4),
}


def adapter(shapes: dict[str, Any], prefix: str = PREFIX, ref: str = "o/lora", **settings: Any) -> ModelFacts:
    named = {prefix + name: shape for name, shape in shapes.items()}
    return facts(ref, named, {}, "F32", {"adapter_config.json": json.dumps(SETTINGS | settings)})


def on(shapes: dict[str, Any], model: ModelFacts | None = None, **settings: Any) -> ModelFacts:
    return put_on("o/a+o/lora", model or facts("o/a", llama_shapes()), adapter(shapes, **settings))


def changed(model: ModelFacts) -> dict[str, AdaptedTensor]:
    return {name: one for name, one in model.tensors.items() if isinstance(one, AdaptedTensor)}


def codes(refused: Refused) -> list[str]:
    return [finding.code for finding in refused.findings]


def test_factors_find_their_matrices():
    found = changed(on(LORA))
    assert list(found) == [f"{Q}.weight", f"{DOWN}.weight"]
    q = found[f"{Q}.weight"]
    own = facts("o/a", llama_shapes()).tensors[q.name]
    assert (q.dtype, q.shape, q.stored, q.plain) == ("BF16", (8, 8), "F32", False)
    assert q.own == own and [one.shape for one in q.of_adapter] == [(8, 4), (4, 8)]
    assert q.added is not None and (q.added.scale, q.added.transposed) == (2.0, False)


def test_names_that_are_the_models_own_are_found_without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second for a large mixture of experts, with every change of a recipe."""
    asked: list[str] = []
    monkeypatch.setattr(Names, "_ends", property(lambda _: asked.append("ends") or {}))
    assert changed(on(LORA))
    assert not asked


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({}, (2.0, 2.0)),
        ({"use_rslora": True}, (4.0, 4.0)),
        ({"alpha_pattern": {"down_proj": 2}}, (2.0, 0.5)),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 16, "q_proj": 1}}, (4.0, 2.0)),
        ({"alpha_pattern": {"^model.layers.1.mlp.down_proj": 1}}, (2.0, 0.25)),
        ({"alpha_pattern": {r".*\.(q|k)_proj": 4}}, (1.0, 2.0)),
        ({"alpha_pattern": {"proj": 4}}, (2.0, 2.0)),
        ({"lora_alpha": 1, "use_rslora": True, "alpha_pattern": {"q_proj": 3.0}}, (1.5, 0.5)),
    ],
)
def test_scale_is_alpha_over_rank(settings: dict[str, Any], scales: tuple[float, float]):
    found = changed(on(LORA, **settings))
    assert tuple(one.added.scale for one in found.values() if one.added) == scales


def test_a_rank_of_its_own():
    shapes = {f"{Q}.lora_A.weight": (2, 8), f"{Q}.lora_B.weight": (8, 2)}
    (one,) = changed(on(shapes, rank_pattern={"q_proj": 2})).values()
    assert one.added is not None and one.added.scale == 4.0
    with pytest.raises(Refused, match="rank 2, and adapter_config") as caught:
        on(shapes)
    assert codes(caught.value) == ["adapter-rank"]


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.", ""])
def test_prefixes_and_adapter_names_are_left_out(prefix: str):
    shapes = {f"{Q}.lora_A.default.weight": (4, 8), f"{Q}.lora_B.default.weight": (8, 4)}
    made = put_on("x", facts("o/a", llama_shapes()), adapter(shapes, prefix=prefix))
    assert list(changed(made)) == [f"{Q}.weight"]


@pytest.mark.parametrize(
    ("names", "asked", "found"),
    [
        (["h.0.attn.c_attn.weight"], "transformer.h.0.attn.c_attn.weight", "h.0.attn.c_attn.weight"),
        (["encoder.layer.0.q.weight"], "bert.encoder.layer.0.q.weight", "encoder.layer.0.q.weight"),
        (["bert.encoder.layer.0.q.weight"], "encoder.layer.0.q.weight", "bert.encoder.layer.0.q.weight"),
        (
            ["language_model.model.layers.0.q.weight", "vision.layers.0.q.weight"],
            "model.language_model.layers.0.q.weight",
            "language_model.model.layers.0.q.weight",
        ),
        (["a.layers.0.q.weight", "b.layers.0.q.weight"], "c.layers.0.q.weight", None),
        (["a.layers.0.q.weight"], "a.layers.1.q.weight", None),
        (["a.norm.weight"], "b.c.weight", None),
        (["pooler.dense.weight"], "classifier.dense.weight", None),
        (["model.norm.weight"], "x.model.norm.weight", "model.norm.weight"),
    ],
)
def test_names_that_differ_in_their_outer_parts(names: list[str], asked: str, found: str | None):
    assert Names(names).find(asked) == found


def test_matrices_stored_the_other_way_round():
    shapes = {"h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_proj.weight": (8, 8), "h.0.mlp.c_fc.weight": (8, 32)}
    model = facts("o/gpt2", shapes, {"model_type": "gpt2"})
    lora = {}
    for module, outputs in (("attn.c_attn", 24), ("attn.c_proj", 8)):
        at = f"transformer.h.0.{module}"
        lora |= {f"{at}.lora_A.weight": (4, 8), f"{at}.lora_B.weight": (outputs, 4)}
    for settings in ({"fan_in_fan_out": True}, {}):
        found = changed(on(lora, model, **settings))
        assert [one.added.transposed for one in found.values() if one.added] == [True, True]
    square = {name: shape for name, shape in lora.items() if "c_proj" in name}
    assert [one.added.transposed for one in changed(on(square, model)).values() if one.added] == [False]


def test_whole_modules_biases_and_convolutions():
    shapes = llama_shapes() | {"conv.weight": (6, 3, 2, 2), "conv.bias": (6,)}
    lora = {
        "model.norm.weight": (8,),
        "model.layers.0.input_layernorm.modules_to_save.weight": (8,),
        "conv.base_layer.bias": (6,),
        "conv.lora_A.weight": (4, 3, 2, 2),
        "conv.lora_B.weight": (6, 4, 1, 1),
    }
    found = changed(on(lora, facts("o/a", shapes), modules_to_save=["norm"]))
    assert set(found) == {"model.norm.weight", "model.layers.0.input_layernorm.weight", "conv.bias", "conv.weight"}
    norm = found["model.norm.weight"]
    assert norm.added is None and norm.own is None and (norm.dtype, norm.stored) == ("BF16", "F32")
    assert found["conv.weight"].added is not None


def test_a_bias_of_lora_goes_on_top_of_a_saved_one():
    lora = LORA | {f"{Q}.lora_B.bias": (8,), f"{Q}.base_layer.bias": (8,)}
    model = facts("o/a", llama_shapes() | {f"{Q}.bias": (8,)})
    bias = changed(on(lora, model))[f"{Q}.bias"]
    assert bias.instead is not None and bias.added is not None and bias.added.down is None
    with pytest.raises(Refused, match=r"q_proj\.bias: o/a has no such tensor"):
        on(LORA | {f"{Q}.lora_B.bias": (8,)})


def test_an_embedding_is_transposed():
    lora = {"model.embed_tokens.lora_embedding_A": (4, 32), "model.embed_tokens.lora_embedding_B": (8, 4)}
    (one,) = changed(on(lora)).values()
    assert one.name == "model.embed_tokens.weight" and one.added is not None and one.added.transposed


TIED = llama_config(tie_word_embeddings=True)
HEAD_LORA = {"lm_head.lora_A.weight": (4, 8), "lm_head.lora_B.weight": (32, 4)}
EMBEDDING_LORA = {"model.embed_tokens.lora_embedding_A": (4, 32), "model.embed_tokens.lora_embedding_B": (8, 4)}


def tied() -> ModelFacts:
    return facts("o/a", llama_shapes(head=False), TIED)


def test_an_adapter_on_a_tied_head_leaves_the_embedding_alone():
    made = on(HEAD_LORA, tied())
    head = changed(made)["lm_head.weight"]
    assert head.own is not None and head.own.begin == made.tensors["model.embed_tokens.weight"].begin
    assert made.config["tie_word_embeddings"] is False and len(changed(made)) == 1


@pytest.mark.parametrize("lora", [EMBEDDING_LORA, {"model.embed_tokens.weight": (32, 8)}])
def test_a_change_of_a_tied_embedding_leaves_the_head_as_it_was(lora: dict[str, Any]):
    made = on(lora, tied(), modules_to_save=["embed_tokens"])
    assert set(changed(made)) == {"model.embed_tokens.weight", "lm_head.weight"}
    assert changed(made)["lm_head.weight"].of_adapter == ()
    assert made.config["tie_word_embeddings"] is False


def test_a_tie_that_is_to_stay_stays():
    both = {"model.embed_tokens.weight": (32, 8), "lm_head.weight": (32, 8)}
    made = on(both, tied(), ensure_weight_tying=True, modules_to_save=["embed_tokens"])
    assert set(changed(made)) == {"model.embed_tokens.weight"} and made.config == TIED
    grown = on({"model.embed_tokens.weight": (40, 8)}, tied())
    assert set(changed(grown)) == {"model.embed_tokens.weight"} and grown.config == {**TIED, "vocab_size": 40}
    assert grown.tensors["model.embed_tokens.weight"].shape == (40, 8)


def test_a_classifier_that_was_saved_is_new():
    found = changed(on({"score.weight": (2, 8)}, modules_to_save=["score"]))
    assert found["score.weight"].shape == (2, 8)
    with pytest.raises(Refused, match=r"score\.weight: o/a has no such tensor"):
        on({"score.weight": (2, 8)})


@pytest.mark.parametrize(
    ("lora", "settings", "code"),
    [
        (LORA, {"peft_type": "IA3"}, "adapter-unsupported"),
        (LORA, {"peft_type": None}, "adapter-unsupported"),
        (LORA, {"layer_replication": [[0, 2]]}, "adapter-unsupported"),
        (LORA, {"init_lora_weights": "pissa_niter_4"}, "adapter-unsupported"),
        (LORA, {"r": 0}, "bad-adapter-config"),
        (LORA, {"r": True}, "bad-adapter-config"),
        (LORA, {"lora_alpha": None}, "bad-adapter-config"),
        (LORA, {"lora_alpha": float("inf")}, "bad-adapter-config"),
        (LORA, {"alpha_pattern": ["x"]}, "bad-adapter-config"),
        (LORA, {"alpha_pattern": {"(a+)+$": 1}}, "bad-adapter-config"),
        (LORA, {"rank_pattern": {"(": 1}}, "bad-adapter-config"),
        ({"layers.9.q.lora_A.weight": (4, 8), "layers.9.q.lora_B.weight": (8, 4)}, {}, "adapter-target-missing"),
        ({"model.unheard.weight": (8,)}, {}, "adapter-target-missing"),
        ({f"{Q}.lora_A.weight": (4, 8)}, {}, "adapter-incomplete"),
        ({f"{Q}.lora_A.weight": (4, 9), f"{Q}.lora_B.weight": (8, 4)}, {}, "adapter-shape"),
        ({f"{Q}.lora_A.weight": (4, 8), f"{Q}.lora_B.weight": (8, 5)}, {}, "adapter-shape"),
        ({f"{Q}.lora_A.weight": (4,), f"{Q}.lora_B.weight": (8, 4)}, {}, "adapter-shape"),
        (LORA | {f"{Q}.lora_magnitude_vector": (7,)}, {}, "adapter-shape"),
        ({"model.norm.weight": (9,)}, {}, "adapter-shape"),
        ({"model.embed_tokens.token_adapter.trainable_tokens_delta": (2, 8)}, {}, "adapter-unsupported"),
        ({}, {}, "adapter-empty"),
    ],
)
def test_what_does_not_fit_is_refused(lora: dict[str, Any], settings: dict[str, Any], code: str):
    with pytest.raises(Refused) as caught:
        on(lora, **settings)
    assert codes(caught.value) == [code]
    assert caught.value.findings[0].where == "o/lora" and caught.value.findings[0].fix


def test_patterns_of_strangers_take_no_time():
    with pytest.raises(Refused):
        read_settings(adapter(LORA, alpha_pattern={"(x*)*" * 40: 1}))
    slow = read_settings(adapter(LORA, alpha_pattern={".*a.*b.*c": 1}))
    assert slow.scale("a" * 400, 4) == 2.0


def test_what_nobody_can_read_is_told():
    found = sort_tensors(facts("x", {"a.lora_A.bias": (3,), "b.lora_E": (3,)}, {}, "F32").tensors.values())
    assert found.unknown == ["a.lora_A.bias", "b.lora_E"]


PASSTHROUGH = "merge_method: passthrough\nmodels: [{model: o/a+o/lora}]\n"


def test_the_plan_names_the_adapter_and_reads_both():
    text = "merge_method: task_arithmetic\nbase_model: o/a\nmodels: [{model: o/a+o/lora, parameters: {weight: 1}}]\n"
    model = facts("o/a", llama_shapes(), commit="a" * 40)
    lora = put_on("o/a+o/lora", model, adapter(LORA))
    plan = make_plan(recipe(text), family(model, lora))
    assert [one.ref for one in plan.parents] == ["o/a", "o/a+o/lora", "o/lora"] and dict(plan.adapters) == {1: 2}
    assert set(plan.files_needed) == {(0, "model.safetensors"), (2, "model.safetensors")}
    (step,) = [one for one in plan.steps() if one.name == f"{Q}.weight"]
    assert step.base is not None and step.base.tensor.plain and not step.inputs[0].tensor.plain


def test_a_tensor_with_an_adapter_on_it_is_not_merely_copied():
    plan = make_plan(recipe(PASSTHROUGH), family(on(LORA)))
    methods = {step.name: step.method for step in plan.steps()}
    assert methods.pop(f"{Q}.weight") == methods.pop(f"{DOWN}.weight") == "passthrough"
    assert set(methods.values()) == {"copy"}
    assert {step.dtype for step in plan.steps()} == {"BF16"}


def test_the_recipe_that_travels_pins_both():
    model = facts("o/a", llama_shapes(), commit="a" * 40)
    lora = facts("o/lora", {PREFIX + name: shape for name, shape in LORA.items()}, {}, "F32",
                 {"adapter_config.json": json.dumps(SETTINGS)}, commit="b" * 40)  # fmt: skip
    plan = make_plan(recipe(PASSTHROUGH), family(put_on("o/a+o/lora", model, lora)))
    assert f"o/a@{'a' * 40}+o/lora@{'b' * 40}" in plan.texts["mergekit_config.yml"]


def test_an_adapter_alone_is_no_parent():
    with pytest.raises(Refused) as caught:
        make_plan(recipe("merge_method: passthrough\nmodels: [{model: o/lora}]\n"), family(adapter(LORA)))
    assert codes(caught.value) == ["adapter-alone"] and "owner/model+o/lora" in caught.value.findings[0].fix
    with pytest.raises(Refused) as caught:
        alone = adapter(LORA, base_model_name_or_path="o/a")
        make_plan(recipe("merge_method: passthrough\nmodels: [{model: o/lora}]\n"), family(alone))
    assert caught.value.findings[0].fix == "Write o/a+o/lora."


def test_licences_of_both_are_looked_at():
    model = facts("o/a", llama_shapes(), licence="apache-2.0")
    lora = put_on("o/a+o/lora", model, adapter(LORA))
    found = check(recipe(PASSTHROUGH), {parse_reference(lora.ref): lora})
    assert any(one.code == "licence-unknown" and "o/lora" in one.text for one in found)


def test_remarks_on_an_adapter():
    model = facts("o/a", llama_shapes(), commit="a" * 40)
    other = put_on("o/a+o/lora", model, adapter(LORA, base_model_name_or_path="o/other", use_magic=True))
    assert [one.code for one in remarks(other.ref, other)] == ["adapter-settings", "adapter-of-another-base"]
    same = put_on("o/a+o/lora", model, adapter(LORA, base_model_name_or_path="O/A"))
    assert not list(remarks(same.ref, same))
    grown = put_on("x", facts("o/a", llama_shapes()), adapter({"model.embed_tokens.weight": (40, 8)}))
    assert [(one.level, one.code) for one in remarks("x", grown)] == [("warning", "adapter-vocabulary")]


def test_an_adapter_with_another_vocabulary_brings_its_tokenizer():
    words = {"tokenizer.json": "the model's", "tokenizer_config.json": "{}", "generation_config.json": "{}"}
    model = facts("o/a", llama_shapes(), texts=words)
    own = {"tokenizer.json": "the adapter's", "special_tokens_map.json": "{}"}
    grown = {"model.embed_tokens.weight": (40, 8), "lm_head.weight": (40, 8)}
    for shapes, taken in ((grown, True), (LORA, False)):
        lora = adapter(shapes)
        lora = replace(lora, texts={**lora.texts, **own}, files=(*lora.files, *(FileFacts(name, 1) for name in own)))
        made = put_on("o/a+o/lora", model, lora)
        assert {one.name for one in made.files if one.of_adapter} == (own.keys() if taken else set())
        assert made.texts["tokenizer.json"] == ("the adapter's" if taken else "the model's")
        assert ("tokenizer_config.json" in made.texts) is not taken
        plan = make_plan(recipe(PASSTHROUGH), family(made))
        carried = {one.file: one.parent for one in plan.carries}
        others = {"special_tokens_map.json": 1} if taken else {"tokenizer_config.json": 0}
        assert carried == {"generation_config.json": 0, "tokenizer.json": int(taken), **others}
        found = [one.level for one in remarks("x", made) if one.code == "adapter-vocabulary"]
        assert found == (["info"] if taken else [])


def test_an_adapter_in_words():
    assert about_adapter(on(LORA)) == "LoRA of rank 4 on q and down"
    lora = {f"{Q}.lora_A.weight": (2, 8), f"{Q}.lora_B.weight": (8, 2), f"{Q}.lora_magnitude_vector": (8,)}
    made = on(LORA | lora | {"model.norm.weight": (8,)}, rank_pattern={"q_proj": 2})
    assert about_adapter(made) == "DoRA of rank 2 to 4 on q and down; replaces final norm"
    assert about_adapter(facts("o/a", llama_shapes())) == ""
